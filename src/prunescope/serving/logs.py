"""The server's log: on stderr, and without what would let a reader of it into a session."""

import logging
import re

from prunescope.serving.repeats import Enough, Repeats

KEYS = (
    (re.compile(r"\b([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), r"\1"),
    (re.compile(r"\btoken=[^&\s]*"), "token=…"),
)
"""What is cut short, and what stays of it: ids of kernels, and the token of an address that was refused."""


LONGEST = 4000
"""Letters of a line."""


class WithoutKeys(logging.Filter):
    """Cuts `KEYS` short in every line.

    Example:
        >>> line = "404 GET /api/kernels/8d0e4f1c-8a4f-4f8e-9a53-0f1e2d3c4b5a?token=open-sesame (::1)"
        >>> record = logging.makeLogRecord({"msg": line})
        >>> WithoutKeys().filter(record), record.getMessage()
        (True, '404 GET /api/kernels/8d0e4f1c?token=… (::1)')
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every line pass, its keys cut short."""
        text = record.getMessage()
        for key, left in KEYS:
            text = key.sub(left, text)
        record.msg, record.args = text, ()
        return True


class OneLine(logging.Formatter):
    """Writes an event on one line of bounded length, whatever a page has put into it.

    Example:
        >>> record = logging.makeLogRecord({"msg": "no such target: \\x1b[2J\\n2026-01-01 all is well"})
        >>> print(OneLine("%(message)s").format(record))
        no such target: \\x1b[2J\\n2026-01-01 all is well
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; of a long one the beginning and the end, where tracebacks say most."""
        text = super().format(record)[: 100 * LONGEST]
        text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


def worth_saying(record: logging.LogRecord) -> bool:
    """Return False for what pyzmq notices where a session has just ended, and what is said twice.

    It warns of each message that a kernel had still sent, and that nobody waits for any more. Of a refused
    request tornado and Jupyter tell the reason, and then that it was refused.
    """
    if record.module == "zmqstream":
        return record.levelno > logging.WARNING
    return record.funcName not in ("log_exception", "write_error") or record.levelno > logging.WARNING


def log_to_stderr() -> None:
    """Write what the server has to say of its sessions, and what goes wrong, to stderr, whoever says it."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s %(message)s"))
    for each in (worth_saying, WithoutKeys(), Repeats(), Enough()):
        handler.addFilter(each)
    logging.getLogger().addHandler(handler)
    logging.getLogger("prunescope.serving").setLevel(logging.INFO)
    for name in ("tornado.access", "tornado.general", "tornado.application"):
        logging.getLogger(name).setLevel(logging.WARNING)
