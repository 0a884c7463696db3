"""Data as engineers have it becomes inputs and targets; what does not gets a sentence."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from prunescope.core.errors import RequestError
from prunescope.measure.states import accuracy
from prunescope.session import Session
from prunescope.sources import Batches, module_source

X = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(300) % 3


class Endless(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield X[0], Y[0]


class ByName(nn.Module):
    """Answers as language models do: by name, and with logits."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, ids: Tensor, scale: Tensor) -> dict[str, Tensor]:
        return {"logits": self.fc(ids) * scale}


PAIRS = list(zip(X.split(50), Y.split(50), strict=True))
GIVEN: dict[str, tuple[Any, int, str]] = {
    "tensors": ((X, Y), 300, ""),
    "arrays": ((X.double().numpy(), Y.numpy().astype(np.int32)), 300, ""),
    "dict": ({"x": X, "labels": Y}, 300, ""),
    "loader": (DataLoader(TensorDataset(X, Y), batch_size=40), 256, "the first 256 of 300 examples"),
    "dataset": (TensorDataset(X, Y), 256, "the first 256 of 300 examples"),
    "endless": (Endless(), 256, "the first 256 examples"),
    "list": (PAIRS, 256, "the first 256 examples"),
    "generator": ((pair for pair in PAIRS), 256, "the first 256 examples"),
    "dicts": ([{"x": x, "label": y} for x, y in PAIRS], 256, "the first 256 examples"),
    "two batches": (PAIRS[:2], 100, "the first 256 examples"),
}


class Any4(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


@pytest.mark.parametrize(("given", "count", "note"), GIVEN.values(), ids=GIVEN)
def test_the_same_accuracy_from_everything_that_holds_examples(given: Any, count: int, note: str) -> None:
    model = Any4()
    source = module_source(model, given)
    found = accuracy(Session(source))
    chosen = (X[:1].expand(256, 4), Y[:1].expand(256)) if isinstance(given, Endless) else (X, Y)
    right = int((model(chosen[0][:count]).argmax(1) == chosen[1][:count]).sum())
    assert (found.right, found.total) == (right, count)
    assert note in source.note


def test_a_loader_is_read_once_when_needed_and_says_how_far_it_is() -> None:
    read: list[int] = []

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for number, pair in enumerate(PAIRS):
            read.append(number)
            yield pair

    source = module_source(Any4(), batches(), max_examples=120)
    assert read == []
    assert source.has_inputs
    assert list(source.read()) == [50, 100, 120]
    assert read == [0, 1, 2]
    assert list(source.read()) == []
    assert torch.equal(source.inputs[0], X[:120])


def test_reading_leaves_the_random_states_alone() -> None:
    loader = DataLoader(TensorDataset(X, Y), batch_size=64, shuffle=True)
    model = Any4()
    before = torch.get_rng_state(), random.getstate()
    accuracy(Session(module_source(model, loader)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_inputs_by_name_and_logits() -> None:
    model, data = ByName(), {"ids": X, "scale": torch.ones(300, 1), "labels": Y}
    session = Session(module_source(model, [data]))
    expected = int((model(X, data["scale"])["logits"].argmax(1) == Y)[:256].sum())
    assert accuracy(session).right == expected


def test_a_loss_and_a_metric_measure_what_is_no_classification() -> None:
    model, targets = nn.Linear(4, 2), torch.zeros(300, 2)

    def furthest(answers: Tensor, targets: Tensor) -> dict[str, float]:
        return {"furthest": float((answers - targets).detach().abs().max())}

    for given in ((X, targets), DataLoader(TensorDataset(X, targets), batch_size=7)):
        source = module_source(model, given, loss=nn.functional.mse_loss, metric=furthest, max_examples=300)
        numbers = source.evaluate(model)
        assert numbers["mse_loss"] == pytest.approx(float((model(X) ** 2).mean().detach()), rel=1e-5)
        assert numbers["furthest"] == pytest.approx(float(model(X).detach().abs().max()), rel=1e-5)
        assert source.data is None
        assert source.inputs[0].shape == (300, 4)


def ending_early() -> Iterator[tuple[Tensor, Tensor]]:
    yield X[:10], Y[:10]
    raise OSError("disk gone")


WRONG: dict[str, tuple[Any, str]] = {
    "nothing": ([], "`data` has no batch: it ended before the first."),
    "raises": (ending_early(), "`data` raised OSError while it was read: disk gone"),
    "other shapes": (
        [(X[:10], Y[:10]), (X[:10, :2], Y[:10])],
        "batch 1 has 10×4 float32, batch 2 has 10×2 float32",
    ),
    "other counts": ([(X[:10], Y[:9])], "batch 1 has 10 and 9 examples"),
    "no targets": ([{"x": X}], "batch 1 is a dict of x"),
    "text": ([("a", "b")], "batch 1 has a str and a str"),
    "numbers": (iter([1, 2]), "batch 1 is a int"),
    "floats": ([(X, X[:, 0])], "give `loss` or `metric` for anything but classification"),
}


@pytest.mark.parametrize(("given", "sentence"), WRONG.values(), ids=WRONG)
def test_batches_that_are_none_get_a_sentence_as_often_as_asked(given: Any, sentence: str) -> None:
    session = Session(module_source(Any4(), given))
    for _ in range(2):
        with pytest.raises(RequestError) as caught:
            accuracy(session)
        assert sentence in str(caught.value)
        assert caught.value.parameter == "data"
    assert session.preview(session.resolve(session.first_spec)).pruned_units > 0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"data": (X, Y), "max_examples": 0}, "`max_examples` must be a count of at least 1, got 0"),
        (
            {"data": (X, Y), "loss": 3},
            "`loss` must be a function of the model's answer and the targets, got int",
        ),
        ({"metric": len}, "`metric` is measured on `data`: give both"),
        ({"data": "digits"}, "got str"),
        ({"train": (X, X)}, "`train` must be (inputs, targets)"),
    ],
)
def test_wrong_ways_to_ask(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        module_source(Any4(), **given)
    assert sentence in str(caught.value)


def test_training_goes_through_all_examples_in_an_order_of_its_own() -> None:
    training = module_source(Any4(), train=(X, Y)).train
    assert training is not None
    assert (training.examples, training.batches(64)) == (300, 5)
    first, again, other = (
        torch.cat([inputs[0] for inputs, _ in training.epoch(64, seed)]) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first.sort(0).values, X.sort(0).values)


def test_a_loader_to_train_on_is_gone_through_anew() -> None:
    training = module_source(Any4(), train=DataLoader(TensorDataset(X, Y), batch_size=100)).train
    assert training is not None
    assert (training.examples, training.batches(64)) == (300, 3)
    assert [len(list(training.epoch(64, seed))) for seed in (0, 1)] == [3, 3]


def test_batches_say_how_many_they_are() -> None:
    batches = Batches(PAIRS, most=1000)
    assert not batches.is_read
    assert len(batches.pair[1]) == 300
    assert batches.is_read
    assert batches.note == "Measured on the first 300 examples."
