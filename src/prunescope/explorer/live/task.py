"""Work done in small pieces on the event loop that runs the user's cells; only the latest counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar, cast

T = TypeVar("T")


class BackgroundTask:
    """One background task at a time, cancelled as soon as it is out of date.

    On the event loop, the next move of a slider waits for one small piece of work at most, and nothing uses
    the model while a cell does. Subclasses implement `_in_steps`, and `_now` for use without a loop.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def _start(self, *work: Any) -> None:
        """Start ``work``; any earlier work is cancelled. May be called from any thread."""
        if self._loop is None or self._loop.is_closed():
            self._now(*work)
        else:
            self._loop.call_soon_threadsafe(self._restart, *work)

    def close(self) -> None:
        """Cancel the current work. May be called from any thread."""
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
        """Do ``work`` in small pieces, giving way to other tasks after each."""
        raise NotImplementedError

    def _now(self, *work: Any) -> None:
        """Do ``work`` immediately, to the end."""
        raise NotImplementedError


async def in_thread(work: Iterator[T]) -> AsyncIterator[T]:
    """Yield from ``work``, each piece of which is done in a thread, while the loop does other things."""
    end = object()
    while (piece := await asyncio.to_thread(next, work, end)) is not end:
        yield cast(T, piece)
