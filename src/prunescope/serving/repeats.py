"""The same problem said again and again is counted, instead of repeated; too many of them are left out."""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable

from prunescope.serving.rates import Allowance

REMEMBERED = 200
"""Messages that are known again, the latest."""

LINES, LINES_S = 100, 0.1
"""What each session may have written of its problems, and the server of its own: at once, and a second."""

WHO = re.compile(r"session [0-9a-f]{8}\b")

TOOK = re.compile(r" \d+\.\d+ms$")
"""How long an answer took, which differs where nothing else does."""


class Repeats(logging.Filter):
    """Lets a warning or an error pass that has not been said lately; of the rest the 10th, 100th, 1000th.

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
        """Return whether to write ``record``, with the number of times if it is not the first."""
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
    """Lets each session give so many warnings and errors, and no more than a few a minute after that.

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
        """Return whether to write ``record``, which may tell how many were left out before it."""
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
