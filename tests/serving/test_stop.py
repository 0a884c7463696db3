"""A stop takes the time it promises, whatever goes on meanwhile, and is never an error."""

import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from prunescope.serving.forked import WarmParent, can_fork
from tests.support.hosts import lives, notebook, served, stand_in_command

# Nothing of it answers any more: neither the loop, nor what the stop waits for.
STUCK = """
import time
import prunescope.serving.app as app

app.STOP_S = 0.5
app.DashboardServer._end_kernels = lambda self: time.sleep(1000)
"""


@pytest.mark.parametrize("pages", [1, 6])
def test_a_stop_while_kernels_start_is_no_error(pages: int, tmp_path: Path) -> None:
    page = notebook(tmp_path / "page.ipynb", ["import ipywidgets", "ipywidgets.IntSlider()"])
    with served(stand_in_command(page, ready=1), tmp_path) as server, ExitStack() as lines:
        where = urlsplit(server.url)
        for _ in range(pages):
            line = lines.enter_context(socket.create_connection((where.hostname, where.port), timeout=60))
            line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not server.kernels():
            pass
        assert server.stop() == 0  # Nothing of it is left then, either.
    assert "Traceback" not in server.log.read_text()


def test_a_stop_that_gets_stuck_ends_all_the_same(tmp_path: Path) -> None:
    command = stand_in_command(notebook(tmp_path / "page.ipynb", ["1"]))
    command[2] = f"{STUCK}\n{command[2]}"
    with served(command, tmp_path, {"TMPDIR": str(tmp_path)}) as server:
        assert list(tmp_path.glob("prunescope-*"))
        assert server.stop(signal.SIGINT) == 0
    assert not list(tmp_path.glob("prunescope-*"))


@pytest.mark.skipif(not can_fork(), reason="kernels are forked on Linux only")
def test_the_end_of_the_parent_is_the_end_of_all(tmp_path: Path) -> None:
    warm = WarmParent(["json"], str(tmp_path))
    pids = [warm.fork(["-f", str(tmp_path / f"{n}.json")], {}, str(tmp_path)) for n in range(5)]
    kernels = [psutil.Process(pid) for pid in pids]
    warm.end()
    while any(map(lives, kernels)):
        pass


def test_a_signal_is_heeded_where_the_loop_is_busy() -> None:
    program = """
import os, signal, time
from types import SimpleNamespace
import prunescope.serving.app as app

app.STOP_S = 0
server = app.DashboardServer.__new__(app.DashboardServer)
loop = SimpleNamespace(call_soon_threadsafe=lambda call: None)
server.ioloop = SimpleNamespace(asyncio_loop=loop, stop=None)
server.connection_dir_root = "/nowhere/at/all"
signal.signal(signal.SIGTERM, server._on_stop)
os.kill(os.getpid(), signal.SIGTERM)
while True: pass
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
