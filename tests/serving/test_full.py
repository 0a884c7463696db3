"""A server that can open no more files says so, and goes on when it can."""

from __future__ import annotations

import json
import socket
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.hosts import notebook, served, stand_in_command, wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such limit on Windows")

FILES = 80
LIMIT = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))"


def test_a_server_without_files_turns_visitors_away_and_then_goes_on(tmp_path: Path) -> None:
    command = stand_in_command(page(tmp_path))
    command[2] = f"{LIMIT}\n{command[2]}"
    with served(command, tmp_path) as server:
        where = "127.0.0.1", urlsplit(server.url).port
        with ExitStack() as idle:
            for _ in range(FILES):
                idle.enter_context(socket.create_connection(where, timeout=60))
            with socket.create_connection(where, timeout=60) as late, late.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 503")
            wait_for(lambda: "\n" in server.said())  # The line is written when the answer is.
            first, *_ = said = server.said().splitlines()
            assert "full: a visitor was turned away" in first
            assert len(said) <= 2  # That there was another tenth is told too.
            assert "Traceback" not in server.said()
        wait_for(lambda: _is_well(server.url))


def _is_well(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}health", timeout=60) as answer:
            return "sessions" in json.load(answer)
    except OSError:
        return False


def page(folder: Path) -> Path:
    return notebook(folder / "page.ipynb", ["1"])
