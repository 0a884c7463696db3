"""Answers are kept, come back, and are handed in; fresh numbers, functions, and what a class has done."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from prunescope.lessons import (
    Exercise,
    Lesson,
    ask_choice,
    ask_number,
    class_summary,
    draw,
    once_answered,
    predict_channels,
    predict_mask,
    write_function,
)
from prunescope.lessons.feedback import NumberQuestion
from prunescope.lessons.progress import Progress
from prunescope.lessons.store import BrowserStore, FileStore


def layer_of(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight.clone())
    return layer


FIRST = torch.tensor([[0.5, -0.25, 1.0, 0.125]])


def lesson_in(folder: Path) -> tuple[Lesson, Exercise, Exercise]:
    """Return a lesson of two exercises, as its notebook makes it."""
    lesson = Lesson("01-test", "A test", FileStore(folder / "answers" / "01-test.json"))
    mask = predict_mask(
        "Which goes?",
        layer_of(FIRST),
        amount=1,
        another=lambda chance: layer_of(draw((1, 4), chance)),
    ).keep_in(lesson, "1")
    return lesson, mask, ask_number("How many?", 2, {3: "One less."}).keep_in(lesson, "2")


def right(exercise: Exercise) -> bool:
    """Answer a mask exercise as the engine would."""
    exercise.body.predict(exercise.body._question.mask)
    return exercise.check().right


def test_answers_come_back_after_a_restart(tmp_path: Path) -> None:
    lesson, mask, number = lesson_in(tmp_path)
    assert lesson.solved == "0 of 2 solved"
    assert right(mask)
    number.body.predict("3")
    number.check()
    lesson.person.value = "Ada"

    again, mask, number = lesson_in(tmp_path)
    assert again.solved == "1 of 2 solved"
    assert "1 of 2 solved" in again.progress.value
    assert again.person.value == "Ada"
    assert mask.body.answer == [3]
    assert mask.body.states == ("", "", "", "right")
    assert number.body.answer == "3"
    assert number.progress.tries == ["3"]
    assert "answers/01-test.json" in again._place.value


def test_a_cell_that_is_run_again_keeps_its_answer(tmp_path: Path) -> None:
    lesson, mask, _ = lesson_in(tmp_path)
    assert right(mask)
    fresh = predict_mask("Which goes?", layer_of(FIRST), amount=1).keep_in(lesson, "1")
    assert fresh.progress.solved
    assert lesson.solved == "1 of 2 solved"


def test_what_is_kept_of_exercises_not_yet_run_is_not_lost(tmp_path: Path) -> None:
    _, mask, _ = lesson_in(tmp_path)
    assert right(mask)
    half = Lesson("01-test", "A test", FileStore(tmp_path / "answers" / "01-test.json"))
    half.person.value = "Ada"
    again, _, _ = lesson_in(tmp_path)
    assert (again.solved, again.person.value) == ("1 of 2 solved", "Ada")


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"format": "prunescope-answers-1"}', "[" * 100_000])
def test_what_cannot_be_read_counts_as_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "01-test.json").write_text(text)
    lesson, mask, _ = lesson_in(tmp_path)
    assert lesson.solved == "0 of 2 solved"
    assert right(mask)


def test_progress_from_outside_is_read_field_by_field() -> None:
    kept = {
        "attempts": True,
        "tries": [1],
        "streak": -1,
        "round": 2,
        "answer": "x",
        "solved": 1,
        "hints": 10**9,
    }
    assert Progress.read(kept) == Progress(round=2, answer="x")
    assert Progress.read(None) == Progress()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("no folder")
    lesson, mask, _ = lesson_in(tmp_path)
    assert right(mask)
    assert "could not be kept" in lesson._place.value


def test_the_browser_tells_what_it_had_kept(tmp_path: Path) -> None:
    _, mask, _ = lesson_in(tmp_path)
    assert right(mask)
    store = BrowserStore("01-test")
    lesson = Lesson("01-test", "A test", store)
    number = ask_number("How many?", 2).keep_in(lesson, "2")
    mask = predict_mask("Which goes?", layer_of(FIRST), amount=1).keep_in(lesson, "1")
    store.set_state({"found": (tmp_path / "answers" / "01-test.json").read_text()})
    assert mask.progress.solved
    number.body.predict("2")
    number.check()
    assert json.loads(store.text)["exercises"][0]["solved"] is True


def test_another_one_asks_the_same_of_fresh_numbers(tmp_path: Path) -> None:
    lesson, mask, _ = lesson_in(tmp_path)
    assert right(mask)
    assert "Another one?" in mask._said.value
    mask.another()
    assert mask.body.answer == []
    assert mask.body._question.preview.tensor.weight.tolist() != FIRST.tolist()
    assert right(mask)
    assert "you have it" in mask._said.value
    mask.another()
    wrong = torch.ones(1, 4)
    wrong[0, int(mask.body._question.mask[0, 0].logical_not())] = 0
    mask.body.predict(wrong)
    assert not mask.check().right
    assert right(mask)
    assert "you have it" not in mask._said.value.replace("and you have it", "")
    again, mask, _ = lesson_in(tmp_path)
    assert mask.progress.round == 2, "the same fresh numbers come back"
    assert (again.solved, lesson.solved) == ("1 of 2 solved", "1 of 2 solved")


def test_fresh_numbers_are_tied_where_the_first_were_and_clear_where_they_were_not() -> None:
    spec = {"method": "ln_structured", "amount": 1, "n": 1, "dim": 0}
    for first, tied in (([[0.5, 0.5], [0.25, 0.75]], True), ([[0.5, 0.5], [1.0, 0.75]], False)):
        exercise = predict_channels(
            "?",
            layer_of(torch.tensor(first)),
            another=lambda chance: layer_of(draw((2, 2), chance, step=0.125)),
            **spec,
        )
        for _ in range(5):
            exercise.another()
            norms = exercise.body._question.preview.norms.now
            assert bool(norms[0] == norms[1]) is tied


def test_an_answer_that_was_shown_does_not_count_as_solved(tmp_path: Path) -> None:
    lesson, mask, _ = lesson_in(tmp_path)
    mask.reveal()
    assert right(mask)
    assert (lesson.solved, mask.progress.streak) == ("0 of 2 solved", 0)
    mask.another()
    assert right(mask)
    assert lesson.solved == "1 of 2 solved"


def test_checking_nothing_is_no_attempt_and_shows_nothing(tmp_path: Path) -> None:
    _, mask, number = lesson_in(tmp_path)
    for _ in range(3):
        assert not mask.check().counts
        assert not number.check().counts
    assert mask.body.states == ("", "", "", "")
    assert (mask.progress.attempts, number.progress.attempts) == (0, 0)


def test_what_decides_a_bet_appears_after_it() -> None:
    bet = ask_choice("Which?", ["a", "b"], "a")
    place = once_answered(bet, "the table")
    assert "appears here" in place.children[0].value
    bet.check()
    assert "appears here" in place.children[0].value, "nothing was chosen yet"
    bet.body.predict("b")
    bet.check()
    assert "the table" in str(place.children[0].outputs)


@pytest.mark.parametrize(
    ("answer", "decimals", "typed", "is_right"),
    [
        (16.9 / 10**0.5, 1, "5.3", True),
        (16.9 / 10**0.5, 1, "5,3", True),
        (2.65, 1, "2.6", True),
        (2.65, 1, "2.7", True),
        (2.65, 1, "2.5", False),
        (0.75, None, "75 %", True),
        (13856, None, "13 856", True),
        (0.5, None, "0.51", False),
    ],
)
def test_a_number_is_right_as_far_as_it_was_asked_for(
    answer: float, decimals: int | None, typed: str, is_right: bool
) -> None:
    assert NumberQuestion(answer, decimals=decimals).grade(typed).right is is_right


def test_another_unit_is_named_and_costs_nothing() -> None:
    percent, thousands = NumberQuestion(0.75).grade("75"), NumberQuestion(13856).grade("13.856")
    assert (percent.text, percent.counts) == ("In percent? Then write 75 %.", False)
    assert thousands.text.endswith("For thousands write 13,856.")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: 1 / 0, "yours raises ZeroDivisionError"),
        (lambda x: None, "yours gives None"),
        (lambda x: x.sum(), "yours gives shape () instead of (2,)"),
        (lambda x: x.abs_(), "should be [−1, −0.5]; yours gives [1, 0.5]"),
        (7, "That is no function but 7"),
    ],
)
def test_a_function_is_told_the_first_case_that_differs(function: Callable[..., object], said: str) -> None:
    exercise = write_function(
        "Leave it.",
        lambda: function,
        lambda x: x.clone(),
        lambda chance: (torch.tensor([-1.0, -0.5]),),
        solution="",
    )
    assert said in exercise.check().text


def test_a_function_that_is_not_there_yet() -> None:
    exercise = write_function("?", lambda: nowhere, abs, lambda chance: (1,), solution="")  # noqa: F821
    assert exercise.check().text == "name 'nowhere' is not defined: run the cell above first."
    assert exercise.progress.attempts == 0


def test_on_a_web_page_a_function_is_not_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.8")
    lesson, _, _ = lesson_in(tmp_path)
    exercise = write_function("?", lambda: abs, abs, lambda chance: (1,), solution="").keep_in(lesson, "3")
    assert exercise._check.disabled
    assert lesson.solved == "0 of 2 solved"


def test_a_class_in_one_call(tmp_path: Path) -> None:
    for name, typed in (("Ada", "2"), ("Ben | Co", "3"), ("Cy", "3")):
        lesson, mask, number = lesson_in(tmp_path / name.split()[0])
        (tmp_path / name.split()[0]).mkdir(exist_ok=True)
        lesson.person.value = name
        assert right(mask)
        number.body.predict(typed)
        number.check()
        (tmp_path / f"{name[:2]}.json").write_text(lesson.answers().text())
        (tmp_path / name.split()[0] / "answers" / "01-test.json").unlink(missing_ok=True)
    (tmp_path / "notes.json").write_text("{}")
    text = class_summary(tmp_path)
    assert "| Ada | ✓ | ✓ | 2 |" in text
    assert "| Ben \\| Co | ✓ | ✗ | 1 |" in text
    assert "| **solved** | 3 of 3 | 1 of 3 | 4 |" in text
    assert "| 2: How many? | 1.0 | 3 (2 of 3) |" in text
    assert "Not files of answers: notes.json." in text
    assert class_summary(tmp_path / "Ada") == "No answers were handed in yet."


def test_the_export_has_a_file_and_a_page(tmp_path: Path) -> None:
    lesson, mask, _ = lesson_in(tmp_path)
    lesson.person.value = "<b>Ada</b>"
    assert right(mask)
    assert "<b>Ada" not in lesson._export.value
    assert lesson._export.value.count("download=") == 2
    assert json.loads(lesson.answers().text())["exercises"][0]["solved"]
