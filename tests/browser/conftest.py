"""A real browser and real servers, started once, for every test in this folder."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import hosts
from tests.support.hosts import OpenNotebook, OpenPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def _without_browser(reason: str) -> None:
    if os.environ.get("PRUNESCOPE_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{reason}, and PRUNESCOPE_REQUIRE_BROWSER=1 asks for these tests", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one (or without Playwright) the test is skipped."""
    if find_spec("playwright") is None:
        _without_browser("Playwright for Python is not installed")
    executable = hosts.chromium()
    if executable is None:
        _without_browser("no Chromium on PATH, and PRUNESCOPE_CHROMIUM names none")
    return executable


# Once in this folder, not in a session: while it lives, an event loop runs in this thread, and no other can.
@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator["Browser"]:
    """That Chromium, running without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=hosts.BROWSER_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[OpenPage]:
    """``open_page(width=1900, height=1000, **context)`` gives a blank page of a fresh browser profile.

    On a page of that width each column of the largest heatmap has a pixel.

    The pages are closed after the test, and the kernels they talked to are ended.
    """
    contexts, sockets = [], []

    def open_page(width: int = 1900, height: int = 1000, **context: Any) -> "Page":
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **context))
        contexts[-1].set_default_timeout(hosts.TIMEOUT_S * 1000)
        page = contexts[-1].new_page()
        page.on("websocket", lambda socket: sockets.append(socket.url))
        return page

    yield open_page
    for context in contexts:
        context.close()
    for url in sorted(set(sockets)):
        hosts.end_kernel_of(url)


@pytest.fixture
def page(open_page: OpenPage) -> "Page":
    """A blank page, 1900 pixels wide."""
    return open_page()


@pytest.fixture(scope="session")
def dashboard_server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[hosts.Server]:
    """A running `prunescope --no-browser`."""
    command = hosts.prunescope_command("--no-browser", "--port", "0", "--allow-training")
    with hosts.served(command, tmp_path_factory.mktemp("prunescope")) as server:
        yield server


@pytest.fixture
def voila_url(dashboard_server: hosts.Server) -> str:
    """The address of that server."""
    return dashboard_server.url


@pytest.fixture
def serve_cells(tmp_path: Path) -> Iterator[hosts.ServeCells]:
    """``serve_cells(cells, **options)`` gives a server that shows them as `prunescope` shows its own."""
    with ExitStack() as running:
        yield partial(_serve_cells, running, tmp_path)


def _serve_cells(running: ExitStack, folder: Path, cells: Sequence[str], **options: Any) -> hosts.Server:
    page = hosts.notebook(folder / "stand-in.ipynb", cells)
    return running.enter_context(hosts.served(hosts.stand_in_command(page, **options), folder))


@pytest.fixture(scope="session")
def _shared(chromium: str) -> Iterator[tuple[ExitStack, dict[str, hosts.Server]]]:
    with ExitStack() as running:
        yield running, {}


@pytest.fixture
def share_cells(
    _shared: tuple[ExitStack, dict[str, hosts.Server]], tmp_path_factory: pytest.TempPathFactory
) -> hosts.ServeCells:
    """``share_cells(cells, **options)`` is ``serve_cells`` for tests that leave the server as they found it.

    Those that ask for the same share one. It has no visitors yet, and `Server.said` nothing of earlier ones.
    """
    running, servers = _shared

    def share_cells(cells: Sequence[str], **options: Any) -> hosts.Server:
        asked = repr((cells, sorted(options.items())))
        if asked not in servers or servers[asked].process.poll() is not None:
            servers[asked] = _serve_cells(running, tmp_path_factory.mktemp("shared"), cells, **options)
        hosts.wait_for(lambda: servers[asked].sessions() == 0)
        servers[asked].turn_the_page()
        return servers[asked]

    return share_cells


@pytest.fixture(scope="session")
def _lab(chromium: str) -> Iterator[hosts.Lab]:
    with hosts.jupyter_lab() as lab:
        yield lab


@pytest.fixture
def lab(_lab: hosts.Lab, open_page: OpenPage) -> OpenNotebook:
    """``lab(page, cells)`` opens a new notebook in JupyterLab, runs it, and gives the errors it raised.

    Each has a kernel of its own, which ends with the test.
    """
    return _lab.open_notebook
