"""What a browser may ask for, beside the files of Voilà's front end."""

import asyncio
import json
import re
from contextlib import ExitStack
from functools import partial
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.handlers import KernelHandler
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketProtocol, WebSocketProtocol13
from voila.request_info_handler import RequestInfoSocketHandler
from voila.tornado.handler import TornadoVoilaHandler

from prunescope.serving.door import is_visit
from prunescope.serving.messages import PROTOCOL, check
from prunescope.serving.rates import MOST_UNSENT
from prunescope.serving.sessions import End, Sessions, log

KERNEL_ID = re.compile(r'"kernelId": "([\w-]+)"')
RETRY_S = 5

NO_SUCH_COMM = re.compile(r"^No such comm: .*\n?", re.MULTILINE)
"""What ipykernel prints at each page: it looks a comm up in one thread before another has opened it."""


MOST_LINES = 8
"""Of a session. A page has one, and another where its network has come back before the first was missed."""


class _Ours:
    """A handler that knows the sessions."""

    settings: dict[str, Any]

    @property
    def sessions(self) -> Sessions:
        sessions: Sessions = self.settings["sessions"]
        return sessions


class Page(_Ours, TornadoVoilaHandler):  # type: ignore[misc]
    """The explorer, one kernel for each request, as long as there is room."""

    @web.authenticated
    async def get(self, path: str | None = None) -> None:
        """Send the page as it comes, or a page that tries again when all places are taken."""
        if path:
            raise web.HTTPError(404)
        if not is_visit(self.request.headers):
            raise web.HTTPError(403)
        place = self.sessions.reserve()
        if place is None:
            self._send_full()
            return
        try:
            await self._send_page(place)
        finally:
            self.sessions.release(place)

    async def _send_page(self, place: object) -> None:
        kernel_id = None
        kernels = self.settings["kernel_manager"]
        await kernels.forget_dead()
        with ExitStack() as awaited:
            awaited.enter_context(kernels.awaited())
            async for html in self.get_generator():
                if kernel_id is None and (found := KERNEL_ID.search(html)):
                    kernel_id = found[1]
                    self.sessions.start(kernel_id, place)
                    awaited.close()
                    kernels.make_ready()
                self.write(html)
                self.flush()
        if kernel_id is not None and self.request.connection.stream.closed():
            await self.sessions.end(kernel_id, End.LEFT)

    def _send_full(self) -> None:
        self.set_status(503)
        self.set_header("Retry-After", str(RETRY_S))
        self.set_header("Cache-Control", "no-store")
        self.finish(self.render_template("full.html", limit=self.sessions.limit, retry=RETRY_S))


class Kernel(_Ours, KernelHandler):
    """What the front end asks about its kernel."""

    async def prepare(self, **words: Any) -> None:
        """Know no kernel but visitors'."""
        await super().prepare(**words)
        if self.path_args[0] not in self.sessions:
            raise web.HTTPError(404)

    @web.authenticated
    async def delete(self, kernel_id: str) -> None:
        """End the session along with its kernel."""
        await self.sessions.end(kernel_id, End.LEFT)
        self.set_status(204)


class Line(ZMQChannelsWebsocketConnection):
    """What a kernel says to its page; what it prints, tracebacks above all, is for the server's log."""

    counted = ended = False

    def connect(self) -> Any:
        """Start to pass messages on."""
        self.counted = True
        return super().connect()

    def disconnect(self) -> None:  # type: ignore[override]
        """Stop, once; Jupyter counts wrongly where a page leaves before its line is up, or is told twice."""
        if self.ended:
            return
        self.ended = True
        if not self.counted:
            self.multi_kernel_manager.notify_connect(self.kernel_id)
            self._open_sockets.add(self)
        super().disconnect()  # type: ignore[no-untyped-call]

    def handle_incoming_message(self, incoming_msg: Any) -> None:
        """Pass a message on while the line is up; nothing else that a page says reaches the kernel."""
        # A closed line has no protocol, and Jupyter would read what still comes as if it were of its oldest.
        if self.ended or self.subprotocol != PROTOCOL:
            return
        try:
            check(incoming_msg)
            super().handle_incoming_message(incoming_msg)
        except Exception as problem:
            reason = f"{type(problem).__name__}: {problem}"[:200]
            log.warning("session %s: not a message: %r", self.kernel_id[:8], reason)

    def handle_outgoing_message(self, stream: Any, outgoing_msg: list[bytes]) -> None:
        """Send a message on, unless it is output, or code that is run."""
        _, (_, header, _, _, content, *_) = self.session.feed_identities(outgoing_msg)
        kind = self.session.unpack(header)["msg_type"]
        if kind == "execute_input":
            return
        if kind not in ("stream", "error"):
            super().handle_outgoing_message(stream, outgoing_msg)
            return
        printed = self.session.unpack(content)
        text = printed.get("text") or "\n".join(printed.get("traceback", []))
        text = NO_SUCH_COMM.sub("", text)
        if not text:
            return
        log.error("session %s: %s", self.kernel_id[:8], text.rstrip())


class Channels(_Ours, KernelWebsocketHandler):
    """The line between a page and its kernel."""

    _is_cut = False
    _unsent = 0

    async def pre_get(self) -> None:
        """Refuse a page whose session has ended, and forget one that has left before its line was up."""
        if self.kernel_id not in self.sessions:
            raise web.HTTPError(404, "no such session")
        if self.sessions.lines(self.kernel_id) >= MOST_LINES:
            raise web.HTTPError(429, "this session has as many lines as it may have")
        spoken = self.request.headers.get("Sec-WebSocket-Protocol", "")
        if PROTOCOL not in map(str.strip, spoken.split(",")):
            raise web.HTTPError(400, "pages speak another protocol")
        self.sessions.connect(self.kernel_id, self)
        try:
            await self._until_up()
        except BaseException:
            self.sessions.disconnect(self.kernel_id, self)
            raise

    async def _until_up(self) -> None:
        # Jupyter would wait for a minute on a kernel that has died.
        up = asyncio.ensure_future(super().pre_get())  # type: ignore[no-untyped-call]
        over = asyncio.ensure_future(self.sessions.until_end(self.kernel_id))
        await asyncio.wait([up, over], return_when=asyncio.FIRST_COMPLETED)
        if over.done():
            up.cancel()
            raise web.HTTPError(404, "no such session")
        over.cancel()
        await up
        if self.connection is None:
            raise web.Finish

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """Leave the pings to Jupyter, whose settings, in milliseconds, tornado would take for seconds."""
        protocol: WebSocketProtocol | None = super().get_websocket_protocol()
        if isinstance(protocol, WebSocketProtocol13):
            protocol.params.ping_interval = protocol.params.ping_timeout = None
        return protocol

    async def open(self, kernel_id: str) -> None:
        """Start to talk."""
        await super().open(kernel_id)  # type: ignore[no-untyped-call]

    def on_message(self, ws_message: str | bytes) -> None:
        """Hear the page, as long as there is a line to its kernel and it does not say too much."""
        if self.connection is None or self._is_cut:
            return
        if (too_much := self.sessions.exceeds(self.kernel_id, len(ws_message))) is not None:
            self._cut(f"its page says {too_much}")
            return
        super().on_message(ws_message)  # type: ignore[no-untyped-call]

    def _cut(self, why: str) -> None:
        """Close the line, and hear and say nothing on it any more; the session waits for another."""
        if not self._is_cut:
            self._is_cut = True
            log.warning("session %s: a line was closed: %s", self.kernel_id[:8], why)
            self.close(1008, why)

    def on_close(self) -> None:
        """Notice that the page is gone."""
        self.sessions.disconnect(self.kernel_id, self)
        if self.connection is not None:
            super().on_close()  # type: ignore[no-untyped-call]

    def write_message(self, message: Any, binary: bool = False) -> Any:
        """Send to the page, if it listens; that one has left meanwhile is no error."""
        if self._unsent > MOST_UNSENT:
            self._cut(f"its page has not taken {self._unsent >> 20} MB")
        if self._is_cut:
            return None
        try:
            sent = super().write_message(message, binary)
        except WebSocketClosedError:
            return None
        if sent is not None:
            self._unsent += len(message)
            sent.add_done_callback(partial(self._on_sent, len(message)))
        return sent

    def _on_sent(self, size: int, done: asyncio.Future[None]) -> None:
        self._unsent -= size
        if not done.cancelled():
            done.exception()


class _Fetched(JupyterHandler):
    """Lets a page read what its scripts and style sheets fetch.

    JupyterHub wants a header with everything that is fetched. A style sheet cannot send one, and each of its
    fonts was sent to the hub to log in again, which took the page's own proof away from it.
    """

    def check_xsrf_cookie(self) -> None:
        """Ask for proof only of what changes something: no other site can read the answers."""
        if self.request.method not in ("GET", "HEAD"):
            super().check_xsrf_cookie()


class Session(_Ours, _Fetched):
    """What a page asks about its session: whether it lives, and else why it ended."""

    def get(self, kernel_id: str) -> None:
        """Answer in JSON."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(self.sessions.as_json(kernel_id))


class Leave(_Ours, JupyterHandler):
    """Where a page says goodbye, when its tab is closed or reloaded.

    It cannot send the token that proves that no other site asks for this; the id of its kernel, which no
    other site can know, proves as much.
    """

    def check_xsrf_cookie(self) -> None:
        """Let it pass."""

    async def post(self, kernel_id: str) -> None:
        """End the session."""
        await self.sessions.end(kernel_id, End.LEFT)
        self.set_status(204)


class Health(_Ours, JupyterHandler):
    """What a load balancer asks, which has no token."""

    @allow_unauthenticated
    def get(self) -> None:
        """Answer in JSON: how many are served, and how many can be."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps({"sessions": len(self.sessions), "max_sessions": self.sessions.limit}))


class Query(_Ours, RequestInfoSocketHandler):  # type: ignore[misc]
    """Where a kernel that was ready before its visitor came waits to hear the address that was asked for."""

    def prepare(self) -> None:
        """Know no other kernels than ours: Voilà would remember any word that it is asked for."""
        if self.path_args[0] not in self.settings["kernel_manager"]:
            raise web.HTTPError(404)


class _Guarded(_Fetched):
    """Lets nobody in without the token."""

    async def prepare(self, **words: Any) -> None:
        """Refuse whoever is not known."""
        await super().prepare(**words)
        if self.current_user is None:
            raise web.HTTPError(403)


def guarded(handler: type) -> type:
    """Return a handler like ``handler``, one of Voilà's, that always asks for the token."""
    return type(handler.__name__, (_Guarded, handler), {})
