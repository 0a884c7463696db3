"""Measure both sides of a comparison, after the displayed preview has been measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.explorer.live.costs import LARGEST
from prunescope.explorer.live.metric import REST_SECONDS
from prunescope.explorer.live.runner import MetricRunner
from prunescope.explorer.live.task import BackgroundTask
from prunescope.measure import SIDES, Comparison, Measure
from prunescope.measure.compare import measured
from prunescope.measure.states import accuracy, known, question
from prunescope.session import Session
from prunescope.session.history import Variant


class LiveSides(BackgroundTask):
    """Measure both sides of the latest comparison in the background.

    Args:
        publish: Called with the original comparison and an updated one, whenever more has been measured.
        runner: Runs the user's metric.
    """

    def __init__(self, publish: Callable[[Comparison, Comparison], object], runner: MetricRunner) -> None:
        super().__init__()
        self._publish = publish
        self._runner = runner
        self._next: tuple[Session, Comparison] | None = None

    def prepare(self, session: Session, seen: Comparison | None) -> None:
        """Measure ``seen`` once `go` is called; any earlier measurement is cancelled."""
        self.close()
        self._next = None if seen is None else (session, seen)

    def go(self) -> None:
        """Start the prepared measurement, if it has not been started yet."""
        work, self._next = self._next, None
        if work is not None:
            self._start(*work)

    async def _in_steps(self, session: Session, seen: Comparison) -> None:
        await asyncio.sleep(REST_SECONDS)
        told = seen
        for found in measured(session, seen, LARGEST):
            if found is not told:
                self._publish(seen, found)
                told = found
            await asyncio.sleep(0)
        if asks(session, seen):
            await self._ask(session, seen, told)

    async def _ask(self, session: Session, seen: Comparison, told: Comparison) -> None:
        def late(problem: RequestError) -> None:
            self._publish(seen, told.failing("metric", problem))

        try:
            for side in SIDES:
                variant = getattr(told, side).variant
                await self._runner.end(late)
                if known(session, variant) is None:
                    await self._runner.ask(question(session, variant), late)
                told = told.knowing(side, measure=known(session, variant))
                self._publish(seen, told)
        except RequestError as problem:
            late(problem)

    def _now(self, session: Session, seen: Comparison) -> None:
        self._publish(seen, measured_now(session, seen, self._runner, LARGEST))


def measured_now(
    session: Session, seen: Comparison, runner: MetricRunner, largest: int | None = None
) -> Comparison:
    """Measure both sides of ``seen`` synchronously, and return the comparison with the results.

    Args:
        session: The session it belongs to.
        seen: The comparison.
        runner: Runs the user's metric.
        largest: Largest file to compress, in bytes; None compresses files of any size.
    """
    for found in measured(session, seen, largest):
        seen = found
    if not asks(session, seen):
        return seen
    try:
        for side in SIDES:
            seen = seen.knowing(side, measure=worth_now(session, getattr(seen, side).variant, runner))
    except RequestError as problem:
        seen = seen.failing("metric", problem)
    return seen


def worth_now(session: Session, what: Preview | Variant | None, runner: MetricRunner) -> Measure:
    """Return the metric of a state of the model, measuring it now if it is not known.

    Raises:
        RequestError: The model cannot be run on the data; or the user's function raises, does not return, or
            returns something other than numbers.
    """
    if session.source.data is not None:
        return accuracy(session, what)
    if known(session, what) is None:
        runner.ask_now(partial(question, session, what))
    answer = known(session, what)
    assert answer is not None
    return answer


def asks(session: Session, seen: Comparison) -> bool:
    """Return whether the user's own metric has to be called, which `measured` does not do."""
    return "metric" in seen.measures and session.source.evaluate is not None
