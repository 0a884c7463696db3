"""Coarse while moving, sharp at rest: pictures on screens with several device pixels per CSS pixel.

Such a picture has four times the pixels or more, and takes that much longer to encode and decode. So a step
of the amount is drawn with one device pixel per CSS pixel, which the page stretches, and again at full
resolution once nothing has moved for a moment. The static part of both is cached, so that neither is a full
drawing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from prunescope.explorer.live.task import BackgroundTask

REST_SECONDS = 0.4
"""Seconds at rest before the picture is sharpened."""


class Sharpness(BackgroundTask):
    """Decides at which resolution to draw.

    Without an event loop nothing would sharpen the picture again, so it is never coarse.

    Args:
        sharpen: Called once the picture is at rest.
        lock: Held meanwhile.

    Attributes:
        stretches: Whether the page can stretch coarse pictures.
    """

    def __init__(self, sharpen: Callable[[], object], lock: AbstractContextManager[object]) -> None:
        super().__init__()
        self._sharpen = sharpen
        self._lock = lock
        self.stretches = False

    def moving(self, ratio: float) -> float:
        """Return the device pixels per CSS pixel to draw a step with on a screen of ``ratio``."""
        if ratio == 1 or not self.stretches or self._loop is None:
            return ratio
        self.rest()
        return 1.0

    def rest(self) -> None:
        """Sharpen once nothing has moved for `REST_SECONDS`."""
        self._start()

    async def _in_steps(self) -> None:
        await asyncio.sleep(REST_SECONDS)
        with self._lock:
            self._sharpen()

    def _now(self) -> None:
        """Do nothing: the picture is not coarse."""
