"""What one visitor can take of a server, and what a visit leaves behind."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.websocket import websocket_connect

from prunescope.serving.handlers import MOST_LINES
from prunescope.serving.messages import PROTOCOL
from tests.support.hosts import Server, notebook, served, stand_in_command
from tests.support.visitor import Visitor

CELL = """
import ipywidgets
from IPython import get_ipython
said = [f"history {get_ipython().history_manager.enabled}"]
ipywidgets.HTML(", ".join(said))
"""
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


@pytest.mark.skipif(sys.platform != "linux", reason="the folder's path may be too long")
def test_the_channels_of_a_kernel_take_no_port(server: Server) -> None:
    async def listening() -> list[object]:
        visitor = await Visitor.come(server.url)
        (kernel,) = server.kernels()
        ports = [each for each in kernel.net_connections("inet") if each.status == "LISTEN"]
        await visitor.go()
        return ports

    # One is ipykernel's own, for what processes print that the kernel starts; the channels were five more.
    assert len(asyncio.run(listening())) <= 1
