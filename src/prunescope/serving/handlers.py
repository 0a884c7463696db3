"""HTTP and WebSocket handlers: all that a browser may request besides the files of Voilà's front end."""

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
FIRST_REPLY_S = 10
"""How long a line waits for its kernel to answer before it connects all the same."""

NO_SUCH_COMM = re.compile(r"^No such comm: .*\n?", re.MULTILINE)
"""A message that ipykernel prints for each page: one thread looks a comm up before another has opened it."""


MOST_LINES = 8
"""Most connections per session; a page has one, and a second if it reconnects before the first times out."""


class _Ours:
    """A handler with access to the sessions."""

    settings: dict[str, Any]

    @property
    def sessions(self) -> Sessions:
        sessions: Sessions = self.settings["sessions"]
        return sessions


class ExplorerPage(_Ours, TornadoVoilaHandler):  # type: ignore[misc]
    """The explorer page: one kernel per request, up to the limit of sessions."""

    @web.authenticated
    async def get(self, path: str | None = None) -> None:
        """Stream the page, or send one that retries if the server is full."""
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
    """The front end's requests about its kernel."""

    async def prepare(self, **words: Any) -> None:
        """Respond with 404 unless the kernel belongs to a session."""
        await super().prepare(**words)
        if self.path_args[0] not in self.sessions:
            raise web.HTTPError(404)

    @web.authenticated
    async def delete(self, kernel_id: str) -> None:
        """End the session along with its kernel."""
        await self.sessions.end(kernel_id, End.LEFT)
        self.set_status(204)


class Line(ZMQChannelsWebsocketConnection):
    """The connection from a kernel to its page; printed output and tracebacks go to the server's log."""

    counted = ended = False

    async def prepare(self) -> None:
        """Wait for the kernel's first reply; a kernel that computes does not keep its page waiting.

        Jupyter's timer for that reply keeps this line, and what it refers to, until it has run out:
        by default for a minute after its page has gone.
        """
        usual, self.kernel_info_timeout = self.kernel_info_timeout, FIRST_REPLY_S
        await super().prepare()  # type: ignore[no-untyped-call]
        self.kernel_info_timeout = usual

    def connect(self) -> Any:
        """Start forwarding messages."""
        self.counted = True
        return super().connect()

    def disconnect(self) -> None:  # type: ignore[override]
        """Stop, once; Jupyter miscounts if a page leaves before it is connected, or on a second call."""
        if self.ended:
            return
        self.ended = True
        if not self.counted:
            self.multi_kernel_manager.notify_connect(self.kernel_id)
            self._open_sockets.add(self)
        super().disconnect()  # type: ignore[no-untyped-call]

    def handle_incoming_message(self, incoming_msg: Any) -> None:
        """Forward a valid message to the kernel while connected; drop everything else."""
        # A closed connection has no protocol, and Jupyter would parse late messages with its oldest one.
        if self.ended or self.subprotocol != PROTOCOL:
            return
        try:
            check(incoming_msg)
            super().handle_incoming_message(incoming_msg)
        except Exception as problem:
            reason = f"{type(problem).__name__}: {problem}"[:200]
            log.warning("session %s: not a message: %r", self.kernel_id[:8], reason)

    def handle_outgoing_message(self, stream: Any, outgoing_msg: list[bytes]) -> None:
        """Forward a message to the page, unless it is printed output or code being run."""
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
    """The WebSocket between a page and its kernel."""

    _is_cut = False
    _unsent = 0

    async def pre_get(self) -> None:
        """Refuse pages without a running session; forget pages that leave before they are connected."""
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
        # Jupyter would wait a minute for a kernel that has died.
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
        """Leave pings to Jupyter: its settings are in milliseconds, which tornado would take as seconds."""
        protocol: WebSocketProtocol | None = super().get_websocket_protocol()
        if isinstance(protocol, WebSocketProtocol13):
            protocol.params.ping_interval = protocol.params.ping_timeout = None
        return protocol

    async def open(self, kernel_id: str) -> None:
        """Open the connection."""
        await super().open(kernel_id)  # type: ignore[no-untyped-call]

    def on_message(self, ws_message: str | bytes) -> None:
        """Handle a message from the page, while its kernel is connected and within the rate limits."""
        if self.connection is None or self._is_cut:
            return
        if (too_much := self.sessions.exceeds(self.kernel_id, len(ws_message))) is not None:
            self._cut(f"its page says {too_much}")
            return
        super().on_message(ws_message)  # type: ignore[no-untyped-call]

    def _cut(self, why: str) -> None:
        """Close the connection and ignore everything on it; the session waits for another."""
        if not self._is_cut:
            self._is_cut = True
            log.warning("session %s: a line was closed: %s", self.kernel_id[:8], why)
            self.close(1008, why)

    def on_close(self) -> None:
        """Unregister the page."""
        self.sessions.disconnect(self.kernel_id, self)
        if self.connection is not None:
            super().on_close()  # type: ignore[no-untyped-call]

    def write_message(self, message: Any, binary: bool = False) -> Any:
        """Send to the page if it is reading; a page that has left is not an error."""
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
    """Let a page read what its scripts and style sheets fetch.

    JupyterHub requires a header on every fetch. A style sheet cannot send one, so each of its fonts was
    redirected to the hub's login, which replaced the page's own XSRF cookie.
    """

    def check_xsrf_cookie(self) -> None:
        """Check the cookie only for requests that change something: other sites cannot read responses."""
        if self.request.method not in ("GET", "HEAD"):
            super().check_xsrf_cookie()


class SessionState(_Ours, _Fetched):
    """The state of a session: whether it is running, and if not, why it ended."""

    def get(self, kernel_id: str) -> None:
        """Respond with JSON."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(self.sessions.as_json(kernel_id))


class Leave(_Ours, JupyterHandler):
    """The end of a session, posted by a page when its tab is closed or reloaded.

    The page cannot send the XSRF token then; the kernel id, which no other site can know, is as good a proof.
    """

    def check_xsrf_cookie(self) -> None:
        """Skip the check."""

    async def post(self, kernel_id: str) -> None:
        """End the session."""
        await self.sessions.end(kernel_id, End.LEFT)
        self.set_status(204)


class Health(_Ours, JupyterHandler):
    """The health check for load balancers, which have no token."""

    @allow_unauthenticated
    def get(self) -> None:
        """Respond with JSON: the number of sessions, and the limit."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps({"sessions": len(self.sessions), "max_sessions": self.sessions.limit}))


class Query(_Ours, RequestInfoSocketHandler):  # type: ignore[misc]
    """The socket on which a pre-started kernel waits for the URL that its visitor requested."""

    def prepare(self) -> None:
        """Respond with 404 for unknown kernels: Voilà would store any id that it is asked for."""
        if self.path_args[0] not in self.settings["kernel_manager"]:
            raise web.HTTPError(404)


class _Guarded(_Fetched):
    """Require the token."""

    async def prepare(self, **words: Any) -> None:
        """Refuse unauthenticated requests with 403."""
        await super().prepare(**words)
        if self.current_user is None:
            raise web.HTTPError(403)


def guarded(handler: type) -> type:
    """Return a subclass of ``handler``, one of Voilà's, that always requires the token."""
    return type(handler.__name__, (_Guarded, handler), {})
