import math
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from prunescope.core.errors import RequestError
from prunescope.measure import Metrics, evaluated

MODEL = nn.Linear(2, 2)


def raising(model: nn.Module) -> float:
    raise KeyError("no such\nkey")


def fail_with(error: type[Exception], model: nn.Module) -> float:
    raise error


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        (0.5, {"evaluate": 0.5}),
        (3, {"evaluate": 3.0}),
        (np.float32(0.5), {"evaluate": 0.5}),
        (np.array([2.0]), {"evaluate": 2.0}),
        (torch.tensor(0.25), {"evaluate": 0.25}),
        (torch.tensor([1.5], requires_grad=True), {"evaluate": 1.5}),
        (math.inf, {"evaluate": math.inf}),
        ({"loss": 1, "top 5": torch.tensor(0.5)}, {"loss": 1.0, "top 5": 0.5}),
    ],
)
def test_numbers_of_every_kind_are_taken(answer: object, values: dict[str, float]) -> None:
    assert evaluated(lambda model: answer, MODEL) == Metrics(values)


@pytest.mark.parametrize(
    ("answer", "came"),
    [
        (math.nan, "got NaN"),
        (torch.tensor(math.nan), "got NaN"),
        (None, "got NoneType"),
        ("0.5", "got str"),
        (1j, "got complex"),
        (torch.zeros(2), "got Tensor"),
        ([0.5], "got list"),
        ({}, "got an empty dict"),
        ({3: 0.5}, "got the name 3"),
        ({" ": 0.5}, "got the name ' '"),
        ({"loss": math.nan}, "got NaN for 'loss'"),
        ({"loss": None}, "got NoneType for 'loss'"),
    ],
)
def test_anything_else_gets_a_sentence(answer: object, came: str) -> None:
    with pytest.raises(RequestError, match="^`evaluate` must return a number or a dict of numbers") as caught:
        evaluated(lambda model: answer, MODEL)
    assert str(caught.value).endswith(f"{came}.")
    assert caught.value.parameter == "evaluate"


def test_what_raises_is_named_in_one_line() -> None:
    with pytest.raises(RequestError, match=r"^`evaluate` raised KeyError: 'no such\\nkey'$"):
        evaluated(raising, MODEL)
    with pytest.raises(RequestError, match="^`evaluate` raised SystemExit: 3$"):
        evaluated(lambda model: sys.exit(3), MODEL)
    with pytest.raises(RequestError, match="^`evaluate` raised ValueError: no reason given$"):
        evaluated(partial(fail_with, ValueError), MODEL)


def test_a_number_goes_by_the_name_of_its_function() -> None:
    def validation_loss(model: nn.Module) -> float:
        return 0.5

    assert evaluated(validation_loss, MODEL).in_words == "validation_loss 0.5"
