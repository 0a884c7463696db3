"""A visitor's session: it ends with its tab, its idleness, its kernel, and the page says why."""

import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Route

from tests.support.hosts import (
    OpenPage,
    ServeCells,
    Server,
    lives,
    prunescope_command,
    served,
    wait_for,
    wait_until,
)

SLIDER = """
import os
import ipywidgets
amount = ipywidgets.IntSlider(description="Amount", max=100)
said = ipywidgets.HTML("nothing yet")
amount.observe(lambda change: setattr(said, "value", f"amount is {change.new}"), "value")
ipywidgets.VBox([ipywidgets.HTML(f"process {os.getpid()}"), amount, said])
"""

AT_ONCE_S = 30.0
"""Half of what a session outlives a lost network: what ends sooner was ended for another reason."""


def visit(open_page: OpenPage, server: Server):
    """Open the page, wait until it answers, and return it and its kernel's process."""
    page = open_page()
    page.goto(server.url)
    return page, process_of(page)


def process_of(page) -> psutil.Process:
    page.get_by_role("slider").press("ArrowRight")
    page.get_by_text("amount is 1").wait_for()
    return psutil.Process(int(page.get_by_text("process ").inner_text().split()[1]))


def test_closed_tab_frees_its_kernel(share_cells: ServeCells, open_page: OpenPage) -> None:
    server = share_cells([SLIDER])
    stays, _ = visit(open_page, server)
    leaves, kernel = visit(open_page, server)
    assert server.sessions() == 2
    leaves.close(run_before_unload=True)
    wait_until(stays, lambda: not lives(kernel), timeout=AT_ONCE_S)
    assert server.sessions() == 1
    stays.get_by_role("slider").press("ArrowRight")
    stays.get_by_text("amount is 2").wait_for()
    assert re.search(r"session \w{8} ended after \d+ s: left \(1 of 20\)\n", server.said())


@pytest.mark.parametrize("goes", ["reload", "leave"])
def test_reloaded_or_left_page_frees_its_kernel(goes: str, share_cells: ServeCells, open_page) -> None:
    server = share_cells([SLIDER], max_sessions=2)
    page, kernel = visit(open_page, server)
    assert "No such comm" not in server.said()  # ipykernel prints it at each page.
    page.reload() if goes == "reload" else page.goto("about:blank")
    wait_until(page, lambda: not lives(kernel), timeout=AT_ONCE_S)
    wait_until(page, lambda: server.sessions() == (1 if goes == "reload" else 0))


def test_crashed_tab_frees_its_kernel_within_the_idle_limit(share_cells: ServeCells, open_page) -> None:
    server = share_cells([SLIDER])
    page, kernel = visit(open_page, server)
    crash(page)
    with server.nobody_has_time():
        wait_for(lambda: not lives(kernel), timeout=AT_ONCE_S)


def crash(page) -> None:
    """End the tab's process; the page cannot say goodbye."""
    session = page.context.browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    renderers = [process["id"] for process in found if process["type"] == "renderer"]
    for renderer in renderers:
        os.kill(renderer, signal.SIGKILL)


def test_idle_page_says_so_and_starts_again(share_cells: ServeCells, open_page: OpenPage) -> None:
    server = share_cells([SLIDER])
    page, kernel = visit(open_page, server)
    with server.nobody_has_time():
        page.get_by_role("alert").get_by_text("had not been used for a while").wait_for()
    wait_until(page, lambda: not lives(kernel))
    page.get_by_role("button", name="Start again").click()
    assert process_of(page).pid != kernel.pid
    assert page.get_by_role("alert").count() == 0
    assert re.search(r"ended after \d+ s: idle", server.said())


def test_killed_kernel_tells_its_visitor_and_nobody_else(share_cells: ServeCells, open_page) -> None:
    server = share_cells([SLIDER])
    other, _ = visit(open_page, server)
    page, kernel = visit(open_page, server)
    kernel.kill()
    page.get_by_role("alert").get_by_text("process on the server was stopped").wait_for()
    other.get_by_role("slider").press("ArrowRight")
    other.get_by_text("amount is 2").wait_for()
    assert other.get_by_role("alert").count() == 0
    page.get_by_role("button", name="Start again").click()
    process_of(page)
    assert "Traceback" not in server.said()


@pytest.mark.parametrize("early", ["**/voila*.js", "**/api/kernels/*"])
def test_a_kernel_that_dies_before_it_is_reached_is_told(
    early: str, share_cells: ServeCells, open_page: OpenPage
) -> None:
    server, page = share_cells([SLIDER]), open_page()

    def kill(route: Route) -> None:
        for kernel in server.kernels():
            with suppress(psutil.NoSuchProcess):
                kernel.kill()
        route.continue_()

    page.route(early, kill)
    page.goto(server.url, wait_until="commit")
    page.get_by_role("alert").get_by_text("process on the server was stopped").wait_for()
    assert not page.locator("#rendered_cells").is_visible()
    page.unroute(early)
    page.get_by_role("button", name="Start again").click()
    page.get_by_role("slider").wait_for()


def test_start_again_shows_what_was_shown(open_page: OpenPage, tmp_path: Path) -> None:
    with served(prunescope_command("--no-browser", "--port", "0", "--ready", "0"), tmp_path) as server:
        page = open_page()
        page.goto(server.url)
        model = page.get_by_label("Model", exact=True)
        model.select_option(label="MLP")
        wait_until(page, "location.search.includes('model=mlp')")
        (kernel,) = server.kernels()
        kernel.kill()
        page.get_by_role("button", name="Start again").click()
        wait_until(page, "document.querySelector('.ps-canvas canvas') && !document.querySelector('#loading')")
        assert page.evaluate("location.search").count("model=mlp") == 1
        wait_until(page, lambda: model.locator("option:checked").inner_text() == "MLP")
        assert server.kernels() != [kernel]


class Cable:
    """A way to ``server`` that can be cut: a port of its own, whose bytes are passed on."""

    def __init__(self, server: Server) -> None:
        self._to = int(re.search(r":(\d+)/", server.url)[1])
        self._listens = socket.create_server(("127.0.0.1", 0))
        self._pieces: list[socket.socket] = []
        self.whole = self.answers = True
        self.url = f"http://127.0.0.1:{self._listens.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                page, _ = self._listens.accept()
            except OSError:  # closed
                return
            if not self.whole:
                page.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._to))
            self._pieces += [page, server]
            threading.Thread(target=self._pass_on, args=[page, server, lambda: True], daemon=True).start()
            threading.Thread(
                target=self._pass_on, args=[server, page, lambda: self.answers], daemon=True
            ).start()

    def _pass_on(self, source: socket.socket, to: socket.socket, arrives: Callable[[], bool]) -> None:
        with suppress(OSError):
            while said := source.recv(65536):
                if arrives():
                    to.sendall(said)
        for piece in (source, to):
            with suppress(OSError):
                piece.shutdown(socket.SHUT_RDWR)

    def cut(self, whole: bool = False) -> None:
        """Break every connection there is; no other comes, unless the cable is ``whole`` at once."""
        self.whole = whole
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            with suppress(OSError):
                piece.shutdown(socket.SHUT_RDWR)
            piece.close()

    def mend(self) -> None:
        self.whole = self.answers = True

    def close(self) -> None:
        self.cut()
        with suppress(OSError):
            self._listens.shutdown(socket.SHUT_RDWR)  # Closing it lets one more in.
        self._listens.close()


@pytest.fixture
def cable() -> Iterator[Callable[[Server], Cable]]:
    with ExitStack() as laid:
        yield lambda server: laid.enter_context(closing(Cable(server)))


CONFIRMED = """async () => {
    const manager = window.jupyterapp.widgetManager;
    const ids = [...manager.registeredModels].filter(id => manager.has_model(id));
    const models = await Promise.all(ids.map(id => manager.get_model(id)));
    return models.length > 0 && models.every(model => !(model._pending_msgs > 0));
}"""
"""Whether the kernel has confirmed all that the page's widgets have sent; what follows waits for that."""

HEARD = """
heard = open("heard", "w", buffering=1)
amount.observe(lambda change: heard.write(f"{change.new}\\n"), "value")
"""


def test_lost_connection_is_said_and_found_again(serve_cells: ServeCells, open_page, cable) -> None:
    server = serve_cells([SLIDER, HEARD])
    to_server = cable(server)
    page = open_page()
    lines = set()  # Those that got through; a line may be tried while the cable is being cut.
    page.on("websocket", lambda line: line.on("framereceived", lambda _: lines.add(line)))
    page.goto(to_server.url)
    kernel = process_of(page)
    heard = Path(kernel.cwd(), "heard")
    wait_until(page, CONFIRMED)
    to_server.answers = False
    page.get_by_role("slider").press("ArrowRight")
    wait_until(page, lambda: heard.read_text() == "1\n2\n")
    to_server.cut()
    page.get_by_role("alert").get_by_text("The connection to the server is lost").wait_for()
    to_server.mend()
    page.get_by_text("amount is 2").wait_for()
    assert page.get_by_role("alert").count() == 0
    page.get_by_role("slider").press("ArrowRight")
    page.get_by_text("amount is 3").wait_for()
    # A line that breaks and comes back at once is not taken away again.
    before = len(lines)
    for step in (4, 5, 6):
        to_server.cut(whole=True)
        page.get_by_role("slider").press("ArrowRight")
        page.get_by_text(f"amount is {step}").wait_for()
        assert len(lines) == before + step - 3
    assert page.get_by_role("alert").count() == 0
    assert "Traceback" not in server.said()


def test_page_says_when_its_server_has_gone(serve_cells: ServeCells, open_page, tmp_path: Path) -> None:
    server = serve_cells([SLIDER])
    page, _ = visit(open_page, server)
    server.stop()
    page.get_by_role("alert").get_by_text("The connection to the server is lost").wait_for()


def test_full_page_waits_for_its_turn(share_cells: ServeCells, open_page: OpenPage) -> None:
    server = share_cells([SLIDER], max_sessions=1)
    first, _ = visit(open_page, server)
    second = open_page()
    answer = second.goto(server.url)
    assert answer.status == 503
    assert answer.headers["retry-after"] == "5"
    second.get_by_role("status").get_by_text("The only place is taken").wait_for()
    assert len(server.kernels()) == 1
    first.close(run_before_unload=True)
    process_of(second)


def test_reload_keeps_the_only_place(share_cells: ServeCells, open_page: OpenPage) -> None:
    server = share_cells([SLIDER], max_sessions=1)
    page, _ = visit(open_page, server)
    page.reload()
    process_of(page)


def test_token_is_asked_for(serve_cells: ServeCells, open_page: OpenPage) -> None:
    server = serve_cells([SLIDER], token="open-sesame")
    page = open_page()
    page.goto(server.url.partition("?")[0])
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Open the explorer").click()
    page.get_by_role("alert").get_by_text("That is not the token").wait_for()
    page.get_by_label("Token").fill("open-sesame")
    page.get_by_role("button", name="Open the explorer").click()
    process_of(page)
