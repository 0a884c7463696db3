"""Work done in small pieces on the event loop that runs the user's cells; only the latest counts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Latest:
    """One piece of work at a time, given up as soon as it is out of date.

    On the loop, a slider's next move is never more than a bit of work away, and nothing touches the model
    beside a cell that does. Subclasses say what is done in `_in_steps`, and in `_now` what is done where
    there is no loop.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def _start(self, *work: Any) -> None:
        """Do ``work``; any earlier work is cancelled. May be called from any thread."""
        if self._loop is None or self._loop.is_closed():
            self._now(*work)
        else:
            self._loop.call_soon_threadsafe(self._restart, *work)

    def close(self) -> None:
        """Give up what is being done. May be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)

    def _restart(self, *work: Any) -> None:
        self._cancel()
        self._task = asyncio.ensure_future(self._in_steps(*work))

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _in_steps(self, *work: Any) -> Coroutine[Any, Any, None]:
        """Do ``work``, giving way to others after each bit of it."""
        raise NotImplementedError

    def _now(self, *work: Any) -> None:
        """Do ``work`` at once."""
        raise NotImplementedError
