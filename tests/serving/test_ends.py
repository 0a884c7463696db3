"""What ends while its page still drags and sends: the session, its kernel, the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketError

from tests.support.hosts import TIMEOUT_S, Server, notebook, served, stand_in_command, wait_for
from tests.support.visitor import Visitor

pytestmark = pytest.mark.slow

SLIDER = "import ipywidgets\nipywidgets.IntSlider(value=30, max=100)"
# What Jupyter's older protocol takes for a message of a hundred million parts.
GARBAGE = (100_000_000).to_bytes(4) + bytes(100_000)
MOST = 1 << 28


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return notebook(tmp_path_factory.mktemp("page") / "page.ipynb", [SLIDER])


@pytest.fixture
def server(page: Path, tmp_path: Path) -> Iterator[Server]:
    with served(stand_in_command(page), tmp_path) as it:
        yield it


@asynccontextmanager
async def dragged(visitor: Visitor) -> AsyncIterator[None]:
    """Have the visitor's slider dragged without end, while its line bears it."""
    slider, moved = visitor.find("IntSliderModel"), asyncio.Event()

    async def drag() -> None:
        with suppress(WebSocketError):
            for move in range(1_000_000):
                visitor.update(slider, value=move % 100)
                await visitor.line.write_message(GARBAGE, binary=True)
                moved.set()

    dragging = asyncio.ensure_future(drag())
    try:
        await moved.wait()
        yield
    finally:
        visitor.line.close()
        await dragging


async def healthy(server: Server) -> bool:
    answer = await AsyncHTTPClient().fetch(f"{server.url}health", request_timeout=60)
    return b'"sessions"' in answer.body


async def until_told(server: Server, words: str) -> None:
    """Wait until the log says ``words``, and ask for the server's health meanwhile."""
    async with asyncio.timeout(TIMEOUT_S):
        while words not in server.said():
            assert await healthy(server)


def leave(visitor: Visitor, server: Server) -> object:
    address = f"{visitor.url}voila/api/shutdown/{visitor.kernel}"
    return AsyncHTTPClient().fetch(address, method="POST", body=b"", request_timeout=60)


@pytest.mark.parametrize("end", ["left", "died"])
def test_a_session_ends_while_its_page_sends(end: str, server: Server) -> None:
    async def scene() -> None:
        other = await Visitor.come(server.url)
        (unhurt,) = server.kernels()
        for _ in range(3):
            visitor = await Visitor.come(server.url)
            async with dragged(visitor):
                if end == "left":
                    await leave(visitor, server)
                else:
                    wait_for(lambda: len(server.kernels()) == 2)  # Others take a while to be buried.
                    (kernel,) = set(server.kernels()) - {unhurt}
                    kernel.kill()
                await until_told(server, f"session {visitor.kernel[:8]} ended")
                assert await healthy(server)
        slider = other.find("IntSliderModel")
        await other.until_idle(other.update(slider, value=7))
        assert (await other.states())[slider]["value"] == 7
        await other.go()

    asyncio.run(scene())
    assert psutil.Process(server.process.pid).memory_info().rss < MOST
    assert "Traceback" not in server.said()
    assert all(line.isprintable() and len(line) < 5000 for line in server.said().splitlines())


def test_a_stop_while_pages_load_and_drag_is_no_error(page: Path, tmp_path: Path) -> None:
    async def scene(server: Server) -> int:
        first, second = await Visitor.come(server.url), await Visitor.come(server.url)
        client = AsyncHTTPClient(force_instance=True, max_clients=4)
        async with dragged(first), dragged(second):
            loading = [asyncio.ensure_future(client.fetch(server.url, request_timeout=60)) for _ in range(4)]
            async with asyncio.timeout(TIMEOUT_S):
                while server.sessions() < 6:
                    await asyncio.sleep(0)
            code = await asyncio.to_thread(server.stop)
            await asyncio.gather(*loading, return_exceptions=True)
        return code

    with served(stand_in_command(page, ready=1), tmp_path) as server:
        assert asyncio.run(scene(server)) == 0
        assert "Traceback" not in server.said()
