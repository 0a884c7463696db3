"""Live costs: after the picture and the accuracy, the cost of the model as shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prunescope.core.preview import Preview
from prunescope.explorer.live.task import Latest
from prunescope.measure import Costs
from prunescope.measure.costs.measuring import measure
from prunescope.session import Session

REST_SECONDS = 0.25
"""Seconds without changes before costs are measured: accuracy goes first."""

LARGEST = 1 << 25
"""Largest file, in bytes, that is compressed unasked: about three seconds of work in small pieces."""


class LiveCosts(Latest):
    """Measures what the latest preview costs; without an event loop, nothing, until someone asks.

    Args:
        publish: Called with the preview and what is known of its costs, whenever more is known.
    """

    def __init__(self, publish: Callable[[Preview, Costs], object]) -> None:
        super().__init__()
        self._publish = publish

    def start(self, session: Session, preview: Preview, *, large: bool = False) -> None:
        """Measure ``preview``; any earlier measurement is cancelled. May be called from any thread.

        Args:
            session: The session it belongs to.
            preview: What is shown.
            large: Whether a file of more than `LARGEST` bytes is compressed too.
        """
        self._start(session, preview, None if large else LARGEST)

    async def _in_steps(self, session: Session, preview: Preview, largest: int | None) -> None:
        await asyncio.sleep(REST_SECONDS)
        known = None
        for costs in measure(session, preview, largest=largest):
            if costs is not known:
                known = costs
                self._publish(preview, costs)
            await asyncio.sleep(0)

    def _now(self, session: Session, preview: Preview, largest: int | None) -> None:
        pass
