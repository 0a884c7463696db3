"""The staircase of a layer's latency in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter

from prunescope.core.errors import RequestError
from prunescope.explorer.live.task import Latest
from prunescope.export.compact import Staircase, staircase
from prunescope.session import Session

PUBLISH_SECONDS = 0.25
"""How often it is shown while it is timed."""


@dataclass(frozen=True)
class StaircaseShown:
    """What is known of the latency of fewer channels.

    Attributes:
        layer: Name of the layer that was asked about; "" before any was.
        busy: Whether it is being timed.
        found: The treads so far; None before any is timed.
        problem: Why it cannot be, or "".
    """

    layer: str = ""
    busy: bool = False
    found: Staircase | None = None
    problem: str = ""


class LiveStaircase(Latest):
    """Times a layer of several widths.

    Args:
        publish: Called with what is known, as often as more is.
    """

    def __init__(self, publish: Callable[[StaircaseShown], object]) -> None:
        super().__init__()
        self._publish = publish
        self._shown = StaircaseShown()

    def start(self, session: Session, layer: str) -> None:
        """Time ``layer`` of the model of ``session``; whatever was being timed is given up."""
        self._shown = StaircaseShown(layer, busy=True)
        self._publish(self._shown)
        self._start(session, layer)

    async def _in_steps(self, session: Session, layer: str) -> None:
        told = 0.0
        try:
            for found in staircase(session, layer):
                if found is not None and perf_counter() - told > PUBLISH_SECONDS:
                    told = perf_counter()
                    self._put(found=found)
                await asyncio.sleep(0)
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
