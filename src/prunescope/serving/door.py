"""Reject requests before any work is done for them: foreign host names, malformed requests, non-visits."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import unquote_to_bytes

from tornado import web
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.routing import AnyMatches, Matcher, Rule, RuleRouter

from prunescope.serving.address import EVERY_INTERFACE, Listener
from prunescope.serving.sessions import log


class OwnNames(Matcher):
    """Match requests whose host is one of this server's own names: protection against DNS rebinding.

    A web page can make its own domain resolve to this machine, and then read our responses as if they were
    its own. But its requests always carry that domain as the host, and an IP address cannot be rebound.
    """

    def __init__(self, listener: Listener) -> None:
        self._every_interface = listener.ip in EVERY_INTERFACE
        self._addresses = {each.getsockname()[0] for each in listener.sockets}
        self._names = {"localhost", listener.ip.lower()}
        if listener.public:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return None for a request with a foreign host."""
        return {} if self.knows(request.host_name) else None

    def knows(self, host: str) -> bool:
        """Return whether ``host``, as in a browser's Host header, is this server."""
        host = host.lower().removeprefix("[").removesuffix("]")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host.removesuffix(".") in self._names
        return address.is_loopback or self._every_interface or str(address) in self._addresses


class Foreign(web.RequestHandler):
    """The response to requests with a foreign host."""

    def prepare(self) -> None:
        """Refuse with 403, and say how to connect."""
        log.warning("refused: asked for by the name %.100s", self.request.host_name)
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(
            f"This server does not go by the name {self.request.host_name}. Open the address that it printed "
            "when it started; to have it answer to any name, start it with --token.\n"
        )


METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

LONGEST, LONGEST_NAME = 2000, 255
"""Longest path, and longest name within it, in bytes; file systems have the same limits."""


class Malformed(Matcher):
    """Match requests that no browser sends, for which Jupyter would log tracebacks."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return None for a well-formed request."""
        return None if is_well_formed(request.method or "", request.uri or "") else {}


def is_well_formed(method: str, uri: str) -> bool:
    """Return whether a request has a standard HTTP method, and a URI of printable text within the limits.

    Example:
        >>> is_well_formed("GET", "/?token=open%20sesame")
        True
        >>> is_well_formed("PURGE", "/"), is_well_formed("GET", "/%ff"), is_well_formed("GET", "/%00")
        (False, False, False)
    """
    try:
        text = unquote_to_bytes(uri).decode()
    except UnicodeError:
        return False
    path = text.partition("?")[0].encode()
    fits = len(path) <= LONGEST and max(map(len, path.split(b"/"))) <= LONGEST_NAME
    return method in METHODS and text.isprintable() and fits


class Refused(web.RequestHandler):
    """The response to malformed requests."""

    def prepare(self) -> None:
        """Refuse with 400; tornado itself has already refused unknown methods."""
        raise web.HTTPError(400)


def _say(handler: web.RequestHandler) -> None:
    request = handler.request
    log.warning(
        "refused: %d %.20s %.200s (%s)", handler.get_status(), request.method, request.uri, request.remote_ip
    )


def door(app: web.Application, listener: Listener | None) -> RuleRouter:
    """Return a router that passes well-formed requests with one of this server's host names to ``app``.

    Args:
        app: The application to protect.
        listener: Determines the host names; None accepts any.
    """
    refused = web.Application([(".*", Refused)], log_function=_say)
    foreign = web.Application([(".*", Foreign)], log_function=lambda handler: None)
    names = AnyMatches() if listener is None else OwnNames(listener)
    return RuleRouter([Rule(Malformed(), refused), Rule(names, app), Rule(AnyMatches(), foreign)])


def is_visit(headers: HTTPHeaders) -> bool:
    """Return whether a request is a real visit to the page, by a person or a program.

    Another site can request our page as an image, in a frame or as a prefetch. Browsers send ``Sec-Fetch``
    headers about this to local addresses and over TLS; otherwise the Accept header must do.

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
