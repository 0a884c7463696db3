"""Where a page of ours is shown, for real: Chromium, the `prunescope` command, JupyterLab.

Nothing here waits on a clock: a server says that it listens, a page that its condition holds.
"""

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import matplotlib.image
import nbformat
import numpy as np
import psutil

if TYPE_CHECKING:
    from playwright.sync_api import Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Another host is refused at once, so that a page which asks for one still loads and its test can say so.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
TIMEOUT_S = 120.0

OpenPage = Callable[..., "Page"]
"""``open_page(width=1400, height=1000, **context)``: a blank page of a fresh browser profile."""
ServeCells = Callable[..., "Server"]
"""``serve_cells(cells, **options)``: a server that shows a notebook of these cells."""
OpenNotebook = Callable[["Page", Sequence[str]], list[str]]
"""``lab(page, cells)``: the errors that a new notebook of these cells raised in JupyterLab."""


def chromium() -> str | None:
    """Return the Chromium named by PRUNESCOPE_CHROMIUM, else the one on PATH, else ``None``."""
    named = os.environ.get("PRUNESCOPE_CHROMIUM")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


# ---------------------------------------------------------------------------------------------------- pages


def wait_until(page: "Page", condition: str | Callable[[], Any], timeout: float = TIMEOUT_S) -> Any:
    """Return the first true value of ``condition``, asked again and again while the page lives on.

    Args:
        page: Page whose events go on meanwhile.
        condition: JavaScript expression or function, or a Python callable.
        timeout: Seconds until a ``TimeoutError`` of Playwright's (JavaScript) or Python's (callable).
    """
    if isinstance(condition, str):
        return page.wait_for_function(condition, timeout=timeout * 1000).json_value()
    end = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout:g} s: {condition}")
        page.wait_for_timeout(20)
    return found


def wait_for(condition: Callable[[], Any], timeout: float = TIMEOUT_S) -> Any:
    """Return the first true value of ``condition``, asked again and again.

    Args:
        condition: What is waited for.
        timeout: Seconds until a ``TimeoutError``.
    """
    pause, end = threading.Event(), time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout:g} s: {condition}")
        pause.wait(0.02)
    return found


def canvas_pixels(page: "Page") -> np.ndarray:
    """Return what the largest canvas shows, as uint8 of shape ``(height, width, 4)``, both 0 without one.

    Of the two canvases that ipympl lays on each other, the lower one holds the picture.
    """
    picture = page.evaluate(
        """() => {
            const area = canvas => canvas.width * canvas.height;
            const all = [...document.querySelectorAll('canvas')].filter(area);
            if (!all.length) return null;
            const largest = all.reduce((a, b) => area(b) > area(a) ? b : a);
            return largest.toDataURL('image/png').split(',')[1];
        }"""
    )
    if picture is None:
        return np.empty((0, 0, 4), np.uint8)
    pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(picture)), format="png")
    return np.rint(pixels * 255).astype(np.uint8)


def record_requests(page: "Page") -> list[str]:
    """Return a list that fills with the address of everything the page asks for from now on."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    return asked


def outside(addresses: Sequence[str]) -> list[str]:
    """Return those of ``addresses`` that are not on this machine."""
    return [a for a in addresses if not re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:|about:", a)]


def overflow(page: "Page") -> int:
    """Return by how many pixels the page, or a box in it, scrolls sideways."""
    return int(
        page.evaluate(
            """() => {
                const scrolls = box => /auto|scroll/.test(getComputedStyle(box).overflowX);
                const boxes = [...document.querySelectorAll('body *')].filter(scrolls);
                boxes.push(document.documentElement);
                return Math.max(...boxes.map(box => box.scrollWidth - box.clientWidth));
            }"""
        )
    )


def end_kernel_of(url: str) -> None:
    """End the kernel to which the websocket at ``url`` leads, if to any, and if it has not ended already."""
    found = re.match(r"ws(://.*/api/kernels/[\w-]+)/channels", url)
    if found:
        _delete(f"http{found[1]}")


def _delete(url: str) -> None:
    # The server compares the two, and has no other demand on them than that they be hexadecimal.
    pair = {"Cookie": "_xsrf=5e", "X-XSRFToken": "5e"}
    try:
        urllib.request.urlopen(
            urllib.request.Request(url, method="DELETE", headers=pair), timeout=TIMEOUT_S
        ).close()
    except urllib.error.HTTPError as answer:
        if answer.code not in (403, 404):  # the token is not given, or the kernel has ended
            raise
    except urllib.error.URLError as problem:
        if not isinstance(problem.reason, ConnectionRefusedError):
            raise


# -------------------------------------------------------------------------------------------------- servers


def notebook(path: Path, cells: Sequence[str]) -> Path:
    """Write a notebook of code ``cells`` to ``path`` and return it."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    page = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel}
    )
    nbformat.write(page, path)
    return path


def prunescope_command(*words: str) -> list[str]:
    """Return the command line of this environment's `prunescope`."""
    found = shutil.which("prunescope", path=sysconfig.get_path("scripts"))
    assert found, "the `prunescope` command is not installed: python -m pip install -e '.[test]'"
    return [found, *words]


STAND_IN = """
import ast, signal, sys
from pathlib import Path
from prunescope.serving.address import Listener
from prunescope.serving.app import serve
from prunescope.serving.options import Options
from prunescope.serving.sessions import Sessions

set_up, usual = Sessions.__init__, {}

def remember(sessions, *args, **named):
    set_up(sessions, *args, **named)
    usual[sessions] = sessions.idle_timeout

def hurry(*_):
    for sessions in usual:
        sessions.idle_timeout = 0.0

def calm(*_):
    for sessions, seconds in usual.items():
        sessions.idle_timeout = seconds

Sessions.__init__ = remember
signal.signal(signal.SIGUSR1, hurry)
signal.signal(signal.SIGUSR2, calm)
page, port, options = sys.argv[1:]
serve(Path(page), Listener.bind("127.0.0.1", int(port)), Options(**ast.literal_eval(options)))
"""
"""Serves a notebook; between SIGUSR1 and SIGUSR2, whatever is not in use has not been used for too long."""


def stand_in_command(page: Path, *, port: int = 0, **options: Any) -> list[str]:
    """Return a command line that serves the notebook ``page`` as `prunescope` serves its own.

    Args:
        page: The notebook.
        port: Port to serve on, 0 for any free one.
        **options: Fields of `prunescope.serving.options.Options`; no kernel is kept ready unless told.
    """
    asked = {"open_browser": False, "ready": 0, "preload": ("ipywidgets",), **options}
    return [sys.executable, "-c", STAND_IN, str(page), str(port), repr(asked)]


class Server:
    """A server process of ours: its address, its log, its kernels."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: dict[str, str] | None = None
    ) -> None:
        self.log = folder / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, f"no address in {line!r}: {self.log.read_text()}"
        self.url = found[0]
        self._unread = 0

    def said(self) -> str:
        """Return what the log says, since `turn_the_page`."""
        return self.log.read_text()[self._unread :]

    def turn_the_page(self) -> None:
        """Have `said` leave out what the log says so far."""
        self._unread = len(self.log.read_text())

    def sessions(self) -> int:
        """Return how many visitors it serves, by its own word."""
        with urllib.request.urlopen(self.url + "health", timeout=TIMEOUT_S) as answer:
            return int(json.load(answer)["sessions"])

    @contextmanager
    def nobody_has_time(self) -> Iterator[None]:
        """Have a stand-in (`stand_in_command`) hold that no time at all is too long to go without use."""
        self.process.send_signal(signal.SIGUSR1)
        yield
        self.process.send_signal(signal.SIGUSR2)

    def kernels(self) -> list[psutil.Process]:
        """Return the kernels it has started that still run."""
        return [child for child in self._children() if _is_kernel(child)]

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def close(self) -> None:
        """Let go of a server that has ended."""
        self.process.wait(TIMEOUT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal, and return its exit code once nothing of it is left."""
        children = self._children()
        self.process.send_signal(by)
        try:
            code = self.process.wait(TIMEOUT_S)
            late = time.monotonic() + 5  # Killed processes are buried when the machine comes to it.
            while any(map(lives, children)) and time.monotonic() < late:
                pass
        finally:
            left = [child for child in children if lives(child)]
            for process in (self.process, *left):
                process.kill()
        assert not left, f"kernels outlived their server: {left}"
        return code


def lives(process: psutil.Process) -> bool:
    """Return whether ``process`` runs; one that has ended may wait long for whoever inherited it.

    A killed process is called a zombie when its first thread has ended, and holds memory until the last has.
    """
    try:
        return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except psutil.NoSuchProcess:
        return False


def _is_kernel(process: psutil.Process) -> bool:
    try:  # A forked kernel has its parent's command line.
        asked = process.cmdline()
        return "ipykernel_launcher" in asked or (
            "prunescope.serving.warm" in asked and process.parent().cmdline() == asked
        )
    except (psutil.NoSuchProcess, AttributeError):
        return False


@contextmanager
def served(
    command: Sequence[str], folder: Path, environment: dict[str, str] | None = None
) -> Iterator[Server]:
    """Run a server in ``folder``, and find it gone without a trace at the end."""
    server = Server(command, folder, environment)
    try:
        yield server
    finally:
        code = server.process.poll()
        if code is None:
            code = server.stop()
        server.close()
    assert code == 0, f"the server ended with {code}: {server.log.read_text()}"


# ----------------------------------------------------------------------------------------------- JupyterLab

LAB_SERVER = {
    "ServerApp": {
        "ip": "127.0.0.1",
        "open_browser": False,
        "allow_root": True,
        "log_level": "WARN",
    },
    "IdentityProvider": {"token": ""},
    "LabApp": {
        "expose_app_in_browser": True,
        "news_url": None,
        "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "extension_manager": "readonly",
    },
}
LAB_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
RUN_ALL = """async () => {
    const app = window.jupyterapp;
    await app.restored;
    const panel = app.shell.currentWidget;
    await panel.revealed;
    await panel.sessionContext.ready;
    await app.commands.execute('notebook:run-all-cells');
    const cells = panel.content.model.sharedModel.cells.map(cell => cell.toJSON());
    return cells.flatMap(cell => cell.outputs ?? [])
        .filter(output => output.output_type === 'error')
        .map(output => `${output.ename}: ${output.evalue}`);
}"""


class Lab:
    """A JupyterLab on a folder of its own, which asks no other host for anything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self._opened = 0
        for name in ("work", "config", "runtime", "settings/@jupyterlab"):
            (folder / name).mkdir(parents=True)
        (folder / "config/jupyter_server_config.json").write_text(json.dumps(LAB_SERVER))
        for name, settings in LAB_SETTINGS.items():
            path = folder / f"settings/@jupyterlab/{name}.jupyterlab-settings"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(settings))
        environment = {
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "JUPYTER_PREFER_ENV_PATH": "1",
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
            "IPYTHONDIR": str(folder / "ipython"),
        }
        command = [sys.executable, "-c", LAB_PROGRAM, str(self.folder)]
        self.server = Server(command, folder, environment)
        self.url = self.server.url

    def open_notebook(self, page: "Page", cells: Sequence[str]) -> list[str]:
        """Open a new notebook of ``cells``, run them all, return the errors they raised ("name: value")."""
        self._opened += 1
        name = f"notebook{self._opened}.ipynb"
        notebook(self.folder / name, cells)
        return self.open_file(page, name)

    def open_file(self, page: "Page", name: str) -> list[str]:
        """Open the notebook ``name`` of the folder, run all its cells, return the errors they raised."""
        page.goto(f"{self.url}doc/tree/{name}")
        wait_until(page, "window.jupyterapp?.shell?.currentWidget?.sessionContext !== undefined")
        return list(page.evaluate(RUN_ALL))


# Says its address once it listens; JupyterLab itself would only log it.
LAB_PROGRAM = """
import sys
from jupyterlab.labapp import LabApp
from jupyter_server.serverapp import ServerApp

class Announced(ServerApp):
    def start_ioloop(self):
        print(f"http://127.0.0.1:{self.port}/", flush=True)
        super().start_ioloop()

class Lab(LabApp):
    serverapp_class = Announced

Lab.launch_instance([f"--ServerApp.root_dir={sys.argv[1]}", "--ServerApp.port=0"])
"""


@contextmanager
def jupyter_lab() -> Iterator[Lab]:
    """Run JupyterLab, and find it gone without a trace at the end."""
    with TemporaryDirectory(prefix="prunescope-lab-") as folder:
        lab = Lab(Path(folder))
        try:
            yield lab
        finally:
            lab.server.stop()
            lab.server.close()
