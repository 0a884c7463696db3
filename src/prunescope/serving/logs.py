"""The server's log: on stderr, without secrets that would give its readers access to a session."""

import logging
import re

from prunescope.serving.repeats import Enough, Repeats

KEYS = (
    (re.compile(r"\b([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), r"\1"),
    (re.compile(r"\btoken=[^&\s]*"), "token=…"),
)
"""What to redact, and the replacement: kernel ids, and tokens in refused URLs."""


LONGEST = 4000
"""Longest line, in characters."""


class WithoutKeys(logging.Filter):
    """Redact `KEYS` in every line.

    Example:
        >>> line = "404 GET /api/kernels/8d0e4f1c-8a4f-4f8e-9a53-0f1e2d3c4b5a?token=open-sesame (::1)"
        >>> record = logging.makeLogRecord({"msg": line})
        >>> WithoutKeys().filter(record), record.getMessage()
        (True, '404 GET /api/kernels/8d0e4f1c?token=… (::1)')
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record and return True."""
        text = record.getMessage()
        for key, left in KEYS:
            text = key.sub(left, text)
        record.msg, record.args = text, ()
        return True


class OneLine(logging.Formatter):
    """Format each event as one line of bounded length, whatever a page has put into it.

    Example:
        >>> record = logging.makeLogRecord({"msg": "no such target: \\x1b[2J\\n2026-01-01 all is well"})
        >>> print(OneLine("%(message)s").format(record))
        no such target: \\x1b[2J\\n2026-01-01 all is well
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; for a long one its beginning and end, where tracebacks say most."""
        text = super().format(record)[: 100 * LONGEST]
        text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


def worth_saying(record: logging.LogRecord) -> bool:
    """Return False for pyzmq's warnings at the end of a session, and for duplicate messages.

    pyzmq warns about each message that a kernel sent and that nobody waits for any more. For a refused
    request, tornado and Jupyter log the reason, and then again that it was refused.
    """
    if record.module == "zmqstream":
        return record.levelno > logging.WARNING
    return record.funcName not in ("log_exception", "write_error") or record.levelno > logging.WARNING


def log_to_stderr() -> None:
    """Log sessions and problems to stderr, from all libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s %(message)s"))
    for each in (worth_saying, WithoutKeys(), Repeats(), Enough()):
        handler.addFilter(each)
    logging.getLogger().addHandler(handler)
    logging.getLogger("prunescope.serving").setLevel(logging.INFO)
    for name in ("tornado.access", "tornado.general", "tornado.application"):
        logging.getLogger(name).setLevel(logging.WARNING)
