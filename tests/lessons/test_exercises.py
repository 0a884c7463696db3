"""The exercises as a person meets them: press, check, look, ask for a hint, give up."""

import pytest
import torch
from torch import nn

import prunescope.prune as prune
from prunescope.lessons import ask_choice, ask_number, predict_channels, predict_mask, table
from prunescope.lessons.cells import SIGNS


def row(*values: float) -> nn.Linear:
    linear = nn.Linear(len(values), 1, bias=False)
    linear.weight = nn.Parameter(torch.tensor([values]))
    return linear


def press(button: object) -> None:
    button.set_state({"value": True})


def test_a_prediction_is_compared_in_the_picture() -> None:
    exercise = predict_mask("Which?", row(-3.0, 1.0, 0.5, 2.0), amount=2, why="Small ones go.")
    cells = exercise.body
    press(cells.buttons[0])
    press(cells.buttons[1])
    assert cells.buttons[0].description == "× −3"
    assert cells.buttons[0].tooltip == "row 0, column 0: you say it goes"
    assert cells.states == ("chosen", "chosen", "", "")

    assert not exercise.check().right
    assert cells.states == ("wrong", "right", "", ""), "the first check does not give the rest away"
    assert cells.buttons[0].description.startswith(SIGNS["wrong"][0])
    exercise.check()
    assert cells.states == ("wrong", "right", "", ""), "the same answer again is no second attempt"
    assert exercise.progress.attempts == 1
    cells.buttons[1].set_state({"value": False})
    exercise.check()
    assert cells.states == ("wrong", "missed", "missed", "")

    cells.buttons[0].set_state({"value": False})
    press(cells.buttons[1])
    assert "Before your last change: Not yet." in exercise._said.value
    press(cells.buttons[2])
    assert exercise.check().right
    assert cells.states == ("", "right", "right", "")
    assert "Right: exactly these go. Small ones go." in exercise._said.value
    assert 'role="status"' in exercise._said.value


def test_what_was_pruned_earlier_cannot_be_pressed() -> None:
    layer = prune.l1_unstructured(row(3.0, 1.0, 0.5, 2.0), "weight", 2)
    exercise = predict_mask("Which?", layer, amount=1)
    assert [button.disabled for button in exercise.body.buttons] == [False, True, True, False]
    assert exercise.body.states == ("", "earlier", "earlier", "")
    press(exercise.body.buttons[3])
    assert exercise.check().right


def test_the_answer_comes_on_request_only() -> None:
    exercise = predict_mask("Which?", row(3.0, 1.0, 2.0), amount=1, hints=["By size.", "Not by sign."])
    assert exercise._hint_text.value == ""
    assert exercise.hint() == "By size."
    assert "Not by sign" not in exercise._hint_text.value
    assert exercise.hint() == exercise.hint() == "Not by sign."
    assert exercise._hint.disabled
    assert exercise.body.states == ("", "", "")
    assert exercise.reveal() == "1 of 3 weights go; the cells show which."
    assert exercise.body.states == ("", "missed", "")


def test_channels_are_pressed_along_a_dim() -> None:
    layer = nn.Conv2d(2, 3, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(1.0, 25.0).reshape(3, 2, 2, 2))
    exercise = predict_channels("Which?", layer, method="ln_structured", amount=1, dim=1)
    bands = exercise.body
    assert "×" not in bands._table.value
    press(bands.buttons[0][0])
    assert bands._table.value.count("× ") == 8
    assert "output channels; here `dim=1`" in exercise.check().text
    assert bands._table.value.count("! ") == 8
    bands.buttons[0][0].set_state({"value": False})
    press(bands.buttons[1][0])
    assert bands._table.value.count("× ") == 12
    assert exercise.check().right
    assert bands._table.value.count("✓ ") == 12
    assert exercise.reveal() == "Along dim 1, of the input channels: 0."


def test_a_number_and_a_choice() -> None:
    number = ask_number("How many?", 2, {3: "Half goes to the even."})
    number.body.predict("3")
    assert "last change" not in number._said.value, "nothing was said yet"
    assert number.check().text == "Not yet. Half goes to the even."
    number.body.predict("2")
    assert number.check().right
    assert number.reveal() == "The answer is 2."
    assert ask_number("How many?", 13_856).reveal() == "The answer is 13,856."
    choice = ask_choice("Which?", ["rows", "columns"], "rows", {"columns": "Dim 0 runs down."}, why="So.")
    assert choice.check().text == "Please choose one of the answers."
    choice.body.predict("columns")
    assert "Before your last change: Please choose" in choice._said.value
    assert choice.check().text == "Not yet. Dim 0 runs down."
    assert choice.reveal() == "The answer is “rows”. So."


def test_text_of_the_page_stays_text() -> None:
    exercise = ask_number("Is `a < b`?", 1, {2: "<b>no</b>"})
    assert "<code>a &lt; b</code>" in exercise.children[0].value
    exercise.body.predict("2")
    exercise.check()
    assert "<b>" not in exercise._said.value


def test_too_large_a_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 144 weights to be shown, got 169"):
        predict_mask("Which?", nn.Linear(13, 13), amount=1)
    with pytest.raises(ValueError, match="at most 144"):
        predict_channels("Which?", nn.Linear(13, 13), method="ln_structured", amount=1)


def test_a_table() -> None:
    assert table(["a", "b"], [[1, 2]]).splitlines()[-1] == "| 1 | 2 |"
