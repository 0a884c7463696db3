"""Winning back what pruning has cost, in code: a step that is undone as one; another model in its place."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.errors import RequestError

X = torch.randn(320, 8, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0.5).long()
HELD_OUT, TRAIN = (X[:64], Y[:64]), (X[64:], Y[64:])


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def opened(model: nn.Module | None = None, **given: Any) -> Explorer:
    asked = {"data": HELD_OUT, "train": TRAIN, "layer": "0", "amount": 0.6, **given}
    return explore(network() if model is None else model, **asked)


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    explorer = opened()
    explorer.apply()
    yield explorer
    explorer.close()


def test_fine_tuning_is_one_step_undone_as_one(explorer: Explorer) -> None:
    mask, before = explorer.history.masks()["0.weight"], explorer.accuracy
    explorer.fine_tune(epochs=20, learning_rate=0.03, progress=False)
    assert [step.title for step in explorer.history.done][1:] == [
        "fine_tune(optimizer='AdamW', learning_rate=0.03, epochs=20)"
    ]
    trained = explorer.pruned_model(permanent=True)[0].weight
    assert bool((trained[~mask] == 0).all())
    assert explorer.accuracy[1].right > before[1].right
    explorer.undo()
    assert explorer.accuracy == before
    explorer.redo()
    assert torch.equal(explorer.pruned_model(permanent=True)[0].weight, trained)


def test_batch_norm_is_a_step_of_its_own(explorer: Explorer) -> None:
    explorer.reestimate_batchnorm(examples=128, progress=False)
    assert explorer.history.done[-1].effect.startswith("statistics of 1 batch-norms re-estimated on 128")
    mean = explorer.pruned_model(permanent=True)[1].running_mean
    explorer.undo()
    assert not torch.equal(explorer.pruned_model(permanent=True)[1].running_mean, mean)


def test_what_fails_leaves_the_explorer_as_it_was() -> None:
    explorer = opened(loss=lambda answer, _: answer.sum() * torch.nan)
    try:
        explorer.apply()
        history, preview = explorer.history, explorer.preview
        with pytest.raises(RequestError, match="the loss is nan"):
            explorer.fine_tune(epochs=1, progress=False)
        with pytest.raises(TypeError, match="epoch"):
            explorer.fine_tune(epoch=1)
        with pytest.raises(RequestError, match="`train` must not be `data`"):
            explorer.fine_tune(explorer.state.session.source.scored_pair, epochs=1, progress=False)
        assert explorer.history is history
        assert explorer.preview is preview
    finally:
        explorer.close()


def test_a_retrained_model_comes_under_the_same_steps_view_and_link() -> None:
    explorer = opened(method="ln_structured", amount=2)
    try:
        explorer.apply()
        explorer.keep_plan("two")
        explorer.request(amount=3, n=1, layer="3", front="costs")
        query, before = explorer.query, explorer.accuracy
        other = network(seed=5)
        explorer.reload(other)
        assert explorer.query == query
        assert list(explorer.plans) == ["two"]
        norms = other[0].weight.detach().norm(dim=1)
        assert set(norms.argsort()[:2].tolist()) == set(
            (~explorer.history.masks()["0.weight"]).all(1).nonzero().flatten().tolist()
        )
        assert explorer.accuracy != before
        right = int((other.eval()(HELD_OUT[0]).argmax(1) == HELD_OUT[1]).sum())
        assert explorer.accuracy[0].right == right
        explorer.undo()
        assert explorer.layer == "0.weight"
    finally:
        explorer.close()


def test_new_weights_are_left_out_of_a_reloaded_model(explorer: Explorer) -> None:
    explorer.fine_tune(epochs=1, progress=False)
    explorer.reload(network(seed=3))
    assert [step.title for step in explorer.history.done] == ["l1_unstructured(amount=0.6)"]
    assert explorer.snapshot.notes["steps"].startswith("Left out, since its weights were made for the other")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (nn.Sequential(nn.Linear(8, 17)), "0.weight has shape (17, 8), and had (16, 8)"),
        (nn.Linear(8, 3), "0.weight is missing"),
        ("weights.pt", "`model` must be a torch.nn.Module, got str"),
    ],
)
def test_another_architecture_is_refused(model: object, sentence: str, explorer: Explorer) -> None:
    snapshot, session = explorer.snapshot, explorer.state.session
    with pytest.raises(RequestError) as caught:
        explorer.reload(model)  # type: ignore[arg-type]
    assert sentence in str(caught.value)
    assert explorer.state.session is session
    assert explorer.preview is snapshot.preview


def test_a_copy_reloaded_changes_nothing(explorer: Explorer) -> None:
    mask = explorer.history.masks()["0.weight"]
    explorer.reload(copy.deepcopy(explorer.state.session.source.module))
    assert torch.equal(explorer.history.masks()["0.weight"], mask)


def test_plan_link_and_code_say_that_they_cannot_hold_new_weights(explorer: Explorer) -> None:
    explorer.fine_tune(epochs=1, progress=False)
    query, plan, done = explorer.query, explorer.plan(), explorer.history.done
    sentence = 'made new weights, which only save("state_dict") and pruned_model() carry'
    assert sentence in explorer.code()
    with pytest.raises(RequestError, match=re.escape(sentence)):
        explorer.load_plan(plan)
    problem = explorer.open_link(query)
    assert sentence in str(problem)
    assert explorer.history.done == done


def test_ones_own_model_is_written_only_when_one_asks(explorer: Explorer) -> None:
    model = explorer.state.session.source.module
    before = copy.deepcopy(model.state_dict())
    explorer.fine_tune(epochs=2, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    expected = explorer.pruned_model(permanent=True).state_dict()
    assert explorer.write_to_model() is model
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
