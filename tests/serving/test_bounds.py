"""What one visitor can take of a server, and what a visit leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.websocket import websocket_connect

from prunescope.serving.app import MOST_OF_A_SOCKET, sockets_fit
from prunescope.serving.handlers import MOST_LINES
from prunescope.serving.logs import LONGEST
from prunescope.serving.messages import PROTOCOL
from prunescope.serving.repeats import LINES
from tests.support.hosts import Server, notebook, served, stand_in_command, wait_for
from tests.support.visitor import Visitor

CELL = """
import ipywidgets
from IPython import get_ipython
said = [f"history {get_ipython().history_manager.enabled}"]
ipywidgets.HTML(", ".join(said))
"""
BESIDES = len("/voila_01234567/kernel-01234567-0123-0123-0123-012345678901-ipc-5")
"""Of a socket's path, beside the server's folder."""

# Tells with each answer about health how many loggers there are, and how many files there may be.
TELLS = """
import json, logging, resource
from prunescope.serving.handlers import Health

def get(self):
    loggers = len(logging.Logger.manager.loggerDict)
    self.finish(json.dumps({"loggers": loggers, "files": resource.getrlimit(resource.RLIMIT_NOFILE)}))

get.__allow_unauthenticated = True
Health.get = get
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("bounds")
    command = stand_in_command(notebook(folder / "page.ipynb", [CELL]))
    command[2] = f"{TELLS}\n{command[2]}"
    with served(command, folder) as it:
        yield it


async def health(server: Server) -> dict[str, object]:
    told = json.loads((await AsyncHTTPClient().fetch(f"{server.url}health")).body)
    assert isinstance(told, dict)
    return told


async def too_many_lines(server: Server) -> tuple[int, int]:
    """Return how many lines a page was given that wants all it can have, and what the last was answered."""
    visitor = await Visitor.come(server.url)
    address = f"ws{visitor.url[4:]}api/kernels/{visitor.kernel}/channels?session_id="
    asked = [websocket_connect(f"{address}{n}", subprotocols=[PROTOCOL]) for n in range(30)]
    got = await asyncio.gather(*map(asyncio.ensure_future, asked), return_exceptions=True)
    lines = [line for line in got if not isinstance(line, BaseException)]
    (code,) = {problem.code for problem in got if isinstance(problem, HTTPClientError)}
    await visitor.states()  # Its first line is none the worse.
    for line in lines:
        line.close()
    await visitor.go()
    return len(lines), code


def test_a_session_has_so_many_lines_and_no_more(server: Server) -> None:
    assert asyncio.run(too_many_lines(server)) == (MOST_LINES - 1, 429)


def test_a_visit_leaves_no_logger_behind(server: Server) -> None:
    async def visits() -> tuple[object, object]:
        await (await Visitor.come(server.url)).go()
        before = (await health(server))["loggers"]
        for _ in range(20):
            await (await Visitor.come(server.url)).go()
        return before, (await health(server))["loggers"]

    before, after = asyncio.run(visits())
    assert before == after


FORGED = "x\n2026-01-01 00:00:00,000 session 01234567 all is well\x1b[2J\x1b]0;title\x07"


def test_a_page_cannot_fill_the_log_nor_forge_a_line_of_it(server: Server) -> None:
    async def scene() -> None:
        visitor = await Visitor.come(server.url)
        shown = visitor.find("HTMLModel")
        visitor.say("comm_open", {"comm_id": "a", "target_name": FORGED, "data": {}})
        visitor.say("comm_open", {"comm_id": "b", "target_name": "x", "target_module": FORGED, "data": {}})
        for number in range(LINES + 50):
            visitor.update(shown, value={FORGED: f"{number}" + 100_000 * "x"})
        await visitor.states()
        await visitor.go()

    server.turn_the_page()
    asyncio.run(scene())
    written = server.said()
    assert "all is well" in written
    assert "more are left out" in written
    assert len(written) < (LINES + 10) * (LONGEST + 100)
    assert all(re.match(r"\d{4}-\d\d-\d\d .* session ", line) for line in written.split("\n")[:-1])
    assert all(line.isprintable() for line in written.split("\n"))
    assert not re.search(r"^2026-01-01", written, re.MULTILINE)


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit on Windows")
def test_the_server_may_open_as_many_files_as_the_machine_lets_it(server: Server) -> None:
    soft, hard = asyncio.run(health(server))["files"]
    assert soft == hard


def test_what_is_run_is_not_written_down(server: Server) -> None:
    async def shown() -> str:
        visitor = await Visitor.come(server.url)
        (said,) = (
            state["value"] for state in visitor.widgets.values() if "history" in str(state.get("value"))
        )
        await visitor.go()
        return said

    assert asyncio.run(shown()) == "history False"


async def channels(server: Server) -> tuple[int, list[str]]:
    """Return how many TCP ports a visitor's kernel listens on, and the paths of its sockets others use."""
    visitor = await Visitor.come(server.url)
    wait_for(lambda: len(server.kernels()) == 1)  # Those of earlier visitors take a while to be buried.
    (kernel,) = server.kernels()
    ports = [each for each in kernel.net_connections("inet") if each.status == "LISTEN"]
    paths = {each.laddr for each in kernel.net_connections("unix") if "kernel-" in each.laddr}
    await visitor.go()
    return len(ports), sorted(paths)


@pytest.mark.skipif(sys.platform != "linux", reason="the folder's path may be too long")
def test_the_channels_of_a_kernel_take_no_port(server: Server) -> None:
    ports, paths = asyncio.run(channels(server))
    assert ports <= 1  # One is ipykernel's own, for what processes print that the kernel starts.
    assert [path[-6:] for path in paths] == [f"-ipc-{n}" for n in range(1, 6)]
    assert {len(path) - len(str(Path(path).parents[1])) for path in paths} == {BESIDES}


def test_sockets_that_would_have_too_long_a_path_are_ports(tmp_path: Path) -> None:
    room = MOST_OF_A_SOCKET - BESIDES
    assert sockets_fit(room * "x") == (os.name == "posix")
    assert not sockets_fit((room + 1) * "x")
    assert not sockets_fit((room - 1) * "x" + "é")
    command = stand_in_command(notebook(tmp_path / "page.ipynb", [CELL]))
    folder = tmp_path / (50 * "x")
    folder.mkdir()
    with served(command, tmp_path, {"TMPDIR": str(folder)}) as server:
        ports, paths = asyncio.run(channels(server))
    assert ports >= 5
    assert paths == []
