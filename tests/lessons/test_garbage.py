"""What is no answer, and what is no exercise, is told in a sentence; nothing is half done."""

import math
from collections.abc import Callable

import ipywidgets.widgets.widget as registry
import pytest
import torch
from torch import nn

from prunescope.core.errors import RequestError
from prunescope.lessons import all_but, ask_choice, ask_number, grid, predict_channels, predict_mask, table
from prunescope.lessons.feedback import read_number

LAYER = nn.Linear(3, 2)
CHANNELS = {"method": "ln_structured", "amount": 1, "dim": 0}
NAN = torch.full((2, 3), math.nan)
GARBAGE = [
    None,
    "x",
    True,
    7,
    10**30,
    math.nan,
    [0],
    [[1, 1, 0], [1]],
    torch.ones(3, 2),
    torch.tensor(1),
    NAN,
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=repr)
def test_what_is_no_mask(garbage: object) -> None:
    exercise = predict_mask("Which?", LAYER, amount=2)
    exercise.body.buttons[1].value = True
    for read in (exercise.body.predict, exercise.body._question.grade):
        with pytest.raises(RequestError, match=r"`mask` must have shape \(2, 3\) and be True or 1 .* got "):
            read(garbage)
    assert [button.value for button in exercise.body.buttons] == [False, True, False, False, False, False]


def test_a_mask_may_be_lists_or_the_buffer_of_a_pruned_layer() -> None:
    exercise = predict_mask("Which?", LAYER, amount=2)
    mask = exercise.body._question.mask
    for each in (mask, mask.tolist(), mask.float()):
        exercise.body.predict(each)
        assert exercise.check().right


@pytest.mark.parametrize(
    "garbage",
    [*GARBAGE, {0: 1}, {0: None}, {0: {2}}, {0: {-1}}, {0: {True}}, {0: {"a"}}, {2: {0}}, {"a": {0}}],
    ids=repr,
)
def test_what_is_no_choice_of_channels(garbage: object) -> None:
    exercise = predict_channels("Which?", LAYER, **CHANNELS)
    exercise.body.buttons[0][1].value = True
    for read in (exercise.body.predict, exercise.body._question.grade):
        with pytest.raises(RequestError, match=r"`chosen` must map a dim \(0, 1\) to its channels, .* got "):
            read(garbage)
    assert exercise.body.chosen == {0: {1}, 1: set()}


@pytest.mark.parametrize("garbage", [*GARBAGE[:3], [2], {}, math.inf, "0x2", "2+0j", "1/2/3", "∞"], ids=repr)
def test_what_is_no_number_is_asked_for_again(garbage: object) -> None:
    exercise = ask_number("How many?", 2)
    exercise.body.predict(garbage)
    for answer in (exercise.check(), exercise.body._question.grade(garbage)):
        assert answer.text == "Please answer with a number, such as 12, 0.75, 75 % or 3/4."


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,024", 1024),
        ("13,856", 13856),
        ("1,234,567.5", 1234567.5),
        ("-1,024", -1024),
        ("0,75", 0.75),
        ("1,5", 1.5),
        ("0,125", 0.125),
        ("12,5 %", 0.125),
        ("1,2,3", None),
        (2, 2),
        (2.5, 2.5),
    ],
)
def test_a_comma_is_read_as_it_is_meant(text: object, number: float | None) -> None:
    assert read_number(text) == number


@pytest.mark.parametrize("garbage", ["z", 1, True, ["a"], torch.ones(2), math.nan], ids=repr)
def test_what_is_not_on_offer(garbage: object) -> None:
    exercise = ask_choice("Which?", ["a", "b"], "a")
    with pytest.raises(RequestError, match="`choice` must be one of 'a', 'b', got "):
        exercise.body.predict(garbage)
    assert exercise.body._question.grade(garbage).text == "Please choose one of the answers."


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: predict_mask("q", None, amount=1),
            "`layer` must be a torch.nn.Module with a weight, got None",
        ),
        (lambda: predict_mask("q", nn.ReLU(), amount=1), r"`layer` must be .* got ReLU\(\)"),
        (lambda: predict_mask("q", nn.Linear, amount=1), "`layer` must be .* got <class"),
        (lambda: predict_mask("q", LAYER, amount=True), "`amount` must be .* got True"),
        (lambda: predict_mask(None, LAYER, amount=1), "`question` must be a text, got None"),
        (
            lambda: predict_mask("q", LAYER, amount=1, hints="abc"),
            "`hints` must be a list of sentences, got 'abc'",
        ),
        (lambda: predict_mask("q", LAYER, amount=1, hints=[1]), r"`hints` must be .* got \[1\]"),
        (lambda: predict_mask("q", LAYER, amount=1, why=7), "`why` must be a text, got 7"),
        (
            lambda: predict_channels("q", LAYER, **CHANNELS, dims=(1,)),
            r"from 0 to 1, 0 among them, got \(1,\)",
        ),
        (lambda: predict_channels("q", LAYER, **CHANNELS, dims=(0, 5)), r"`dims` must be .* got \(0, 5\)"),
        (lambda: predict_channels("q", LAYER, **CHANNELS, dims=0), "`dims` must be a tuple of dims .* got 0"),
        (lambda: ask_number("q", math.nan), "`answer` must be a finite number, got nan"),
        (lambda: ask_number("q", True), "`answer` must be a finite number, got True"),
        (lambda: ask_number("q", 10**400), "`answer` must be a finite number, got 1000"),
        (lambda: ask_number("q", torch.tensor(2.0)), r"`answer` must be a finite number, got tensor\(2.\)"),
        (lambda: ask_number("q", 2, [1]), r"`mistakes` must map wrong numbers to sentences, got \[1\]"),
        (lambda: ask_number("q", 2, {"a": ""}), "`mistakes` must be a finite number, got 'a'"),
        (lambda: ask_number("q", 2, tolerance=-1), "`tolerance` must be a finite number, 0 or more, got -1"),
        (lambda: ask_choice("q", "ab", "a"), "`choices` must list two different texts or more, got 'ab'"),
        (lambda: ask_choice("q", ["a", "a"], "a"), "`choices` must list two different texts"),
        (lambda: ask_choice("q", None, "a"), "`choices` must list .* got None"),
        (
            lambda: ask_choice("q", ["a", "b"], ["a"]),
            r"`answer` must be among the choices 'a', 'b', got \['a'\]",
        ),
        (lambda: all_but("amount", "colour"), "`shown` must be some of model, .* got 'colour'"),
        (lambda: all_but(None), "`shown` must be some of model, .* got None"),
        (lambda: grid([[1, 2]]), "`tensor` must be a tensor of one or two axes"),
        (lambda: grid(torch.zeros(0)), "`tensor` must be"),
        (lambda: table(["a", "b"], [[1]]), "`rows` must be 2 long"),
    ],
)
def test_an_exercise_that_cannot_be_leaves_nothing_behind(make: Callable[[], object], said: str) -> None:
    before = set(registry._instances)
    with pytest.raises(ValueError, match=said):
        make()
    assert set(registry._instances) == before


def test_a_bar_in_a_table_stays_in_its_cell() -> None:
    assert table(["|w|"], [["a|b"]]).splitlines()[0] == "| \\|w\\| |"
