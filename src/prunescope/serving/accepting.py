"""Sockets that take visitors in, and turn them away when this process can open no more files."""

from __future__ import annotations

import errno
import logging
import os
import socket
from contextlib import suppress
from typing import Any

OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)

FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Content-Type: text/plain\r\n"
    b"Retry-After: 60\r\n"
    b"Connection: close\r\n\r\n"
    b"This server has as many visitors as it can have: try again in a minute.\n"
)

log = logging.getLogger("prunescope.serving")


class Accepting(socket.socket):
    """A socket that listens, with a file kept in reserve for turning somebody away.

    Without it whoever could not be taken in would stay in the queue, and the server be called for it without
    end, each time with a traceback in its log.
    """

    _spare: int | None

    @classmethod
    def of(cls, listening: socket.socket) -> Accepting:
        """Return ``listening`` as one of these; the other object is done with."""
        ours = cls(listening.family, listening.type, listening.proto, fileno=listening.detach())
        ours.setblocking(False)
        ours._spare = os.open(os.devnull, os.O_RDONLY)
        return ours

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection and where it comes from.

        Raises:
            ConnectionAbortedError: It was turned away.
            BlockingIOError: There is none.
        """
        try:
            return super().accept()
        except OSError as problem:
            if problem.errno not in OUT_OF_FILES:
                raise
        try:
            self._turn_away()
        except OSError as problem:  # Another thread was faster to take the file in reserve.
            raise BlockingIOError from problem
        raise ConnectionAbortedError

    def _turn_away(self) -> None:
        self._give_up_spare()
        try:
            visitor, _ = super().accept()
            with visitor, suppress(OSError):
                visitor.setblocking(False)
                visitor.send(FULL)
                visitor.shutdown(socket.SHUT_WR)
        finally:
            self._spare = os.open(os.devnull, os.O_RDONLY)
        log.warning("full: a visitor was turned away: this process can open no more files (ulimit -n)")

    def _give_up_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def close(self) -> None:
        """Give the port back."""
        self._give_up_spare()
        super().close()
