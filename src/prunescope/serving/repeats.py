"""Log filters: count repeated problems instead of logging each, and drop problems beyond a rate limit."""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable

from prunescope.serving.rates import Allowance

REMEMBERED = 200
"""How many recent messages are remembered."""

LINES, LINES_S = 100, 0.1
"""Problems logged per session, and for the server itself: in one burst, and per second."""

WHO = re.compile(r"session [0-9a-f]{8}\b")

TOOK = re.compile(r" \d+\.\d+ms$")
"""The duration of a response, ignored when comparing messages."""


class Repeats(logging.Filter):
    """Pass warnings and errors that are new; of repeated ones pass the 10th, 100th, 1000th.

    Example:
        >>> log = logging.getLogger("example")
        >>> log.addFilter(Repeats())
        >>> said = [log.makeRecord("example", 30, "", 0, "no such target", (), None) for _ in range(10)]
        >>> [record.getMessage() for record in said if log.filter(record)]
        ['no such target', 'no such target … repeated 10 times']
    """

    def __init__(self) -> None:
        super().__init__()
        self._times: OrderedDict[str, int] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log ``record``; add the count if it is not the first."""
        if record.levelno < logging.WARNING:
            return True
        text = TOOK.sub("", record.getMessage())
        times = self._times[text] = self._times.pop(text, 0) + 1
        if len(self._times) > REMEMBERED:
            self._times.popitem(last=False)
        if times > 1:
            record.msg, record.args, record.exc_info = f"{text} … repeated {times} times", (), None
            record.exc_text = record.stack_info = None
        return times == 1 or times == 10 ** (len(str(times)) - 1)


class Enough(logging.Filter):
    """Limit the warnings and errors of each session: a burst, then a few per minute.

    Example:
        >>> log = logging.getLogger("example")
        >>> enough = Enough(lines=2)
        >>> said = [log.makeRecord("example", 30, "", 0, f"problem {n}", (), None) for n in range(9)]
        >>> [record.getMessage() for record in said if enough.filter(record)]
        ['problem 0', 'problem 1', 'the server has told enough problems for now: more are left out']
    """

    def __init__(self, lines: int = LINES, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._lines, self._clock = lines, clock
        self._allowances: OrderedDict[str, Allowance] = OrderedDict()
        self._left_out: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log ``record``; add how many were left out before it, if any."""
        if record.levelno < logging.WARNING:
            return True
        text = record.getMessage()
        found = WHO.match(text)
        who = found[0] if found else "the server"
        if self._allowance(who).take(1):
            if left_out := self._left_out.pop(who, 0):
                record.msg, record.args = f"{text} ({left_out:,} before it were left out)", ()
            return True
        self._left_out[who] = self._left_out.get(who, 0) + 1
        record.msg, record.args = f"{who} has told enough problems for now: more are left out", ()
        record.exc_info = record.exc_text = record.stack_info = None
        return self._left_out[who] == 1

    def _allowance(self, who: str) -> Allowance:
        allowance = self._allowances.pop(who, None) or Allowance(LINES_S, self._lines, self._clock)
        self._allowances[who] = allowance
        if len(self._allowances) > REMEMBERED:
            gone, _ = self._allowances.popitem(last=False)
            self._left_out.pop(gone, None)
        return allowance
