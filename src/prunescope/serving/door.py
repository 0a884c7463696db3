"""What is turned away before anything is started for it: foreign names, and what is no visit to a page."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from tornado import web
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.routing import AnyMatches, Matcher, Rule, RuleRouter

from prunescope.serving.address import EVERY_INTERFACE, Listener
from prunescope.serving.sessions import log


class OwnNames(Matcher):
    """Matches what is asked of this server by a name of its own.

    A page on the web can have its own name lead to this machine, and then read what is answered as if it were
    its own. What it cannot do is ask by another name than its own; nor can an address be made to lead
    elsewhere, as a name can.
    """

    def __init__(self, listener: Listener) -> None:
        self._every_interface = listener.ip in EVERY_INTERFACE
        self._addresses = {each.getsockname()[0] for each in listener.sockets}
        self._names = {"localhost", listener.ip.lower()}
        if listener.public:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return None for a request by a foreign name."""
        return {} if self.knows(request.host_name) else None

    def knows(self, host: str) -> bool:
        """Return whether ``host``, as a browser writes it, is this server."""
        host = host.lower().removeprefix("[").removesuffix("]")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host.removesuffix(".") in self._names
        return address.is_loopback or self._every_interface or str(address) in self._addresses


class Foreign(web.RequestHandler):
    """The answer to whoever asks by a name that is not this server's."""

    def prepare(self) -> None:
        """Refuse, and say how to come in."""
        log.warning("refused: asked for by the name %.100s", self.request.host_name)
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(
            f"This server does not go by the name {self.request.host_name}. Open the address that it printed "
            "when it started; to have it answer to any name, start it with --token.\n"
        )


def door(app: web.Application, listener: Listener) -> RuleRouter:
    """Return what leads to ``app`` whoever asks by a name of the ``listener``'s own, and nobody else."""
    foreign = web.Application([(".*", Foreign)], log_function=lambda handler: None)
    return RuleRouter([Rule(OwnNames(listener), app), Rule(AnyMatches(), foreign)])


def is_visit(headers: HTTPHeaders) -> bool:
    """Return whether a page is asked for to be looked at, by a person or a program.

    Another site's page can ask for ours as a picture, in a frame or ahead of time. Browsers say so where
    the address is this machine's or has TLS; to others they at least tell what they would accept.

    Example:
        >>> is_visit(HTTPHeaders({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}))
        True
        >>> is_visit(HTTPHeaders({"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}))
        False
    """
    if "prefetch" in headers.get("Sec-Purpose", ""):
        return False
    mode = headers.get("Sec-Fetch-Mode")
    if mode is None:
        browser = headers.get("User-Agent", "").startswith("Mozilla/")
        return "text/html" in headers.get("Accept", "") or not browser
    framed = headers.get("Sec-Fetch-Dest") != "document" and headers.get("Sec-Fetch-Site") == "cross-site"
    return mode == "navigate" and not framed
