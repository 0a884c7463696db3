"""The address to listen on: bound before slow imports, so that a wrong address fails immediately."""

import errno
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tornado.netutil import bind_sockets

from prunescope.serving.accepting import Accepting

PORTS_TRIED = 50
EVERY_INTERFACE = ("", "*", "0.0.0.0", "::")


class CannotListen(Exception):
    """The address cannot be bound; the message is one sentence for the user."""


@dataclass(frozen=True)
class Listener:
    """Sockets that already listen.

    Leaving its ``with`` block releases the port.
    """

    ip: str
    sockets: tuple[socket.socket, ...]

    @classmethod
    def bind(cls, ip: str, port: int) -> Self:
        """Return a listener on ``ip``, at ``port`` or the next free one.

        Args:
            ip: Address or host name of this machine; ``""``, ``"*"``, ``"0.0.0.0"``, ``"::"`` for every one.
            port: 0 for any free port, else 1 to 65535.

        Raises:
            CannotListen: ``ip`` is not an address of this machine, ``port`` is reserved, or 50 ports in a row
                are in use.
        """
        last = min(port + PORTS_TRIED - 1, 65535) if port else 0
        for candidate in range(port, last + 1):
            try:
                sockets = bind_sockets(candidate, "" if ip == "*" else ip)
            except (OSError, UnicodeError) as problem:
                if getattr(problem, "errno", None) != errno.EADDRINUSE:
                    raise CannotListen(_sentence(problem, ip, candidate)) from problem
            else:
                return cls(ip, tuple(map(Accepting.of, sockets)))
        raise CannotListen(f"the ports {port} to {last} of {ip} are all taken: name another with --port.")

    @property
    def port(self) -> int:
        """The bound port, 1 to 65535."""
        return int(self.sockets[0].getsockname()[1])

    @property
    def public(self) -> bool:
        """Whether other machines can reach it."""
        return not all(s.getsockname()[0].startswith(("127.", "::1")) for s in self.sockets)

    @property
    def url(self) -> str:
        """The URL to share; it has this machine's host name when listening on every interface."""
        host = socket.gethostname() if self.ip in EVERY_INTERFACE else self.local_host
        return f"http://{host}:{self.port}/"

    @property
    def local_host(self) -> str:
        """The host for URLs on this machine."""
        host = "127.0.0.1" if self.ip in EVERY_INTERFACE else self.ip
        return f"[{host}]" if ":" in host else host

    @property
    def local_url(self) -> str:
        """The URL for a browser on this machine."""
        return f"http://{self.local_host}:{self.port}/"

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the port."""
        for each in self.sockets:
            each.close()


def _sentence(problem: OSError | UnicodeError, ip: str, port: int) -> str:
    if isinstance(problem, socket.gaierror | UnicodeError):
        return f"{ip!r} is neither an address nor a host name known here: try --ip 127.0.0.1."
    if problem.errno == errno.EADDRNOTAVAIL:
        return f"{ip} is no address of this machine: try --ip 127.0.0.1, or 0.0.0.0 for every one it has."
    if problem.errno == errno.EACCES:
        return f"port {port} needs administrator rights: name one above 1023 with --port."
    return f"{ip} port {port} cannot be served: {problem.strerror or problem}."
