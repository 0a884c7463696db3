"""Pruned weights stay zero whatever trains the rest; new weights are a step; a failure loses nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from prunescope.core.errors import RequestError
from prunescope.export import code, load_plan, plan, pruned_model, save
from prunescope.measure.states import accuracy
from prunescope.recover import (
    FineTuning,
    Recipe,
    Reestimation,
    fine_tune,
    reestimate_batchnorm,
    write_to_model,
)
from prunescope.recover.recipe import gradual_share
from prunescope.session import Session
from prunescope.sources import demo_source, module_source


def prune(session: Session, amount: float = 0.9, **spec: Any) -> None:
    step = replace(session.first_spec, method="global_unstructured", amount=amount, **spec)
    session.apply(session.preview(session.resolve(step)))


def drained(work: Any) -> Any:
    progress = None
    for progress in work.run():
        assert 0 <= progress.done <= 1
    return progress


def revived(session: Session, state: dict[str, Tensor]) -> int:
    return sum(int((state[name][~mask] != 0).sum()) for name, mask in session.history.masks().items())


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


X = torch.randn(320, 8, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0.5).long()


def session_of(**given: Any) -> Session:
    session = Session(module_source(network(), (X[:64], Y[:64]), train=(X[64:], Y[64:]), **given))
    prune(session, 0.6)
    return session


OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_none_is_revived_in_200_steps_nor_by_saving_and_loading(name: str, tmp_path: Path) -> None:
    session = session_of()
    work = FineTuning(session, Recipe(OPTIMIZERS[name], epochs=50))
    assert drained(work).step == 200
    assert work.revived == 0
    work.keep()
    assert revived(session, pruned_model(session, permanent=True).state_dict()) == 0
    save(session, "state_dict", tmp_path / "pruned.safetensors")
    loaded = safetensors.torch.load_file(tmp_path / "pruned.safetensors")
    assert revived(session, loaded) == 0
    again = network()
    again.load_state_dict(loaded)
    right = int((again.eval()(X[:64]).argmax(1) == Y[:64]).sum())
    assert accuracy(session, session.applied).right == right == work.curve[-1].accuracy.right


def test_nothing_but_the_session_knows_of_it() -> None:
    session = session_of()
    model, data = session.source.module, session.source.data
    before = {name: value.clone() for name, value in model.state_dict().items()}
    held_out = [part.clone() for part in data]
    python, numpy, torchs = random.getstate(), np.random.get_state()[1], torch.get_rng_state()  # noqa: NPY002
    fine_tune(session, epochs=3, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(part, was) for part, was in zip(data, held_out, strict=True))
    assert python == random.getstate()
    assert np.array_equal(numpy, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torchs, torch.get_rng_state())


def test_the_same_seed_trains_the_same_whatever_happens_between() -> None:
    found = []
    for noise in (False, True):
        session = session_of()
        work = FineTuning(session, Recipe(epochs=2, seed=5))
        for _ in work.run():
            if noise:
                torch.rand(3)
        work.keep()
        found.append(session.history.values())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_new_weights_are_a_step_that_is_undone_and_pruned_on() -> None:
    session = session_of()
    pruned = accuracy(session, session.applied)
    step = fine_tune(session, epochs=20, learning_rate=0.03, progress=False)
    assert accuracy(session, session.applied).right > pruned.right
    assert step.title == "fine_tune(optimizer='AdamW', learning_rate=0.03, epochs=20)"
    assert "0 pruned weights revived" in step.effect
    trained = session.tensor("0.weight").weight
    assert torch.equal(trained, step.values["0.weight"])
    more = replace(session.first_spec, layer="0.weight", method="l1_unstructured", amount=0.3)
    session.apply(session.preview(session.resolve(more)))
    kept = session.history.masks()["0.weight"]
    largest = trained.abs()[kept].min()
    assert torch.all(trained.abs()[~kept & session.history.steps[0].masks["0.weight"]] <= largest)
    assert torch.equal(pruned_model(session, permanent=True)[0].weight, trained * kept)
    session.jump(1)
    assert accuracy(session, session.applied) == pruned


def test_plans_and_code_say_that_they_cannot(tmp_path: Path) -> None:
    session = session_of()
    fine_tune(session, epochs=1, progress=False)
    text, history = plan(session), session.history
    assert [step["method"] for step in json.loads(text)["steps"]] == ["global_unstructured", "recovered"]
    with pytest.raises(RequestError, match=r'made new weights, which only save\("state_dict"\)'):
        load_plan(session, text)
    assert session.history is history
    assert 'made new weights, which only save("state_dict") and pruned_model() carry.' in code(session)
    compile(code(session), "script", "exec")


def test_gradual_pruning_ends_at_the_masks_of_the_steps() -> None:
    session = session_of()
    masks = session.history.masks()
    work = FineTuning(session, Recipe(epochs=10, pruning="gradual"))
    zeros = [sum(int((value == 0).sum()) for value in _weights(work, masks)) for _ in work.run()]
    assert zeros == sorted(zeros)
    assert len(set(zeros)) > 5, "it goes step by step"
    work.keep()
    assert revived(session, session.history.values()) == 0
    assert session.history.masks().keys() == masks.keys()
    assert [gradual_share(t) for t in (0, 1 / 2, 1, 2)] == [0, 7 / 8, 1, 1]


def _weights(work: FineTuning, masks: dict[str, Tensor]) -> Iterable[Tensor]:
    current = work._trainee.current()
    return [current[name] for name in masks]


def test_stopped_half_way_it_can_be_kept() -> None:
    session = session_of()
    work = FineTuning(session, Recipe(seconds=600, pruning="gradual"))
    steps = work.run()
    while work.step < 3:
        progress = next(steps)
    assert progress.done < 0.1
    steps.close()
    work.keep()
    assert revived(session, session.history.values()) == 0


class Stopping(nn.Module):
    """Has ``stop`` called in its third run that trains: in the forward pass, or in the backward."""

    def __init__(self, when: str) -> None:
        super().__init__()
        self.when, self.runs, self.later = when, 0, 0
        self.first, self.norm, self.last = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        self.runs += self.training
        now = self.training and self.runs == 3
        if now and self.when == "forward":
            STOP[0]()
        elif now:
            x.register_hook(lambda _: STOP[0]())
        x = self.last(x)
        self.later += now
        return x


STOP: list[Callable[[], None]] = []


@pytest.mark.parametrize("when", ["forward", "backward"])
@pytest.mark.parametrize("targets", ["labels", "dense"])
def test_to_stop_waits_for_one_operation_only_and_undoes_half_a_batch(when: str, targets: str) -> None:
    torch.manual_seed(0)
    session = Session(module_source(Stopping(when), (X[:64], Y[:64]), train=(X[64:], Y[64:])))
    prune(session, 0.6)
    history = session.history
    recipe = Recipe(epochs=2, targets=targets)
    work, whole = FineTuning(session, recipe), FineTuning(session, recipe)
    STOP[:] = [work.stop]
    with ThreadPoolExecutor(1) as thread:
        thread.submit(drained, work).result()
    model = work._trainee.model
    assert isinstance(model, Stopping)
    assert (work.step, model.runs, model.later) == (2, 3, int(when == "backward"))
    assert model.first.weight.grad is None
    steps = whole.run()
    while whole.step < 2:
        next(steps)
    state = whole._trainee.current()
    assert all(torch.equal(value, state[name]) for name, value in work._trainee.current().items())
    assert session.history is history
    work.keep()
    assert revived(session, session.history.values()) == 0


def test_batch_norm_that_is_stopped_is_not_half_estimated() -> None:
    session = Session(module_source(Stopping("forward"), (X[:64], Y[:64]), train=(X[64:], Y[64:])))
    prune(session, 0.6)
    work = Reestimation(session)
    work._trainee.model.norm.register_forward_hook(lambda *_: work.stop())
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lambda: list(work.run())).result() == []
    with pytest.raises(RequestError, match="no weight has changed"):
        work.keep()


def test_batch_norm_is_re_estimated_as_by_hand() -> None:
    session = session_of()
    step = reestimate_batchnorm(session, progress=False)
    assert set(step.values) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    masked = X[64:] @ (session.source.module[0].weight * session.history.masks()["0.weight"]).T
    masked = (masked + session.source.module[0].bias).detach()
    assert torch.allclose(step.values["1.running_mean"], masked.mean(0), atol=1e-5)
    batches = torch.stack([batch.var(0) for batch in _shuffled(masked)])
    assert torch.allclose(step.values["1.running_var"], batches.mean(0), rtol=0.1)


def _shuffled(values: Tensor) -> list[Tensor]:
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    return list(values[order].split(64))


@pytest.mark.slow
def test_a_demo_comes_nearly_back_at_90_percent() -> None:
    session = Session(demo_source("mlp"))
    prune(session)
    dense, pruned = accuracy(session), accuracy(session, session.applied)
    assert pruned.fraction < dense.fraction - 0.3
    fine_tune(session, epochs=30, learning_rate=0.01, progress=False)
    assert accuracy(session, session.applied).fraction >= dense.fraction - 0.02


def test_a_model_pruned_before_keeps_its_own_masks() -> None:
    model = network()
    nn.utils.prune.l1_unstructured(model[4], "weight", 0.5)
    session = Session(module_source(model, train=(X, Y)))
    fine_tune(session, epochs=3, optimizer="SGD", progress=False)
    trained = pruned_model(session, permanent=True)
    assert int((trained[4].weight == 0).sum()) == 24
    assert not torch.equal(trained[4].weight, model[4].weight)


def test_the_model_itself_is_written_when_asked() -> None:
    session = session_of()
    with pytest.raises(RequestError, match="`steps`: none is applied"):
        write_to_model(Session(session.source))
    fine_tune(session, epochs=2, progress=False)
    expected = pruned_model(session, permanent=True).state_dict()
    model = write_to_model(session)
    assert model is session.source.module
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_a_loader_and_a_loss_of_ones_own() -> None:
    targets = X[:, :1] * 2
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1))
    loader = DataLoader(TensorDataset(X, targets), batch_size=50, shuffle=True)
    session = Session(module_source(model, (X, targets), loss=nn.functional.mse_loss, train=loader))
    prune(session, 0.5)
    before = nn.functional.mse_loss(pruned_model(session, permanent=True)(X), targets)
    fine_tune(session, epochs=10, learning_rate=0.03, progress=False)
    after = nn.functional.mse_loss(pruned_model(session, permanent=True)(X), targets)
    assert after < before / 2


def raising(_parameters: Any) -> torch.optim.Optimizer:
    raise ValueError("no such thing")


class Breaks(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:
        raise RuntimeError("broken step")


def too_large(_answers: Tensor, _targets: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")


FAILURES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "nan": ({"loss": lambda a, t: a.sum() * torch.nan}, {}, "`fine_tune` stopped at step 1: the loss is nan"),
    "raises": ({}, {"optimizer": raising}, "`optimizer` raised ValueError: no such thing"),
    "breaks": ({}, {"optimizer": lambda p: Breaks(p, lr=1)}, "`optimizer` raised RuntimeError: broken step"),
    "none": ({}, {"optimizer": list}, "`optimizer` must return a torch.optim.Optimizer, got list"),
    "memory": ({"loss": too_large}, {}, "ran out of memory on 64 examples: give smaller batches"),
    "shape": ({"train": (X[:, :3].clone(), Y)}, {}, "could not run the model on a batch of `train`"),
    "ends": ({"train": iter([(X, Y)])}, {"epochs": 2}, "`train` has no batch in epoch 2: give a loader"),
}


@pytest.mark.parametrize(("given", "recipe", "sentence"), FAILURES.values(), ids=FAILURES)
def test_what_fails_says_so_and_loses_nothing(
    given: dict[str, Any], recipe: dict[str, Any], sentence: str
) -> None:
    session = Session(module_source(network(), (X, Y), **{"train": (X.clone(), Y), **given}))
    prune(session)
    history = session.history
    with pytest.raises(RequestError) as caught:
        fine_tune(session, progress=False, **{"epochs": 1, **recipe})
    assert sentence in str(caught.value)
    assert session.history is history


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({"epochs": 0}, "`epochs` must be a whole number of at least 1, got 0"),
        ({"epochs": 1, "seconds": 1}, "`epochs` and `seconds` both end the training"),
        ({"learning_rate": -1}, "`learning_rate` must be a number above 0, got -1"),
        ({"optimizer": "Adagrad"}, "`optimizer` must be one of 'AdamW', 'Adam', 'SGD', or a function"),
        ({"rates": "cosine"}, "`rates` must be one of 'rewind', 'constant', got 'cosine'"),
        ({"pruning": "never"}, "`pruning` must be one of 'one-shot', 'gradual', got 'never'"),
    ],
)
def test_recipes_that_are_none(recipe: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        Recipe(**recipe)
    assert sentence in str(caught.value)


def test_what_cannot_be_trained_says_why() -> None:
    session = Session(module_source(network(), (X, Y)))
    with pytest.raises(RequestError, match="`data` is held out, and never trained on"):
        FineTuning(session)
    with pytest.raises(RequestError, match="`train` must not be `data`"):
        fine_tune(session, (X, Y))
    with pytest.raises(RequestError, match="`train` must not be `data`"):
        fine_tune(session, (X[10:30], Y[10:30]))
    loader = DataLoader(TensorDataset(X, Y), batch_size=50)
    with pytest.raises(RequestError, match="`train` must not be `data`"):
        fine_tune(Session(module_source(network(), loader)), loader)
    with pytest.raises(RequestError, match="nothing is estimated on `data`"):
        Reestimation(session)
    with pytest.raises(RequestError, match="has no batch-norm"):
        Reestimation(Session(demo_source("mlp")))
    frozen = network().requires_grad_(False)
    with pytest.raises(RequestError, match="no parameter of this model has requires_grad"):
        FineTuning(Session(module_source(frozen, train=(X, Y))))
    session = session_of()
    work = FineTuning(session, Recipe(epochs=1))
    drained(work)
    session.undo()
    with pytest.raises(RequestError, match="`steps` have changed since this began"):
        work.keep()
