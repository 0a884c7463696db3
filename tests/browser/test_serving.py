"""The page as a visitor meets it: it loads, asks no other host, fits a phone, and hides what goes wrong."""

import re

import numpy as np
import pytest

from tests.support.hosts import (
    OpenNotebook,
    OpenPage,
    ServeCells,
    Server,
    canvas_pixels,
    end_kernel_of,
    outside,
    overflow,
    record_requests,
    wait_until,
)

SLIDER = """
import ipywidgets
amount = ipywidgets.IntSlider(description="Amount", max=100)
said = ipywidgets.HTML("nothing yet")
amount.observe(lambda change: setattr(said, "value", f"amount is {change.new}"), "value")
ipywidgets.VBox([amount, said])
"""
CANVAS = """
from ipympl.backend_nbagg import Canvas, FigureManager
from matplotlib.figure import Figure
canvas = Canvas(Figure(figsize=(3, 2), facecolor="#ff8000"))
manager = FigureManager(canvas, 0)
canvas
"""
FAILING = "raise RuntimeError('a secret path')"


def shows_orange(page) -> bool:
    return canvas_pixels(page)[2:3, 2].tolist() == [[255, 128, 0, 255]]


def test_page_loads_works_and_asks_no_other_host(serve_cells: ServeCells, page) -> None:
    asked = record_requests(page)
    page.goto(serve_cells([SLIDER, CANVAS]).url)
    page.get_by_role("slider").press("ArrowRight")
    page.get_by_text("amount is 1").wait_for()
    wait_until(page, lambda: shows_orange(page))
    assert page.title() == "Prunescope"
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator(".jp-InputArea-editor").count() == 0
    assert asked
    assert outside(asked) == []


def test_lab_runs_a_notebook_and_asks_no_other_host(lab: OpenNotebook, page) -> None:
    asked = record_requests(page)
    assert lab(page, [SLIDER, CANVAS]) == []
    page.get_by_role("slider").press("ArrowRight")
    page.get_by_text("amount is 1").wait_for()
    wait_until(page, lambda: shows_orange(page))
    assert outside(asked) == []


def test_lab_reports_what_cells_raise(lab: OpenNotebook, page) -> None:
    assert lab(page, [FAILING]) == ["RuntimeError: a secret path"]


GONE_AT_FIRST = """
import pathlib
from IPython.display import display
first = not pathlib.Path("seen").exists()
pathlib.Path("seen").touch()
gone = {"model_id": "gone", "version_major": 2, "version_minor": 0}
if first:
    display({"application/vnd.jupyter.widget-view+json": gone}, raw=True)
else:
    display(ipywidgets.VBox([ipywidgets.IntSlider()]))
"""


def test_a_widget_that_does_not_come_is_asked_for_again(serve_cells: ServeCells, page) -> None:
    page.goto(serve_cells(["import ipywidgets", GONE_AT_FIRST]).url)
    page.get_by_role("slider").wait_for()


def test_failing_cell_shows_no_traceback(serve_cells: ServeCells, page) -> None:
    server = serve_cells([SLIDER, FAILING])
    page.goto(server.url)
    page.get_by_text("The server's log says why").wait_for()
    shown = page.content()
    assert "a secret path" not in shown
    assert "Traceback" not in shown
    assert "a secret path" in server.log.read_text()


def test_page_says_that_it_is_loading(serve_cells: ServeCells, page) -> None:
    server = serve_cells(["import pathlib\nwhile not pathlib.Path('go').exists(): pass", SLIDER])
    page.goto(server.url, wait_until="commit")
    page.get_by_role("status").get_by_text("Opening the explorer").wait_for()
    (kernel,) = server.kernels()
    wait_until(page, lambda: kernel.cwd() != kernel.parent().cwd())  # A fork begins where its parent is.
    open(f"{kernel.cwd()}/go", "w").close()
    page.get_by_role("slider").wait_for()
    assert page.get_by_text("Opening the explorer").count() == 0


def test_page_fits_a_phone(serve_cells: ServeCells, open_page: OpenPage) -> None:
    page = open_page(width=420, height=800)
    page.goto(serve_cells([SLIDER, "ipywidgets.HTML('wide ' * 200)"]).url)
    page.get_by_text("wide wide").wait_for()
    assert overflow(page) == 0
    assert page.get_by_text("wide wide").bounding_box()["width"] > 380


def test_overflow_is_noticed(serve_cells: ServeCells, open_page: OpenPage) -> None:
    page = open_page(width=420, height=800)
    page.goto(serve_cells([SLIDER, "ipywidgets.HTML('wide', layout={'width': '700px'})"]).url)
    page.get_by_text("wide").wait_for()
    assert overflow(page) > 200


def test_document_itself_scrolls(serve_cells: ServeCells, open_page: OpenPage) -> None:
    page = open_page(width=420, height=800)
    page.goto(
        serve_cells([SLIDER, "ipywidgets.VBox([ipywidgets.Label(f'line {i}') for i in range(90)])"]).url
    )
    page.get_by_text("line 89").scroll_into_view_if_needed()
    wait_until(page, "window.scrollY > 1000")


def shows_a_picture(page) -> bool:
    return len(np.unique(canvas_pixels(page).view(np.uint32))) > 10


def raised(log: str) -> set[str]:
    """Return the names of the exceptions whose tracebacks stand in ``log``.

    A page that leaves while the server writes to it is one of them, whatever the page shows: tornado's own.
    """
    ends = re.findall(r"^Traceback .*\n(?:[ \t].*\n)+([\w.]+)", log, flags=re.MULTILINE)
    return {end.rpartition(".")[2] for end in ends}


def test_dashboard_loads_again_and_again(open_page: OpenPage, dashboard_server: Server) -> None:
    dashboard_server.turn_the_page()
    for _ in range(3):
        page = open_page()
        asked = record_requests(page)
        page.goto(dashboard_server.url)
        wait_until(page, lambda page=page: shows_a_picture(page))
        page.close()
        assert outside(asked) == []
        for address in asked:
            end_kernel_of(address)
    assert raised(dashboard_server.said()) - {"StreamClosedError", "WebSocketClosedError"} == set()


@pytest.mark.parametrize(
    ("log", "names"),
    [
        ("Traceback (most recent call last):\n  File 'x'\nValueError: no\n", {"ValueError"}),
        (
            "dError()>\nTraceback (most recent call last):\n  File 'x'\n    await fut\n"
            "tornado.iostream.StreamClosedError: Stream is closed\n\nDuring handling\n\n"
            "Traceback (most recent call last):\n  File 'y'\ntornado.websocket.WebSocketClosedError\nmore\n",
            {"StreamClosedError", "WebSocketClosedError"},
        ),
        ("a line\n", set()),
    ],
)
def test_what_a_log_says_was_raised(log: str, names: set[str]) -> None:
    assert raised(log) == names


@pytest.mark.parametrize("path", ["voila/files/stand-in.ipynb", "voila/files/server.log", "stand-in.ipynb"])
def test_nothing_but_the_page_is_served(share_cells: ServeCells, page, path: str) -> None:
    answer = page.goto(share_cells([SLIDER]).url + path)
    assert answer.status in (403, 404)
    assert "IntSlider" not in answer.text()
