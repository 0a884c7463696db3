"""Voilà, set up to show one notebook and nothing else.

The server reads no configuration file, neither the user's nor one in the directory it is started from, so
that the page is the same everywhere. The notebook is copied into a folder of its own, which is also the
kernels' working directory: nothing beside the original can be served, or imported instead of a package.
"""

import logging
import os
import shutil
import signal
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import Any

import nbformat
import zmq
from jupyter_client.kernelspec import KernelSpecManager
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from traitlets.config import Config
from voila.app import Voila

from prunescope.serving.address import Listener

TEMPLATE = Path(__file__).with_name("template")

STOPS = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

# The page loads these JupyterLab extensions and no other that the user may have installed.
EXTENSIONS = [
    "@jupyter-widgets/jupyterlab-manager",
    "@voila-dashboards/widgets-manager8",
    "anywidget",
    "jupyter-matplotlib",
]


class ThisPython(KernelSpecManager):
    """Knows one kernel, ``python3``: the Python that runs this server.

    Jupyter's own manager may prefer a ``python3`` of the user's home directory, which has other packages.
    """

    def _kernel_dirs_default(self) -> list[str]:
        return []


class DashboardServer(Voila):  # type: ignore[misc]
    """A Voilà server on sockets that already listen, with Prunescope's page template."""

    def __init__(self, listener: Listener, **traits: Any) -> None:
        super().__init__(**traits)
        self.listener = listener
        self.ioloop = IOLoop.current()

    def initialize(self, argv: list[str] | None = None) -> None:
        """Set the server up, and stop on every signal that asks for it."""
        super().initialize(argv)
        loop = self.ioloop.asyncio_loop  # type: ignore[attr-defined]
        for number in STOPS:
            try:
                loop.add_signal_handler(number, self.ioloop.stop)
            except NotImplementedError:  # on Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self.ioloop.stop))

    def setup_template_dirs(self) -> None:
        """Put our page before Voilà's, whose pages link style sheets of other hosts."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(TEMPLATE))

    def init_settings(self) -> dict[str, Any]:
        """Trust the notebook, which is ours, so that nothing warns about it."""
        settings: dict[str, Any] = super().init_settings()
        page = nbformat.reads(Path(self.notebook_path).read_text("utf-8"), as_version=4)  # type: ignore[no-untyped-call]
        self.contents_manager.notary.sign(page)
        return settings

    def listen(self) -> None:
        """Answer on the listener's sockets until a signal arrives, then end every kernel."""
        self.port = self.listener.port
        server = HTTPServer(self.app)
        server.add_sockets(self.listener.sockets)
        print(f"Prunescope is at {self.listener.url} (press Ctrl+C to stop)", flush=True)
        if self.listener.public:
            print("Anyone who can reach this machine can open that address.", flush=True)
        if self.open_browser:
            self.launch_browser()
        try:
            self.ioloop.start()
        finally:
            # A second, impatient Ctrl+C would orphan the kernels.
            for number in STOPS:
                signal.signal(number, signal.SIG_IGN)
            server.stop()
            self.ioloop.run_sync(self.kernel_manager.shutdown_all)
            shutil.rmtree(self.connection_dir, ignore_errors=True)

    def launch_browser(self) -> None:
        """Open the page; a browser that runs in the foreground must not hold up the server."""
        threading.Thread(target=webbrowser.open, args=(self.listener.local_url,), daemon=True).start()


def serve(notebook: Path, listener: Listener, *, open_browser: bool) -> None:
    """Serve a copy of ``notebook`` until Ctrl+C, SIGTERM or SIGHUP, and leave no kernel behind.

    Args:
        notebook: The notebook to show; the only file that is served.
        listener: Sockets that already listen. The caller closes them.
        open_browser: Whether to open the page in the user's browser.
    """
    with tempfile.TemporaryDirectory(prefix="prunescope-") as folder:
        # IPython would run the user's startup files in every visitor's kernel.
        os.environ["IPYTHONDIR"] = str(Path(folder, "ipython"))
        page = Path(folder, "page", "Prunescope.ipynb")  # Voilà makes the page's title of the file's name
        page.parent.mkdir()
        shutil.copyfile(notebook, page)
        server = DashboardServer.instance(
            listener=listener,
            config=_settings(),
            notebook_path=str(page),
            connection_dir_root=folder,
            config_file_paths=[],
            open_browser=open_browser,
            # Tornado warns of Jupyter's default, which is longer than the interval between two pings.
            tornado_settings={"ws_ping_timeout": 30_000},
            log_level=logging.WARNING,
        )
        server.initialize([])
        server.start()


def _settings() -> Config:
    settings = Config()
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
    # Signed for this run only, without the key that Jupyter would keep in the home directory.
    settings.NotebookNotary.secret = os.urandom(32)
    settings.NotebookNotary.db_file = ":memory:"
    if zmq.has("curve"):
        settings.KernelManager.transport_encryption = "auto"
    return settings
