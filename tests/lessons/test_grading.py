"""Right answers pass, plausible wrong ones are told the misconception, garbage gets a sentence."""

import math

import pytest
import torch
import torch.nn.utils.prune as oracle
from torch import Tensor, nn

import prunescope.prune as prune
from prunescope.core.errors import RequestError
from prunescope.lessons.feedback import ChoiceQuestion, NumberQuestion
from prunescope.lessons.prediction import ChannelQuestion, MaskQuestion, preview_layer

VALUES = [[0.9, -0.1, 0.4], [-0.8, 0.2, -0.6], [0.05, 0.7, -0.3]]


def layer(values: list[list[float]] = VALUES) -> nn.Linear:
    weight = torch.tensor(values)
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = nn.Parameter(weight)
    return linear


def goes(*places: tuple[int, int], shape: tuple[int, int] = (3, 3)) -> Tensor:
    mask = torch.ones(shape, dtype=torch.bool)
    for place in places:
        mask[place] = False
    return mask


@pytest.mark.parametrize("amount", [1, 3, 0.3, 0.5, 1.0])
def test_the_right_mask_is_the_one_torch_makes(amount: float) -> None:
    question = MaskQuestion(preview_layer(layer(), amount=amount))
    theirs = oracle.l1_unstructured(layer(), "weight", amount).weight_mask.bool()
    answer = question.grade(theirs)
    assert (answer.right, answer.text) == (True, "Right: exactly these go.")


@pytest.mark.parametrize(
    ("amount", "predicted", "hint"),
    [
        (3, goes((1, 0), (1, 2), (2, 2)), "ranks by magnitude, and −0.8 is larger than 0.05"),
        (2, goes((0, 0), (1, 0)), "You marked the largest"),
        (2, ~goes((2, 0), (0, 1)), "You marked what stays"),
        (
            0.5,
            goes((2, 0), (0, 1), (1, 1), (2, 2), (0, 2)),
            "0.5 of 9 is 4.5, and that is rounded to",
        ),
        (0.3, goes((2, 0), (0, 1)), "0.3 of 9 is 2.7, and that is rounded to the nearest"),
        (1, torch.zeros(3, 3, dtype=torch.bool), "`1` is a count"),
        (1.0, goes((2, 0)), "`1.0` is a fraction: all of them"),
        (3, goes((2, 0)), "which is too few"),
        (1, goes((2, 0), (0, 1)), "which is too many"),
        (2, goes((2, 0), (2, 1)), "The number is right, but one of them stays"),
        (2, goes(), "Nothing is marked yet"),
    ],
)
def test_a_wrong_mask_is_told_why(amount: float, predicted: Tensor, hint: str) -> None:
    answer = MaskQuestion(preview_layer(layer(), amount=amount)).grade(predicted)
    assert not answer.right
    assert hint in answer.text


def test_earlier_pruning_counts() -> None:
    pruned = prune.l1_unstructured(layer(), "weight", 0.5)
    question = MaskQuestion(preview_layer(pruned, amount=0.5))
    theirs = oracle.l1_unstructured(oracle.l1_unstructured(layer(), "weight", 0.5), "weight", 0.5)
    assert question.grade(theirs.weight_mask.bool()).right
    half_of_all = oracle.l1_unstructured(layer(), "weight", 8).weight_mask.bool()
    assert "taken of what is left, 5, not of all 9" in question.grade(half_of_all).text


CHANNELS = [[3.0, -3.0, 0.1], [1.0, 1.0, 1.2], [0.5, 0.5, 4.5]]


def test_channels_of_torch_are_right_and_others_are_told_why() -> None:
    question = ChannelQuestion(preview_layer(layer(CHANNELS), method="ln_structured", amount=1, n=2, dim=0))
    theirs = oracle.ln_structured(layer(CHANNELS), "weight", 1, 2, 0).weight_mask
    gone = {row for row in range(3) if not theirs[row].any()}
    assert question.grade({0: gone, 1: set()}).right
    told = {
        "lowest sum": {0: {0}},
        "largest norm; the smallest go": {0: {2}},
        "along dim 1, the input features; here `dim=0`": {1: {0}},
        "along one dim only": {0: {1}, 1: {0}},
        "You marked what stays": {0: {0, 2}},
        "too many": {0: {0, 1}},
        "No channel is marked yet": {0: set(), 1: set()},
    }
    for hint, chosen in told.items():
        answer = question.grade(chosen)
        assert not answer.right
        assert hint in answer.text


def test_the_channel_of_another_norm_is_named() -> None:
    rows = [[2.0, 2.0], [3.5, 0.0], [9.0, 9.0]]
    question = ChannelQuestion(preview_layer(layer(rows), method="ln_structured", amount=1, n=1, dim=0))
    assert question.channels == {1}
    assert "by the norm of order 2; here n = 1" in question.grade({0: {0}}).text


def test_an_unstructured_method_has_no_channels_to_choose() -> None:
    with pytest.raises(ValueError, match="`method` must remove whole channels, got 'l1_unstructured'"):
        ChannelQuestion(preview_layer(layer(), amount=1))


def test_bad_requests_are_refused() -> None:
    with pytest.raises(RequestError, match="`amount` must be"):
        preview_layer(layer(), amount=99)
    with pytest.raises(TypeError, match="colour"):
        preview_layer(layer(), colour="blue")


@pytest.mark.parametrize("text", ["0.75", "75 %", "75%", " 3/4 ", ".75", "7.5e-1"])
def test_a_number_can_be_written_in_many_ways(text: str) -> None:
    assert NumberQuestion(0.75).grade(text).right


def test_a_wrong_number_is_told_why() -> None:
    question = NumberQuestion(0.75, {1.0: "Half of what is left is not half of all."})
    assert question.grade("100 %").text == "Not yet. Half of what is left is not half of all."
    assert question.grade("0.5").text == "Not yet: that is too small."
    assert question.grade("−2").text == "Not yet: that is too small."
    assert question.grade("2").text == "Not yet: that is too large."


@pytest.mark.parametrize(
    "text", ["", "  ", "many", "nan", "inf", "1/0", "--1", "9" * 100_000, "<b>1</b>", "1e999", "%"]
)
def test_garbage_gets_a_sentence(text: str) -> None:
    answer = NumberQuestion(math.pi).grade(text)
    assert not answer.right
    assert answer.text.startswith("Please answer with a number")


def test_a_mistake_that_is_right_by_chance_is_right() -> None:
    assert NumberQuestion(2, {2: "wrong"}).grade("2").right


def test_choices() -> None:
    question = ChoiceQuestion(("a", "b", "c"), "a", {"b": "No: b is later."})
    assert question.grade("a").right
    assert question.grade("b").text == "Not yet. No: b is later."
    assert question.grade("c").text == "Not yet."
    assert question.grade(None).text == "Please choose one of the answers."
    with pytest.raises(ValueError, match="`answer` must be among the choices 'a', 'b', got 'z'"):
        ChoiceQuestion(("a", "b"), "z")
    with pytest.raises(ValueError, match="`mistakes` must be among"):
        ChoiceQuestion(("a", "b"), "a", {"z": ""})
