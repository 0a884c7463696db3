"""Listening sockets that reject connections cleanly when the process has run out of file descriptors."""

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
    """A listening socket that keeps one file descriptor in reserve for rejecting a connection.

    Without it, a connection that cannot be accepted would stay in the queue and wake the server endlessly,
    with a traceback in the log each time.
    """

    _spare: int | None

    @classmethod
    def of(cls, listening: socket.socket) -> Accepting:
        """Return ``listening`` as an instance of this class; the original object must not be used again."""
        ours = cls(listening.family, listening.type, listening.proto, fileno=listening.detach())
        ours.setblocking(False)
        ours._spare = os.open(os.devnull, os.O_RDONLY)
        return ours

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection and its address.

        Raises:
            ConnectionAbortedError: The connection was rejected.
            BlockingIOError: There is no connection.
        """
        try:
            return super().accept()
        except OSError as problem:
            if problem.errno not in OUT_OF_FILES:
                raise
        try:
            self._turn_away()
        except OSError as problem:  # Another thread has taken the reserve descriptor.
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
        """Close the socket and release the port."""
        self._give_up_spare()
        super().close()
