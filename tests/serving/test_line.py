"""The line between a page and its kernel, from the server's side: lines that break, and pings."""

import base64
import json
import os
import re
import socket
import struct
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest

from prunescope.serving import app, handlers
from tests.support.hosts import Server, notebook, served, stand_in_command, wait_for

pytestmark = pytest.mark.slow

REQUEST = """GET /api/kernels/{kernel}/channels?session_id=page HTTP/1.1\r
Host: 127.0.0.1:{port}\r
Upgrade: websocket\r
Connection: Upgrade\r
Sec-WebSocket-Key: {key}\r
Sec-WebSocket-Version: 13\r
Sec-WebSocket-Protocol: v1.kernel.websocket.jupyter.org\r
\r
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with served(stand_in_command(notebook(tmp_path / "page.ipynb", ["import ipywidgets"])), tmp_path) as it:
        yield it


def kernel_of(page: str) -> str:
    found = re.search(r'"kernelId": "([\w-]+)"', page)
    assert found
    return found[1]


def open_line(port: int, kernel: str) -> socket.socket:
    """Ask for a line to ``kernel``, and do not wait for the answer."""
    line = socket.create_connection(("127.0.0.1", port), timeout=30)
    key = base64.b64encode(os.urandom(16)).decode()
    line.sendall(REQUEST.format(kernel=kernel, port=port, key=key).encode())
    return line


def test_lines_that_break_while_they_open_are_no_error(server: Server) -> None:
    kernel = kernel_of(urllib.request.urlopen(server.url, timeout=60).read().decode())
    port = int(re.search(r":(\d+)/", server.url)[1])
    for turn in range(60):
        with open_line(port, kernel) as line:
            line.settimeout(0.0005 * turn)
            with suppress(OSError):
                line.recv(16)
            if turn % 2:  # resets the connection instead of ending it
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def opens() -> bool:
        with open_line(port, kernel) as line:
            return line.recv(16).startswith(b"HTTP/1.1 101")

    wait_for(opens)  # A session has eight lines at the most, and the server may still be taking these down.
    assert "Traceback" not in server.log.read_text()


def test_a_page_may_miss_a_ping() -> None:
    class Line(handlers.Channels):
        settings: ClassVar = {"ws_ping_interval": app.PING_MS}

        def __init__(self) -> None:
            pass

    assert Line().ping_timeout >= 2 * Line().ping_interval


def test_a_page_whose_kernel_has_died_is_told_when_it_asks_for_its_line(server: Server) -> None:
    kernel = kernel_of(urllib.request.urlopen(server.url, timeout=60).read().decode())
    port = int(re.search(r":(\d+)/", server.url)[1])
    (process,) = server.kernels()
    process.kill()
    with open_line(port, kernel) as line:
        assert line.recv(64).startswith(b"HTTP/1.1 404")
    with urllib.request.urlopen(f"{server.url}voila/session/{kernel}", timeout=30) as answer:
        assert json.load(answer) == {"open": False, "why": "died"}
