"""Coarse while it moves, sharp when it rests: a picture on a screen of several device pixels per CSS pixel.

Such a picture has four times the pixels or more, and takes as many times as long to press and to unpack. So
a step of the amount is drawn with one, which the page stretches, and drawn again with all once nothing has
moved for a moment. Of both the parts that rest are kept, so that neither is a full drawing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from prunescope.explorer.live.task import Latest

REST_SECONDS = 0.4
"""How long nothing must move before the picture is sharpened."""


class Sharpness(Latest):
    """Tells how many pixels to draw with.

    Without an event loop nothing would sharpen the picture again, so that it is never coarse.

    Args:
        sharpen: Called when the picture has come to rest.
        lock: Held meanwhile.

    Attributes:
        stretches: Whether the page says that it stretches coarse pictures.
    """

    def __init__(self, sharpen: Callable[[], object], lock: AbstractContextManager[object]) -> None:
        super().__init__()
        self._sharpen = sharpen
        self._lock = lock
        self.stretches = False

    def moving(self, ratio: float) -> float:
        """Return the device pixels per CSS pixel to draw a step with, where the screen has ``ratio``."""
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
        """Do nothing: the picture has not been coarse."""
