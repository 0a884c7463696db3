"""Who is being served: one kernel a visitor, from the page's request to its end, and why it ended."""

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
"""How long a session outlives its last connection, for a page whose network comes back."""

REMEMBERED = 1000
"""Of how many ended sessions the reason is kept, for the pages that ask later."""

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
        limit: Sessions at once.
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
        """Return how many visitors are served, those included whose page is on its way."""
        return len(self._open) + len(self._expected)

    def __contains__(self, kernel_id: str) -> bool:
        """Return whether ``kernel_id`` is the kernel of a visitor."""
        return kernel_id in self._open

    def reserve(self) -> object | None:
        """Return a place for one more visitor, or None when there is none."""
        if len(self) >= self.limit:
            return None
        place = object()
        self._expected.add(place)
        return place

    def release(self, place: object) -> None:
        """Give a place back that was not needed, if it was not."""
        self._expected.discard(place)

    def start(self, kernel_id: str, place: object) -> None:
        """Let the visitor for whom ``place`` was kept have the kernel."""
        self.release(place)
        now = time.monotonic()
        self._open[kernel_id] = _Session(started=now, alone_since=now)
        self._say(kernel_id, "started")

    def lines(self, kernel_id: str) -> int:
        """Return how many lines to the session's kernel there are, those included that are just opening."""
        session = self._open.get(kernel_id)
        return len(session.pages) if session else 0

    def connect(self, kernel_id: str, page: WebSocketHandler) -> None:
        """Notice that a page listens to its kernel."""
        if kernel_id in self._open:
            self._open[kernel_id].pages.add(page)

    def disconnect(self, kernel_id: str, page: WebSocketHandler) -> None:
        """Notice that a page is gone, or its network."""
        session = self._open.get(kernel_id)
        if session is not None:
            session.pages.discard(page)
            session.alone_since = time.monotonic()

    def exceeds(self, kernel_id: str, size: int) -> str | None:
        """Return None for a message of ``size`` bytes that a page may say, else of what it says too much."""
        session = self._open.get(kernel_id)
        return session.allowances.take(size) if session else None

    async def until_end(self, kernel_id: str) -> None:
        """Wait until the session has ended."""
        session = self._open.get(kernel_id)
        if session is not None:
            await session.over.wait()

    def why_ended(self, kernel_id: str) -> End | None:
        """Return why a session ended, None if nobody remembers."""
        return self._ends.get(kernel_id)

    async def end(self, kernel_id: str, why: End) -> None:
        """End a session and its kernel, and let its pages know; nothing happens to one that has ended."""
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
        """End the sessions whose page is gone for good, or has not been used for long."""
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
        # The whole id is what lets a page talk to the kernel: it stays out of the log.
        log.info("session %s %s (%d of %d)", kernel_id[:8], event, len(self), self.limit)

    def as_json(self, kernel_id: str) -> str:
        """Return what a page is told of its session."""
        return json.dumps({"open": kernel_id in self, "why": self.why_ended(kernel_id)})
