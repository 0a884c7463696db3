"""Rate limits for a session, and a limit on data waiting for a page that does not read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

MESSAGES_S, MOST_MESSAGES = 1_000, 10_000
"""Messages of a session, per second and in one burst; dragging a pointer sends about a hundred a second."""

BYTES_S, MOST_BYTES = 1 << 28, 1 << 30
"""Bytes of a session, per second and in one burst; uploads come in parts of 1 MB, at the kernel's request."""

MOST_UNSENT = 1 << 26
"""Most bytes waiting for a page before another message is added; a single message may be larger."""


@dataclass
class Allowance:
    """A token bucket: ``at_once`` in one burst, then ``a_second`` per second.

    Example:
        >>> seconds = iter([0.0, 0.0, 0.0, 1.5])
        >>> allowance = Allowance(a_second=2, at_once=3, clock=lambda: next(seconds))
        >>> allowance.take(3), allowance.take(1), allowance.take(3)
        (True, False, True)
    """

    a_second: float
    at_once: float
    clock: Callable[[], float] = time.monotonic
    _left: float = field(init=False)
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self._left, self._since = self.at_once, self.clock()

    def take(self, amount: float) -> bool:
        """Take ``amount`` if it is available now, and return whether it was."""
        now = self.clock()
        self._left = min(self.at_once, self._left + self.a_second * (now - self._since))
        self._since = now
        if amount > self._left:
            return False
        self._left -= amount
        return True


class Allowances:
    """The rate limits of one session, over all its connections."""

    def __init__(self) -> None:
        self._messages = Allowance(MESSAGES_S, MOST_MESSAGES)
        self._bytes = Allowance(BYTES_S, MOST_BYTES)

    def take(self, size: int) -> str | None:
        """Return None if a message of ``size`` bytes is within the limits, else the limit it exceeds."""
        if not self._messages.take(1):
            return f"more than {MESSAGES_S:,} messages a second"
        if not self._bytes.take(size):
            return f"more than {BYTES_S >> 20} MB a second"
        return None
