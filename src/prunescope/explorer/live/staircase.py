"""Time a layer with fewer channels, in the background, for its latency staircase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter

from prunescope.core.errors import RequestError
from prunescope.explorer.live.task import BackgroundTask, in_thread
from prunescope.export.compact import Staircase, staircase
from prunescope.session import Session

PUBLISH_SECONDS = 0.25
"""Seconds between updates while timing."""

TIMING_SECONDS = 3.0
"""How long to time all widths together, in seconds."""


@dataclass(frozen=True)
class StaircaseShown:
    """The latency of a layer with fewer channels, so far.

    Attributes:
        layer: Name of the layer; "" before the first request.
        busy: Whether it is being timed.
        found: The treads so far; None before the first is timed.
        problem: Why it cannot be timed, or "".
    """

    layer: str = ""
    busy: bool = False
    found: Staircase | None = None
    problem: str = ""


class LiveStaircase(BackgroundTask):
    """Time a layer at several widths in the background.

    Args:
        publish: Called with the state so far, whenever more is known.
    """

    def __init__(self, publish: Callable[[StaircaseShown], object]) -> None:
        super().__init__()
        self._publish = publish
        self._shown = StaircaseShown()

    def start(self, session: Session, layer: str) -> None:
        """Time ``layer`` in the model of ``session``; any earlier timing is cancelled."""
        self._shown = StaircaseShown(layer, busy=True)
        self._publish(self._shown)
        self._start(session, layer)

    async def _in_steps(self, session: Session, layer: str) -> None:
        told, work = 0.0, staircase(session, layer, seconds=TIMING_SECONDS)
        try:
            found = next(work)  # The session is read on this loop; what takes long runs in a thread.
            async for found in in_thread(work):
                if found is not None and perf_counter() - told > PUBLISH_SECONDS:
                    told = perf_counter()
                    self._put(found=found)
            self._put(found=found, busy=False)
        except RequestError as problem:
            self._put(busy=False, problem=str(problem))

    def _put(self, **found: object) -> None:
        self._shown = replace(self._shown, **found)  # type: ignore[arg-type]
        self._publish(self._shown)

    def _now(self, session: Session, layer: str) -> None:
        try:
            *_, found = staircase(session, layer, seconds=0)
            self._put(found=found, busy=False)
        except RequestError as problem:
            self._put(busy=False, problem=str(problem))
