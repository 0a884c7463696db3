"""Measures both sides of a comparison, after what is shown has been measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prunescope.analysis import Comparison
from prunescope.comparing import measured
from prunescope.explorer.costing import LARGEST
from prunescope.explorer.evaluation import REST_SECONDS
from prunescope.explorer.latest import Latest
from prunescope.session import Session


class LiveSides(Latest):
    """Measures both sides of the latest comparison.

    Args:
        publish: Called with the comparison it was told of, and the same with more known of its sides.
    """

    def __init__(self, publish: Callable[[Comparison, Comparison], object]) -> None:
        super().__init__()
        self._publish = publish
        self._next: tuple[Session, Comparison] | None = None

    def prepare(self, session: Session, seen: Comparison | None) -> None:
        """Measure ``seen`` once `go` is called; whatever was being measured is given up."""
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

    def _now(self, session: Session, seen: Comparison) -> None:
        found = seen
        for found in measured(session, seen, LARGEST):  # noqa: B007  # the last one counts
            pass
        self._publish(seen, found)
