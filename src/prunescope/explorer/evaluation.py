"""Live accuracy: the picture first, then the numbers, given up as soon as they are out of date.

Evaluation runs on the event loop that runs the person's cells, one batch at a time: a slider's next move is
never more than a batch away, and nothing draws from the global random state or touches the model beside a
cell that does. Without such a loop it runs to the end at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from prunescope.analysis import Accuracy
from prunescope.errors import RequestError
from prunescope.preview import Preview
from prunescope.session import Session

REST_SECONDS = 0.05
"""How long the controls must rest before an evaluation starts: longer than a step of a drag."""


@dataclass(frozen=True)
class Measured:
    """What an evaluation found out.

    Attributes:
        preview: What was measured.
        before: Accuracy without the preview; None if it could not be measured.
        after: Accuracy with it; None likewise.
        problem: Why it could not be measured, or "".
    """

    preview: Preview
    before: Accuracy | None = None
    after: Accuracy | None = None
    problem: str = ""


class LiveAccuracy:
    """Measures accuracy before and after the latest preview.

    Args:
        publish: Called with the result, unless a later preview came first.
    """

    def __init__(self, publish: Callable[[Measured], object]) -> None:
        self._publish = publish
        self._task: asyncio.Task[None] | None = None
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def start(self, session: Session, preview: Preview) -> None:
        """Measure ``preview``; whatever was being measured is given up. May be called from any thread."""
        if self._loop is None or self._loop.is_closed():
            self._publish(_measure(session, preview))
        else:
            self._loop.call_soon_threadsafe(self._restart, session, preview)

    def close(self) -> None:
        """Give up what is being measured. May be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)

    def _restart(self, session: Session, preview: Preview) -> None:
        self._cancel()
        self._task = asyncio.ensure_future(self._measure_in_steps(session, preview))

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _measure_in_steps(self, session: Session, preview: Preview) -> None:
        await asyncio.sleep(REST_SECONDS)
        try:
            for part in (None, preview):
                for _ in session.evaluate(part):
                    await asyncio.sleep(0)
        except RequestError as problem:
            self._publish(Measured(preview, problem=str(problem)))
        else:
            self._publish(_measure(session, preview))


def _measure(session: Session, preview: Preview) -> Measured:
    try:
        return Measured(preview, session.accuracy(), session.accuracy(preview))
    except RequestError as problem:
        return Measured(preview, problem=str(problem))
