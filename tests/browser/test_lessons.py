"""Every lesson, opened in JupyterLab and as a Voilà page; one exercise of each done wrong, then right.

The lesson that trains for longest is shortened here; ``tests/test_notebooks.py`` runs it whole.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page

from prunescope.lessons import class_summary
from tests.support import hosts

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SHORTER = {"SEEDS = 5": "SEEDS = 2", "EPOCHS = 20": "EPOCHS = 2"}

# Says its address once it listens, in place of opening a browser.
VOILA_PROGRAM = """
import sys
from voila.app import Voila

class Announced(Voila):
    def launch_browser(self):
        print(f"http://127.0.0.1:{self.port}/", flush=True)

Announced.launch_instance([sys.argv[1]])
"""


def press(exercise: Locator, *buttons: str) -> None:
    for button in buttons:
        exercise.get_by_role("button", name=button, exact=True).click()


def press_cell(exercise: Locator, *places: str) -> None:
    for place in places:
        cell = exercise.get_by_title(f"{place}:")
        told = cell.get_attribute("title")
        cell.click()
        hosts.wait_until(exercise.page, lambda cell=cell, told=told: cell.get_attribute("title") != told)


def press_channel(exercise: Locator, name: str) -> None:
    button = exercise.locator(f'.ps-bands button[title^="{name}"]')
    shown = button.inner_text()
    button.click()
    hosts.wait_until(exercise.page, lambda: button.inner_text() != shown)


def answer(exercise: Locator, text: str) -> None:
    exercise.get_by_placeholder("a number").fill(text)


def choose(exercise: Locator, text: str) -> None:
    exercise.get_by_label(text, exact=True).check()


# Of each lesson: words of a question, a wrong answer, what is said to it, then the way to the right one.
ATTEMPTS: dict[str, tuple[str, Callable[[Locator], None], str, Callable[[Locator], None]]] = {
    "01-a-mask-by-hand": (
        "Which five weights go?",
        lambda e: press_cell(
            e,
            *("row 0, column 3", "row 2, column 1", "row 3, column 3", "row 1, column 4", "row 1, column 0"),
        ),
        "the method ranks by magnitude",
        lambda e: press_cell(
            e,
            *("row 0, column 3", "row 2, column 1", "row 3, column 3", "row 1, column 4", "row 1, column 0"),
            *("row 1, column 2", "row 3, column 2", "row 0, column 1", "row 2, column 0", "row 2, column 4"),
        ),
    ),
    "02-channels-and-dim": (
        "Which channel goes? Press its number",
        lambda e: press_channel(e, "dim 1, input features: 1"),
        "You chose along dim 1, the input features",
        lambda e: (
            press_channel(e, "dim 1, input features: 1"),
            press_channel(e, "dim 0, output features: 1"),
        ),
    ),
    "03-which-norm": (
        "Now n=1, the sum of magnitudes.",
        lambda e: press_channel(e, "dim 0, output channels: 3"),
        "That one would go by the norm of order 2",
        lambda e: (
            press_channel(e, "dim 0, output channels: 3"),
            press_channel(e, "dim 0, output channels: 5"),
        ),
    ),
    "04-random-as-a-baseline": (
        "A colleague runs",
        lambda e: choose(e, "other weights go"),
        "Compare the first and the third line",
        lambda e: choose(e, "the same weights go"),
    ),
    "05-again-and-again": (
        "What share of all weights",
        lambda e: answer(e, "100 %"),
        "The second half is not half of all.",
        lambda e: answer(e, "0.75"),
    ),
    "06-local-or-global": (
        "How many of the 8 weights of layer quiet go?",
        lambda e: answer(e, "4"),
        "That is the local answer.",
        lambda e: answer(e, "7"),
    ),
    "07-costs-and-savings": (
        "How many parameters does the network lose?",
        lambda e: answer(e, "4,608"),
        "And what, in the next layer, reads these channels?",
        lambda e: answer(e, "13,856"),
    ),
    "08-train-prune-retrain": (
        "Why did the pruned weights stay zero",
        lambda e: choose(e, "the optimizer skips zeros"),
        "It knows nothing of zeros",
        lambda e: choose(e, "each forward pass applies the mask again"),
    ),
}


def attempt(page: Page, lesson: str) -> None:
    """Do one exercise of ``lesson`` wrong and then right, and look at what is said and shown."""
    asked, wrong, hint, right = ATTEMPTS[lesson]
    exercise = page.locator(".ps-exercise").filter(has_text=asked)
    exercise.wait_for()
    wrong(exercise)
    press(exercise, "Check")
    exercise.get_by_role("status").filter(has_text=hint).wait_for()
    if exercise.locator(".ps-cells, .ps-table").count():
        assert exercise.locator(".ps-wrong:not(.ps-sign)").count() > 0, "the difference is not in the picture"
    right(exercise)
    exercise.get_by_role("status").filter(has_text="Before your last change").wait_for()
    press(exercise, "Check")
    exercise.get_by_role("status").filter(has_text="Right").wait_for()
    assert exercise.locator(".ps-wrong:not(.ps-sign)").count() == 0


def shortened(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    if path.stem.startswith("08"):
        for long, short in SHORTER.items():
            (cell,) = [cell for cell in notebook.cells if f"{long}\n" in f"{cell.source}\n"]
            cell.source = cell.source.replace(long, short)
    return notebook


@pytest.mark.parametrize("lesson", ATTEMPTS)
def test_in_jupyterlab(page: Page, _lab: hosts.Lab, lesson: str) -> None:  # noqa: PT019
    nbformat.write(shortened(NOTEBOOKS / f"{lesson}.ipynb"), _lab.folder / f"{lesson}.ipynb")
    assert _lab.open_file(page, f"{lesson}.ipynb") == []
    attempt(page, lesson)


@pytest.fixture(scope="module")
def voila(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Voilà on a copy of all notebooks, as the teacher's page says to start it."""
    folder = tmp_path_factory.mktemp("lessons")
    for path in NOTEBOOKS.glob("*.ipynb"):
        nbformat.write(shortened(path), folder / path.name)
    with hosts.served([sys.executable, "-c", VOILA_PROGRAM, str(folder)], folder) as server:
        yield server.url


@pytest.mark.parametrize("lesson", ATTEMPTS)
def test_as_a_page(page: Page, voila: str, lesson: str) -> None:
    raised: list[str] = []
    page.on("pageerror", lambda error: raised.append(str(error)))
    page.goto(f"{voila}voila/render/{lesson}.ipynb")
    attempt(page, lesson)
    assert "There was an error" not in page.inner_text("body")
    assert raised == []
    page.set_viewport_size({"width": 420, "height": 1000})
    hosts.wait_until(page, lambda: page.evaluate("document.documentElement.scrollWidth") <= 420)


def test_the_index_leads_to_the_first_lesson(page: Page, voila: str) -> None:
    page.goto(f"{voila}voila/render/index.ipynb")
    page.get_by_role("columnheader", name="minutes").wait_for()
    page.get_by_role("link", name="A mask by hand").first.click()
    page.get_by_role("heading", name="1 · A mask by hand").wait_for()


def test_answers_survive_a_reload_and_can_be_taken_along(page: Page, voila: str, tmp_path: Path) -> None:
    page.goto(f"{voila}voila/render/05-again-and-again.ipynb")
    attempt(page, "05-again-and-again")
    page.get_by_placeholder("for the export").fill("Ada")
    kept = (
        "Object.values(localStorage).some(text => text.includes('Ada') && text.includes('\"solved\": true'))"
    )
    hosts.wait_until(page, kept)
    page.reload()
    page.locator(".ps-progress").filter(has_text="1 of 5 solved").first.wait_for()
    exercise = page.locator(".ps-exercise").filter(has_text=ATTEMPTS["05-again-and-again"][0])
    exercise.get_by_role("status").filter(has_text="as you answered before").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="as a file for the teacher").click()
    download.value.save_as(tmp_path / "ada.json")
    assert "| Ada |" in class_summary(tmp_path)


def test_after_a_restart_an_exercise_says_what_to_do(page: Page, _lab: hosts.Lab) -> None:  # noqa: PT019
    nbformat.write(shortened(NOTEBOOKS / "01-a-mask-by-hand.ipynb"), _lab.folder / "restarted.ipynb")
    assert _lab.open_file(page, "restarted.ipynb") == []
    exercise = page.locator(".ps-exercise").first
    exercise.wait_for()
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    said = "getComputedStyle(document.querySelector('.ps-exercise'), '::before').content"
    hosts.wait_until(page, f"{said}.includes('run the cells again')")
    assert (
        exercise.locator(".ps-cell").first.evaluate("e => getComputedStyle(e, '::before').content") == "none"
    )
