"""Live costs: measured after the picture and the accuracy, for the model as displayed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prunescope.core.preview import Preview
from prunescope.explorer.live.task import BackgroundTask
from prunescope.measure import Costs
from prunescope.measure.costs.measuring import measure
from prunescope.session import Session

REST_SECONDS = 0.25
"""Seconds without changes before costs are measured: accuracy comes first."""

LARGEST = 1 << 25
"""Largest file, in bytes, that is compressed without a request: about three seconds of work."""


class LiveCosts(BackgroundTask):
    """Measure the costs of the latest preview in the background; does nothing without an event loop.

    Args:
        publish: Called with the preview and its costs so far, whenever more is known.
    """

    def __init__(self, publish: Callable[[Preview, Costs], object]) -> None:
        super().__init__()
        self._publish = publish

    def start(self, session: Session, preview: Preview, *, large: bool = False) -> None:
        """Measure ``preview``; any earlier measurement is cancelled. May be called from any thread.

        Args:
            session: The session it belongs to.
            preview: The displayed preview.
            large: Whether to compress files of more than `LARGEST` bytes too.
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
