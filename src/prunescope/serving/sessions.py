"""The visitors' sessions: one kernel each, from the page's request to the end, and why it ended."""

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.websocket import WebSocketHandler

from prunescope.serving.rates import Allowances

LINGER_S = 60.0
"""Seconds that a session outlives its last connection, so that a page can reconnect."""

REMEMBERED = 1000
"""Number of ended sessions whose reason is remembered, for pages that ask later."""

log = logging.getLogger("prunescope.serving")


class End(StrEnum):
    """Why a session ended."""

    LEFT = "left"
    LOST = "lost"
    IDLE = "idle"
    DIED = "died"


@dataclass
class _Session:
    started: float
    pages: set[WebSocketHandler] = field(default_factory=set)
    alone_since: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    allowances: Allowances = field(default_factory=Allowances)


class Sessions:
    """The visitors' sessions.

    Args:
        kernels: Starts and ends the kernels.
        limit: Most sessions at once.
        idle_timeout: Seconds without a message after which a session is ended.
    """

    def __init__(self, kernels: AsyncMappingKernelManager, *, limit: int, idle_timeout: float) -> None:
        self.limit = limit
        self.idle_timeout = idle_timeout
        self._kernels = kernels
        self._expected: set[object] = set()
        self._open: dict[str, _Session] = {}
        self._ends: dict[str, End] = {}

    def __len__(self) -> int:
        """Return the number of sessions, including those whose page is still loading."""
        return len(self._open) + len(self._expected)

    def __contains__(self, kernel_id: str) -> bool:
        """Return whether ``kernel_id`` is the kernel of a visitor."""
        return kernel_id in self._open

    def reserve(self) -> object | None:
        """Reserve a place for one more session and return it, or None if the server is full."""
        if len(self) >= self.limit:
            return None
        place = object()
        self._expected.add(place)
        return place

    def release(self, place: object) -> None:
        """Release a reserved place, unless it is already in use."""
        self._expected.discard(place)

    def start(self, kernel_id: str, place: object) -> None:
        """Start a session with the kernel, in the reserved ``place``."""
        self.release(place)
        now = time.monotonic()
        self._open[kernel_id] = _Session(started=now, alone_since=now)
        self._say(kernel_id, "started")

    def lines(self, kernel_id: str) -> int:
        """Return the number of connections to the session's kernel, including those just opening."""
        session = self._open.get(kernel_id)
        return len(session.pages) if session else 0

    def connect(self, kernel_id: str, page: WebSocketHandler) -> None:
        """Register a page that has connected to its kernel."""
        if kernel_id in self._open:
            self._open[kernel_id].pages.add(page)

    def disconnect(self, kernel_id: str, page: WebSocketHandler) -> None:
        """Unregister a page that has left or lost its network."""
        session = self._open.get(kernel_id)
        if session is not None:
            session.pages.discard(page)
            session.alone_since = time.monotonic()

    def exceeds(self, kernel_id: str, size: int) -> str | None:
        """Return None if a message of ``size`` bytes is within the limits, else the limit it exceeds."""
        session = self._open.get(kernel_id)
        return session.allowances.take(size) if session else None

    async def until_end(self, kernel_id: str) -> None:
        """Wait until the session has ended."""
        session = self._open.get(kernel_id)
        if session is not None:
            await session.over.wait()

    def why_ended(self, kernel_id: str) -> End | None:
        """Return why a session ended; None if that is not known."""
        return self._ends.get(kernel_id)

    async def end(self, kernel_id: str, why: End) -> None:
        """End a session and its kernel, and close its pages; does nothing if it has already ended."""
        session = self._open.pop(kernel_id, None)
        if session is None:
            return
        self._remember(kernel_id, why)
        self._say(kernel_id, f"ended after {time.monotonic() - session.started:.0f} s: {why}")
        session.over.set()
        for page in tuple(session.pages):
            page.close()
        if kernel_id in self._kernels:
            await self._kernels.shutdown_kernel(kernel_id, now=True)  # type: ignore[no-untyped-call]

    async def end_unused(self) -> None:
        """End sessions whose kernel has died, whose page is gone, or that have been idle for too long."""
        now = time.monotonic()
        for kernel_id, session in tuple(self._open.items()):
            if kernel_id not in self._kernels:
                await self.end(kernel_id, End.DIED)
            elif self._unused_for(kernel_id) > self.idle_timeout:
                await self.end(kernel_id, End.IDLE)
            elif not session.pages and now - session.alone_since > min(LINGER_S, self.idle_timeout):
                await self.end(kernel_id, End.LOST)

    def _unused_for(self, kernel_id: str) -> float:
        # Jupyter's server adds it to its client's kernels.
        last: datetime = self._kernels.get_kernel(kernel_id).last_activity  # type: ignore[attr-defined]
        used = (datetime.now(UTC) - last).total_seconds()
        return min(used, time.monotonic() - self._open[kernel_id].started)

    def _remember(self, kernel_id: str, why: End) -> None:
        self._ends[kernel_id] = why
        while len(self._ends) > REMEMBERED:
            del self._ends[next(iter(self._ends))]

    def _say(self, kernel_id: str, event: str) -> None:
        # The full id gives access to the kernel, so it stays out of the log.
        log.info("session %s %s (%d of %d)", kernel_id[:8], event, len(self), self.limit)

    def as_json(self, kernel_id: str) -> str:
        """Return the JSON that a page gets about its session."""
        return json.dumps({"open": kernel_id in self, "why": self.why_ended(kernel_id)})
