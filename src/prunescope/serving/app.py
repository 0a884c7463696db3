"""Voilà, configured to serve one notebook and nothing else.

The server reads no configuration files, neither the user's nor those in the current directory, so that the
page is the same everywhere. The notebook is copied into a separate folder, which is also the kernels' working
directory: files next to the original cannot be served, or imported instead of a package.
"""

import gc
import logging
import os
import shutil
import signal
import tempfile
import threading
import uuid
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import nbformat
import zmq
from jinja2 import ChoiceLoader, FileSystemLoader
from jupyter_events import EventLogger
from jupyter_server.utils import url_path_join
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop, PeriodicCallback
from traitlets.config import Config
from voila.app import Voila

from prunescope.serving import handlers
from prunescope.serving.address import Listener
from prunescope.serving.door import door
from prunescope.serving.forked import Forks, WarmParent, can_fork
from prunescope.serving.jupyterhub import let_the_hub_decide
from prunescope.serving.kernels import Kernels, ThisPython
from prunescope.serving.logs import log_to_stderr
from prunescope.serving.options import Options
from prunescope.serving.sessions import End, Sessions

TEMPLATE = Path(__file__).with_name("template")

STOPS = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

# The page loads these JupyterLab extensions and no other that the user may have installed.
EXTENSIONS = [
    "@jupyter-widgets/jupyterlab-manager",
    "@voila-dashboards/widgets-manager8",
    "anywidget",
    "jupyter-matplotlib",
]

PING_MS = 10_000
"""Milliseconds between two pings to a page; one that misses three is considered lost."""

STOP_S = 10.0
"""Longest time for a shutdown, in seconds; kernels have been killed by then, even if busy."""

LATE_S = 60
"""Longest time, in seconds, that a page waits for output once its kernel has said that a cell has run."""

MOST_OF_A_SOCKET = 103
"""Longest path of a Unix socket, in bytes, on macOS; Linux allows four more."""

A_KERNEL = r"([\w-]+)"


class DashboardServer(Voila):  # type: ignore[misc]
    """A Voilà server on sockets that already listen, with Prunescope's page template and sessions."""

    def __init__(self, listener: Listener, options: Options, **traits: Any) -> None:
        super().__init__(port=listener.port, base_url=options.base_url, **traits)
        # This is how Jupyter leaves authentication to the hub's identity provider, which uses no token.
        self.token: str | None = None if options.hub else options.token
        self.auto_token = options.hub
        # Without one here, each kernel would create its own, with a logger that is never freed.
        self.event_logger = EventLogger(parent=self)
        self.listener = listener
        self.options = options
        self.ioloop = IOLoop.current()

    def initialize(self, argv: list[str] | None = None) -> None:
        """Set the server up, and stop on every signal that asks for it."""
        super().initialize(argv)
        self.log.handlers.clear()  # Use the root handler instead.
        self.log.propagate = True
        self.log.setLevel(logging.WARNING)
        for number in STOPS:
            signal.signal(number, self._on_stop)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        """Stop soon, and after `STOP_S` at the latest, even if the event loop is busy."""
        for each in STOPS:  # A second, impatient Ctrl+C would orphan the kernels.
            signal.signal(each, signal.SIG_IGN)
        late = threading.Timer(STOP_S, self._exit)
        late.daemon = True
        late.start()
        self.ioloop.asyncio_loop.call_soon_threadsafe(self.ioloop.stop)  # type: ignore[attr-defined]

    def _exit(self) -> None:
        """Exit immediately, removing the files that the server has written."""
        shutil.rmtree(self.connection_dir_root, ignore_errors=True)
        os._exit(0)

    def setup_template_dirs(self) -> None:
        """Put our templates before Voilà's, whose pages link style sheets on other hosts."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(TEMPLATE))

    def init_settings(self) -> dict[str, Any]:
        """Add the sessions, sign the notebook as trusted, and put our templates first."""
        settings: dict[str, Any] = super().init_settings()
        page = nbformat.reads(Path(self.notebook_path).read_text("utf-8"), as_version=4)  # type: ignore[no-untyped-call]
        self.contents_manager.notary.sign(page)
        jupyter = settings["jinja2_env"]
        jupyter.loader = ChoiceLoader([FileSystemLoader(TEMPLATE), jupyter.loader])
        settings["sessions"] = self._sessions(settings["kernel_manager"])
        return settings

    def _sessions(self, kernels: Kernels) -> Sessions:
        options = self.options
        sessions = Sessions(kernels, limit=options.max_sessions, idle_timeout=options.idle_timeout)

        async def on_death(kernel_id: str) -> None:
            await sessions.end(kernel_id, End.DIED)

        kernels.on_death = on_death
        self.rounds = PeriodicCallback(sessions.end_unused, 1000 * min(1.0, options.idle_timeout / 4))
        self.rounds.start()
        return sessions

    def init_handlers(self) -> list[Any]:
        """Put our handlers before Voilà's, and require the token for all of them."""

        def at(path: str) -> str:
            return str(url_path_join(self.base_url, path))

        *theirs, (_, _, page) = super().init_handlers()
        login = self.identity_provider.get_handlers()
        theirs = [rule for rule in theirs if rule not in login]
        ours = [
            (at("health"), handlers.Health),
            (at(f"voila/session/{A_KERNEL}"), handlers.SessionState),
            (at(f"voila/api/shutdown/{A_KERNEL}"), handlers.Leave),
            (at(f"api/kernels/{A_KERNEL}"), handlers.Kernel),
            (at(f"api/kernels/{A_KERNEL}/channels"), handlers.Channels),
            (at(f"voila/query/{A_KERNEL}"), handlers.Query),
            *((at(path), *rest) for path, *rest in login),
        ]
        guarded = [(path, handlers.guarded(handler), *rest) for path, handler, *rest in theirs]
        return [*ours, *guarded, (at("(.*)"), handlers.ExplorerPage, page)]

    def listen(self) -> None:
        """Serve on the listener's sockets until a signal arrives, then end every kernel."""
        named = bool(self.options.token or self.options.hub)
        server = HTTPServer(door(self.app, None if named else self.listener))
        server.add_sockets(self.listener.sockets)
        print(f"Prunescope is at {self._link(self.listener.url)} (press Ctrl+C to stop)", flush=True)
        if self.listener.public:
            who = "Whoever has" if self.options.token else "Anyone who can reach this machine can open"
            print(f"{who} that address{' can open it' if self.options.token else ''}.", flush=True)
        if self.open_browser:
            self.launch_browser()
        try:
            self.ioloop.start()
        finally:
            for number in STOPS:
                signal.signal(number, signal.SIG_IGN)
            server.stop()
            self.rounds.stop()
            self.log.disabled = True  # Errors from here on only come from the shutdown.
            self._end_kernels()
            shutil.rmtree(self.connection_dir, ignore_errors=True)

    def _end_kernels(self) -> None:
        """Kill every kernel; forked ones end with their parent, even if just started."""
        if can_fork():
            Forks.instance().warm.end()
            return
        with suppress(Exception):  # Jupyter raises for kernels that are just starting.
            self.ioloop.run_sync(partial(self.kernel_manager.shutdown_all, now=True), timeout=STOP_S / 2)

    def launch_browser(self) -> None:
        """Open the page in a thread, since a browser that runs in the foreground would block the server."""
        link = self._link(self.listener.local_url)
        threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()

    def _link(self, url: str) -> str:
        token = f"?token={quote(self.options.token)}" if self.options.token else ""
        return f"{url.rstrip('/')}{self.base_url}{token}"


def allow_every_file() -> None:
    """Raise the limit on open files to its maximum; a session takes dozens."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS sets less than it says.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def forget_what_stays() -> None:
    """Have the garbage collector leave out what the server has loaded, which is there until the end.

    Python collects old cycles once the new ones are a quarter of all there is; a quarter of the libraries is
    what some fifty visits leave.
    """
    gc.collect()
    gc.freeze()


def serve(notebook: Path, listener: Listener, options: Options) -> None:
    """Serve a copy of ``notebook`` until Ctrl+C, SIGTERM or SIGHUP, and leave no kernel behind.

    Args:
        notebook: The notebook to serve; no other file is.
        listener: Sockets that already listen; the caller closes them.
        options: How to serve it.
    """
    log_to_stderr()
    allow_every_file()
    with tempfile.TemporaryDirectory(prefix="prunescope-") as folder:
        # IPython would run the user's startup files in every visitor's kernel.
        os.environ["IPYTHONDIR"] = str(Path(folder, "ipython"))
        os.environ["VOILA_APP_IP"] = listener.local_host
        page = Path(folder, "page", "Prunescope.ipynb")  # Voilà uses the file's name as the page's title
        page.parent.mkdir()
        shutil.copyfile(notebook, page)
        server = DashboardServer.instance(
            listener=listener,
            options=options,
            config=_settings(options, folder),
            notebook_path=str(page),
            connection_dir_root=folder,
            config_file_paths=[],
            open_browser=options.open_browser,
            tornado_settings={"ws_ping_interval": PING_MS},
            log_level=logging.WARNING,
        )
        with _forking(options, folder):
            server.initialize([])
            forget_what_stays()
            server.start()


@contextmanager
def _forking(options: Options, folder: str) -> Iterator[None]:
    """Start kernels by forking within the block, where possible, and end them all afterwards."""
    if not can_fork():
        yield
        return
    warm = Forks.instance().warm = WarmParent(options.preload, folder)
    try:
        yield
    finally:
        warm.end()


def sockets_fit(folder: str) -> bool:
    """Return whether ``folder`` is short enough for Unix sockets with the names that Voilà and Jupyter use.

    Example:
        >>> os.name != "posix" or sockets_fit("/tmp/prunescope-01234567"), sockets_fit(100 * "x")
        (True, False)
    """
    longest = Path(folder, "voila_01234567", f"kernel-{uuid.UUID(int=0)}-ipc-5")
    return os.name == "posix" and len(os.fsencode(longest)) <= MOST_OF_A_SOCKET


def _settings(options: Options, folder: str) -> Config:
    settings = Config()
    if sockets_fit(folder):
        settings.KernelManager.transport = "ipc"  # A free TCP port may be taken before the kernel has it.
    if options.hub:
        let_the_hub_decide(settings)
    settings.VoilaConfiguration.multi_kernel_manager_class = Kernels
    settings.VoilaConfiguration.preheat_kernel = options.ready > 0
    settings.VoilaConfiguration.default_pool_size = options.ready
    settings.VoilaKernelManager.fill_delay = 0  # `Kernels` waits, and not where a visitor does.
    # A kernel that died has lost what its page shows: it is not started again.
    settings.KernelRestarter.restart_limit = 0
    settings.KernelRestarter.time_to_dead = 1.0
    # Jupyter would drop what exceeds its rates, and with it pictures and widgets.
    settings.ZMQChannelsWebsocketConnection.limit_rate = False
    settings.Voila.kernel_websocket_connection_class = handlers.Line
    # A page that reconnects asks for the whole state, so messages need not be buffered for it.
    settings.MappingKernelManager.buffer_offline_messages = False
    settings.VoilaConfiguration.template = "lab"
    settings.VoilaConfiguration.allow_template_override = "NO"
    settings.VoilaConfiguration.allow_theme_override = "NO"
    settings.VoilaConfiguration.strip_sources = True
    settings.VoilaConfiguration.show_tracebacks = False
    settings.VoilaConfiguration.file_allowlist = []
    settings.VoilaConfiguration.extension_allowlist = EXTENSIONS
    settings.VoilaConfiguration.kernel_spec_manager_class = ThisPython
    settings.VoilaExecutor.cell_error_instruction = (
        "The server's log says why; reloading the page tries again."
    )
    # Without what its kernel was late to send, a page has no explorer; a kernel that died is noticed anyway.
    settings.VoilaExecutor.iopub_timeout = LATE_S
    # Signed for this run only, without the key that Jupyter would keep in the home directory.
    settings.NotebookNotary.secret = os.urandom(32)
    settings.NotebookNotary.db_file = ":memory:"
    if zmq.has("curve"):
        settings.KernelManager.transport_encryption = "auto"
    return settings
