"""The same problem said again and again: counted, instead of repeated."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict

REMEMBERED = 200
"""Messages that are known again, the latest."""

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
