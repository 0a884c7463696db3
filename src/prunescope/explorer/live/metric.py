"""Live metrics: measured after the picture is drawn, cancelled as soon as they are out of date.

Accuracy is measured on the event loop that runs the user's cells, one batch at a time: the next move of a
slider waits for one batch at most, and nothing uses the global random state or the model while a cell does.
The user's `evaluate` runs in a thread, since it may take any time; see `prunescope.explorer.live.runner`.
Without an event loop, both run to the end immediately.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.explorer.live.runner import MetricRunner
from prunescope.explorer.live.task import BackgroundTask
from prunescope.measure import Effect, Metric
from prunescope.measure.states import effect, evaluate, known, known_metric, question
from prunescope.session import Session

REST_SECONDS = 0.05
"""Seconds without changes before an evaluation starts: longer than a step of a drag."""


@dataclass(frozen=True)
class MeasuredPreview:
    """The results of an evaluation so far.

    Attributes:
        preview: The preview that was measured.
        metric: The metric before and after.
        effect: The changes in the model's predictions; None if not known.
    """

    preview: Preview
    metric: Metric | None = None
    effect: Effect | None = None

    @classmethod
    def known(
        cls, session: Session, preview: Preview, problem: RequestError | None = None
    ) -> MeasuredPreview:
        """Return the cached results for ``preview``, with the message of ``problem`` if there is one."""
        told = "" if problem is None else str(problem)
        return cls(preview, known_metric(session, preview, told), effect(session, preview))


class LiveMeasure(BackgroundTask):
    """Measure the original model and the latest preview in the background.

    Args:
        publish: Called with the results so far, whenever more is known.
        runner: Runs the user's metric.
    """

    def __init__(self, publish: Callable[[MeasuredPreview], object], runner: MetricRunner) -> None:
        super().__init__()
        self._publish = publish
        self._runner = runner

    def start(self, session: Session, preview: Preview) -> None:
        """Measure ``preview``; any earlier measurement is cancelled. May be called from any thread."""
        self._start(session, preview)

    async def _in_steps(self, session: Session, preview: Preview) -> None:
        def publish(problem: RequestError | None = None) -> None:
            self._publish(MeasuredPreview.known(session, preview, problem))

        await asyncio.sleep(REST_SECONDS)
        try:
            for part in (None, preview):
                for _ in evaluate(session, part):
                    await asyncio.sleep(0)
                if session.source.evaluate is not None:
                    await self._ask(session, part, publish)
        except RequestError as problem:
            publish(problem)
        else:
            publish()

    async def _ask(
        self, session: Session, part: Preview | None, publish: Callable[[RequestError | None], object]
    ) -> None:
        await self._runner.end(publish)
        if known(session, part) is None:
            publish(None)
            await self._runner.ask(question(session, part), publish)

    def _now(self, session: Session, preview: Preview) -> None:
        problem = None
        try:
            for part in (None, preview):
                for _ in evaluate(session, part):
                    pass
                if session.source.evaluate is not None and known(session, part) is None:
                    self._runner.ask_now(partial(question, session, part))
        except RequestError as error:
            problem = error
        self._publish(MeasuredPreview.known(session, preview, problem))
