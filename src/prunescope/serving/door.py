"""What is turned away before anything is started for it: foreign names, and what is no visit to a page."""

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


METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

LONGEST, LONGEST_NAME = 2000, 255
"""Bytes of a path, and of each name in it, as file systems have it."""


class Malformed(Matcher):
    """Matches what no browser asks: Jupyter's own answers to it are tracebacks in the log."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return None for a request that may be answered."""
        return None if is_well_formed(request.method or "", request.uri or "") else {}


def is_well_formed(method: str, uri: str) -> bool:
    """Return whether a request has a method that HTTP knows, and an address that stands for text.

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
    """The answer to what is malformed."""

    def prepare(self) -> None:
        """Refuse; of a method that it does not know tornado has done so before."""
        raise web.HTTPError(400)


def _say(handler: web.RequestHandler) -> None:
    request = handler.request
    log.warning(
        "refused: %d %.20s %.200s (%s)", handler.get_status(), request.method, request.uri, request.remote_ip
    )


def door(app: web.Application, listener: Listener | None) -> RuleRouter:
    """Return what leads to ``app`` whoever asks as a browser does, and by a name of this server's own.

    Args:
        app: Where it leads.
        listener: Has the names; None to let any name be used.
    """
    refused = web.Application([(".*", Refused)], log_function=_say)
    foreign = web.Application([(".*", Foreign)], log_function=lambda handler: None)
    names = AnyMatches() if listener is None else OwnNames(listener)
    return RuleRouter([Rule(Malformed(), refused), Rule(names, app), Rule(AnyMatches(), foreign)])


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
