"""How much a session may say, and how much may wait for a page that does not listen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

MESSAGES_S, MOST_MESSAGES = 1_000, 10_000
"""Of a session, for long and at once; a pointer that is dragged says some hundred a second."""

BYTES_S, MOST_BYTES = 1 << 28, 1 << 30
"""Of a session, for long and at once; a file is uploaded in parts of 1 MB, each asked for by the kernel."""

MOST_UNSENT = 1 << 26
"""Bytes that wait for a page, before another message is added; one of any size may be under way."""


@dataclass
class Allowance:
    """So much at once, and after that so much a second.

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
        """Return whether ``amount`` may be had now, and take it if so."""
        now = self.clock()
        self._left = min(self.at_once, self._left + self.a_second * (now - self._since))
        self._since = now
        if amount > self._left:
            return False
        self._left -= amount
        return True


class Allowances:
    """What one session may say on all of its lines together."""

    def __init__(self) -> None:
        self._messages = Allowance(MESSAGES_S, MOST_MESSAGES)
        self._bytes = Allowance(BYTES_S, MOST_BYTES)

    def take(self, size: int) -> str | None:
        """Return None for a message of ``size`` bytes that may be said, else what there is too much of."""
        if not self._messages.take(1):
            return f"more than {MESSAGES_S:,} messages a second"
        if not self._bytes.take(size):
            return f"more than {BYTES_S >> 20} MB a second"
        return None
