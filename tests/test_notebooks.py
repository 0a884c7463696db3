"""Every notebook runs from top to bottom, as a person would run it."""

import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(ROOT.glob("*.ipynb"))


# Told by each lesson at its end: what its exercises say to right answers, rounded as their questions ask.
GRADED = """
from prunescope.lessons.fields import NumberField
from prunescope.lessons.functions import FunctionField

def numbers_of(exercise):
    body = exercise.body
    question = body._question
    decimals = question.decimals
    rounded = [format(question.answer, f".{decimals}f")] if decimals is not None else []
    for text in [question.written(), question.written().replace(".", ","), *rounded]:
        body.predict(text)
        yield text, body.grade()

for key, exercise in lesson.exercises.items():
    if isinstance(exercise.body, NumberField):
        for round_number in range(6 if exercise._deal else 1):
            if round_number:
                exercise.another()
            for text, said in numbers_of(exercise):
                print(f"number {key}.{round_number} {text}: {said.right} {said.text}")
    if isinstance(exercise.body, FunctionField):
        said = exercise.check()
        print(f"function {key}: {not said.right and said.text.startswith('Not yet. `my_')} {said.text}")
        exec(exercise.body._solution)
        said = exercise.check()
        print(f"function {key}: {said.right} {said.text}")
    if exercise._deal:
        exercise.another()
        exercise.reveal()
        exercise.check()
print("top", lesson.solved)
"""


@cache
def run(path: Path) -> nbformat.NotebookNode:
    """Return the notebook, run once for all tests; a lesson with a cell more that grades right answers."""
    notebook = nbformat.read(path, as_version=4)
    if path.stem[0] == "0":
        notebook.cells.append(nbformat.v4.new_code_cell(GRADED))
    with TemporaryDirectory() as folder:
        for each in NOTEBOOKS:
            (Path(folder) / each.name).write_bytes(each.read_bytes())
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}).execute()
    return notebook


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(path: Path) -> None:
    outputs = [output for cell in run(path).cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [
        output for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    ]
    assert shown or path.stem == "index", "no explorer was shown"
    assert not [output for output in outputs if output.get("name") == "stderr"]


@pytest.mark.slow
def test_the_quickstart_says_what_it_measured() -> None:
    path = next(path for path in NOTEBOOKS if path.stem == "quickstart")
    text = "".join(
        output.text
        for cell in run(path).cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "text" in output
    )
    assert "32 of 128 output features pruned: 25.0% of the layer" in text
    assert "60.0% of the weights are zero" in text
    said = text.split(" right; the explorer said ")
    assert said[0].split()[-3] == said[1].split()[0], "the pruned model is as accurate as the explorer said"


LESSONS = [path for path in NOTEBOOKS if path.stem[0] == "0"]
EXERCISE = re.compile(
    r"^(?:\w+ = )?(predict_mask|predict_channels|ask_number|ask_choice|write_function)\($", re.MULTILINE
)


def source(path: Path, kind: str) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_has_an_explorer_and_exercises_with_hints_that_are_kept(path: Path) -> None:
    code = source(path, "code")
    exercises = [cell for cell in code if EXERCISE.search(cell)]
    assert 5 <= len(exercises) <= 7
    assert all(len(EXERCISE.findall(cell)) == 1 and "hint" in cell for cell in exercises)
    kept = [re.findall(r'\.keep_in\(lesson, "(\d)"\)', cell) for cell in exercises]
    assert sorted(key for (key,) in kept) == [str(number + 1) for number in range(len(exercises))]
    assert sum("write_function(" in cell for cell in exercises) == 1
    assert any("explore(" in cell for cell in code)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_no_code_on_the_page_gives_an_answer_away(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if EXERCISE.search(cell.source)]
    assert all(cell.metadata.jupyter.source_hidden for cell in cells if cell.cell_type == "code")


CHOICE = re.compile(r"ask_choice\([^\[]*\[(\w+), [^\]]*\],\s+(\w+)[ ,]")


def test_who_always_takes_the_first_answer_is_seldom_right() -> None:
    choices = [choice for path in LESSONS for choice in CHOICE.findall("\n".join(source(path, "code")))]
    right = [first == answer for first, answer in choices]
    assert len(right) >= 12
    assert 0.1 < sum(right) / len(right) < 0.4


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_right_numbers_rounded_as_asked_and_the_solutions_shown_are_right(path: Path) -> None:
    lines = "".join(output.text for output in run(path).cells[-1].outputs).splitlines()
    graded = [line for line in lines if line.startswith(("number", "function"))]
    assert len(graded) >= 2
    assert [line for line in graded if ": True " not in line] == []
    assert lines[-1].startswith("top ")


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_bet_is_not_decided_on_the_page_before_it_is_laid(path: Path) -> None:
    code = source(path, "code")
    bets = [cell for cell in code if re.search(r"^(\w+) = ask_choice\($", cell, re.MULTILINE)]
    for cell in bets:
        (name,) = re.findall(r"^(\w+) = ask_choice\($", cell, re.MULTILINE)
        assert any(f"once_answered({name}, " in each for each in code)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_what_a_lesson_does_not_need_is_hidden(path: Path) -> None:
    code = "\n".join(source(path, "code"))
    shown = re.findall(r"hide=all_but\(([^()]*)\)", code)
    assert len(shown) == code.count("explore(")
    assert all(2 <= names.count('"') <= 10 for names in shown)


@pytest.mark.slow
def test_the_index_and_the_lessons_agree_on_the_minutes() -> None:
    (text,) = [
        output.data["text/markdown"]
        for cell in run(ROOT / "index.ipynb").cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    counted = {
        row[0].split("]")[0][1:]: row for row in (line.strip("| ").split(" | ") for line in text.splitlines())
    }
    for path in LESSONS:
        (said,) = re.findall(r"\*About (\d+) minutes\.", "\n".join(source(path, "markdown")))
        *_, as_page, with_code = counted[path.stem]
        assert int(as_page) - 3 <= int(said) <= int(with_code)


@pytest.mark.parametrize("path", [*LESSONS, ROOT / "index.ipynb"], ids=lambda path: path.stem)
def test_a_lesson_leads_only_to_what_is_there(path: Path) -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", "\n".join(source(path, "markdown")))
    assert [name for name in linked if not (ROOT / name).is_file()] == []
    assert "quickstart.ipynb" in linked or "index.ipynb" in linked


def test_the_index_leads_to_every_lesson() -> None:
    text = "\n".join(source(ROOT / "index.ipynb", "markdown"))
    assert [path.name for path in LESSONS if f"({path.name})" not in text] == []


def test_there_are_notebooks() -> None:
    assert {"dashboard", "quickstart", "index"} <= {path.stem for path in NOTEBOOKS}
    assert [path.stem[:2] for path in LESSONS] == [f"{number:02}" for number in range(1, 9)]
