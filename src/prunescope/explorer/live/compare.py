"""Measures both sides of a comparison, after what is shown has been measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.explorer.live.calling import Calls
from prunescope.explorer.live.costs import LARGEST
from prunescope.explorer.live.metric import REST_SECONDS
from prunescope.explorer.live.task import Latest
from prunescope.measure import SIDES, Comparison, Measure
from prunescope.measure.compare import measured
from prunescope.measure.states import accuracy, known, question
from prunescope.session import Session
from prunescope.session.history import Variant


class LiveSides(Latest):
    """Measures both sides of the latest comparison.

    Args:
        publish: Called with the comparison it was told of, and the same with more known of its sides.
        calls: Where the user's metric is called.
    """

    def __init__(self, publish: Callable[[Comparison, Comparison], object], calls: Calls) -> None:
        super().__init__()
        self._publish = publish
        self._calls = calls
        self._next: tuple[Session, Comparison] | None = None

    def prepare(self, session: Session, seen: Comparison | None) -> None:
        """Measure ``seen`` once `go` is called; any earlier measurement is cancelled."""
        self.close()
        self._next = None if seen is None else (session, seen)

    def go(self) -> None:
        """Start what was prepared, if it has not been started yet."""
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
                await self._calls.end(late)
                if known(session, variant) is None:
                    await self._calls.ask(question(session, variant), late)
                told = told.knowing(side, measure=known(session, variant))
                self._publish(seen, told)
        except RequestError as problem:
            late(problem)

    def _now(self, session: Session, seen: Comparison) -> None:
        self._publish(seen, measured_now(session, seen, self._calls, LARGEST))


def measured_now(session: Session, seen: Comparison, calls: Calls, largest: int | None = None) -> Comparison:
    """Return ``seen`` with all that can be measured of it; returns when that is done.

    Args:
        session: The session that it was made of.
        seen: What is compared.
        calls: Where the user's metric is called.
        largest: Bytes up to which a file is compressed; None compresses a file of any size.
    """
    for found in measured(session, seen, largest):
        seen = found
    if not asks(session, seen):
        return seen
    try:
        for side in SIDES:
            seen = seen.knowing(side, measure=worth_now(session, getattr(seen, side).variant, calls))
    except RequestError as problem:
        seen = seen.failing("metric", problem)
    return seen


def worth_now(session: Session, what: Preview | Variant | None, calls: Calls) -> Measure:
    """Return what a state of the model is worth, measured or asked now if it is not known.

    Raises:
        RequestError: The model cannot be run on the data; or the user's function raises, does not answer, or
            not with numbers.
    """
    if session.source.data is not None:
        return accuracy(session, what)
    if known(session, what) is None:
        calls.ask_now(partial(question, session, what))
    answer = known(session, what)
    assert answer is not None
    return answer


def asks(session: Session, seen: Comparison) -> bool:
    """Return whether the metric is a function of the user's, which `measured` leaves to be asked."""
    return "metric" in seen.measures and session.source.evaluate is not None
