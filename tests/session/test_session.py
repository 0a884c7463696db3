import copy
import random
import threading
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.utils.prune as oracle
from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.spec import PruneSpec
from prunescope.measure import Accuracy
from prunescope.measure.states import accuracy, evaluate, known_accuracy
from prunescope.session import Session
from prunescope.sources import Source, demo_source, module_source


class Noisy(nn.Module):
    """Draws, counts its calls, and behaves otherwise in training: all that an evaluation must not do."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        torch.rand(3)
        return self.drop(self.norm(self.fc(x)))


def data(examples: int = 300) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(examples, 4, generator=generator), torch.arange(examples) % 3


def preview_of(session: Session, **changes: object) -> Preview:
    return session.preview(session.resolve(replace(session.first_spec, **changes), frozenset(changes)))


def state_of(model: nn.Module) -> Mapping[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_the_model_is_read_never_written() -> None:
    model = Noisy().train()
    model.fc(torch.ones(2, 4)).sum().backward()
    before, gradient, parameters = state_of(model), model.fc.weight.grad.clone(), list(model.parameters())
    torch.manual_seed(5)
    random_state = torch.get_rng_state()

    session = Session(module_source(model, data()))
    for method in ("l1_unstructured", "random_unstructured", "ln_structured", "random_structured"):
        accuracy(session, preview_of(session, method=method, amount=0.5))
    accuracy(session)

    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(now is then for now, then in zip(model.parameters(), parameters, strict=True))
    assert torch.equal(model.fc.weight.grad, gradient)
    assert model.training
    assert model.drop.training
    assert not model._forward_pre_hooks
    assert not model.fc._forward_pre_hooks


@pytest.mark.parametrize("key", ["cnn", "mlp", "vit", "lstm"])
def test_accuracy_is_that_of_the_model_torch_prunes(key: str) -> None:
    source = demo_source(key)
    session = Session(source)
    spec = PruneSpec(source.layer, "ln_structured", amount=0.5)
    measured = accuracy(session, session.preview(session.resolve(spec)))
    pruned = copy.deepcopy(source.model)
    module, _, name = source.layer.rpartition(".")
    oracle.ln_structured(pruned.get_submodule(module), name, 0.5, 2, 0)
    inputs, targets = source.data
    with torch.no_grad():
        right = int((pruned(inputs).argmax(1) == targets).sum())
    assert measured == Accuracy(right, len(targets))
    assert measured != accuracy(session)


def test_pruning_that_is_there_already_stays_in_the_evaluation() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
    inputs, _ = data()
    targets = model(inputs).argmax(1)
    oracle.l1_unstructured(model[0], "weight", 6)
    session = Session(module_source(model, (inputs, targets)))
    measured = accuracy(session, preview_of(session, layer="0", amount=3))
    expected = copy.deepcopy(session.tensors["0.weight"].weight)
    oracle.l1_unstructured(model[0], "weight", 3)
    assert int((model[0].weight_mask == 0).sum()) == 9
    with torch.no_grad():
        right = int((model(inputs).argmax(1) == targets).sum())
    assert measured.right == right
    assert torch.equal(model[0].weight_orig, expected)


def test_evaluation_counts_batch_by_batch() -> None:
    session = Session(module_source(nn.Linear(4, 3), data(300)))
    assert [counted.total for counted in evaluate(session)] == [128, 256, 300]
    assert list(evaluate(session)) == [], "known already"
    assert accuracy(session).total == 300


def test_several_inputs() -> None:
    inputs, targets = data()
    session = Session(module_source(nn.Bilinear(4, 4, 3), ((inputs, inputs), targets)))
    assert accuracy(session).total == 300


def test_training_on_is_seen_at_once() -> None:
    model = nn.Linear(4, 3)
    session = Session(module_source(model, data()))
    first, measured = preview_of(session, amount=6), accuracy(session)
    assert accuracy(session) is measured
    with torch.no_grad():
        model.weight.copy_(1 / model.weight)
    second = preview_of(session, amount=6)
    assert torch.equal(second.mask, ~first.mask)
    assert accuracy(session) is not measured


def test_amount_re_selects_from_the_ranking_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(module_source(nn.Linear(4, 3)))
    preview_of(session, amount=0.1)
    monkeypatch.setattr("prunescope.session.rankings.rank", lambda *_: pytest.fail("ranked again"))
    preview_of(session, amount=0.9)
    preview_of(session, amount=0.9, n=1)
    with pytest.raises(pytest.fail.Exception, match="ranked again"):
        preview_of(session, method="ln_structured")


def test_sparsity_of_the_model_counts_every_parameter_once() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    oracle.l1_unstructured(model[1], "weight", 2)
    session = Session(module_source(model))
    assert session.model_sparsity() == 2 / 23
    assert session.model_sparsity(preview_of(session, layer="0", amount=3)) == 5 / 23
    assert session.model_sparsity(preview_of(session, layer="1", amount=3)) == 5 / 23


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (nn.Linear(7, 3), "`data` could not be evaluated: mat1 and mat2 shapes cannot be multiplied"),
        (nn.Linear(4, 3, dtype=torch.float64), "`data` could not be evaluated: "),
        (
            nn.Sequential(nn.Linear(4, 3), nn.Unflatten(1, (3, 1))),
            "must answer with scores of shape (N, classes), got",
        ),
        (nn.LSTM(4, 3), "must answer with scores of shape (N, classes), got tuple"),
    ],
    ids=str,
)
def test_a_model_that_cannot_run_on_the_data_gets_a_sentence(model: nn.Module, sentence: str) -> None:
    session = Session(module_source(model, data()))
    with pytest.raises(RequestError) as caught:
        accuracy(session)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert preview_of(session, amount=0.5).pruned_units > 0


def test_without_data_there_is_no_accuracy() -> None:
    session = Session(Source(nn.Linear(4, 3), "mine"))
    assert list(evaluate(session)) == []
    with pytest.raises(RequestError, match="`data` must be given"):
        accuracy(session)


def test_weights_that_are_no_numbers_get_a_sentence() -> None:
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight[0, 0] = torch.nan
    session = Session(module_source(model))
    with pytest.raises(RequestError, match="^`layer` weight cannot be ranked: .*1 NaN") as caught:
        preview_of(session, amount=0.5)
    assert caught.value.parameter == "layer"


def torch_accuracy(model: nn.Module, inputs: Tensor, targets: Tensor) -> Accuracy:
    with torch.no_grad():
        return Accuracy(int((model.eval()(inputs).argmax(1) == targets).sum()), len(targets))


def perceptron() -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    inputs, _ = data()
    return model, inputs, model(inputs).argmax(1)


def test_a_mask_that_prunes_nothing_is_no_obstacle() -> None:
    model, inputs, targets = perceptron()
    oracle.identity(model[0], "weight")
    session = Session(module_source(model, (inputs, targets)))
    measured = accuracy(session, preview_of(session, layer="0", amount=1.0))
    oracle.l1_unstructured(model[0], "weight", 1.0)
    assert measured == torch_accuracy(model, inputs, targets)
    assert measured != Accuracy(len(targets), len(targets))


def test_a_tied_weight_is_pruned_where_torch_prunes_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    inputs, _ = data()
    targets = model(inputs).argmax(1)
    session = Session(module_source(model, (inputs, targets)))
    measured = accuracy(session, preview_of(session, layer="0", amount=0.5))
    oracle.l1_unstructured(model[0], "weight", 0.5)
    assert measured == torch_accuracy(model, inputs, targets)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x[:, None], x[:, None], x[:, None])[0][:, 0])


def test_a_weight_that_is_read_without_its_layer_is_pruned_too() -> None:
    torch.manual_seed(0)
    model = Attending()
    inputs, _ = data()
    with torch.no_grad():
        targets = model(inputs).argmax(1)
    oracle.l1_unstructured(model.attention.out_proj, "weight", 1)
    session = Session(module_source(model, (inputs, targets)))
    measured = accuracy(session, preview_of(session, layer="attention.out_proj", amount=1.0))
    assert measured != accuracy(session)
    model.attention.out_proj.weight = torch.zeros(4, 4)
    assert measured == torch_accuracy(model, inputs, targets)


class Scribbling(nn.Module):
    """Writes its weights, draws from every generator there is."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 3, max_norm=0.1)

    def forward(self, x: Tensor) -> Tensor:
        random.random()
        np.random.rand()  # noqa: NPY002
        torch.rand(1)
        return self.embed(x)


def test_a_forward_that_writes_and_draws_leaves_no_trace() -> None:
    model = Scribbling()
    before = model.embed.weight.detach().clone()
    states = random.getstate(), np.random.get_state()[2], torch.get_rng_state()  # noqa: NPY002
    session = Session(module_source(model, (torch.arange(10), torch.zeros(10, dtype=torch.int64))))
    accuracy(session, preview_of(session, amount=0.5))
    assert torch.equal(model.embed.weight, before)
    assert random.getstate() == states[0]
    assert np.random.get_state()[2] == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


def test_accuracy_is_that_of_eval_mode() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.9), nn.Linear(32, 3)).train()
    inputs, _ = data()
    targets = copy.deepcopy(model).eval()(inputs).argmax(1)
    assert accuracy(Session(module_source(model, (inputs, targets)))).fraction == 1.0


def test_a_model_that_changes_during_an_evaluation_is_not_measured() -> None:
    model, inputs, targets = perceptron()
    session = Session(module_source(model, (inputs, targets)))
    counted = evaluate(session)
    next(counted)
    with torch.no_grad():
        model[2].weight.neg_()
    with pytest.raises(RequestError, match="the model has changed since"):
        next(counted)
    assert known_accuracy(session) is None


def test_a_preview_of_another_state_of_the_model_is_not_measured() -> None:
    model, inputs, targets = perceptron()
    session = Session(module_source(model, (inputs, targets)))
    preview = preview_of(session, layer="0", amount=0.9)
    oracle.random_unstructured(model[0], "weight", 0.1)
    with pytest.raises(RequestError, match="the model has changed since"):
        accuracy(session, preview)


def test_norms_are_those_of_n() -> None:
    model, _, _ = perceptron()
    session = Session(module_source(model))
    for n in (2, 1, float("inf")):
        norms = preview_of(session, amount=0.1, n=n).norms.now
        assert torch.allclose(norms, torch.linalg.vector_norm(model[0].weight.detach(), n, dim=1))


def test_pruning_elsewhere_is_counted_at_once() -> None:
    model, _, _ = perceptron()
    session = Session(module_source(model))
    oracle.l1_unstructured(model[2], "weight", 1.0)
    assert session.model_sparsity(preview_of(session, layer="0", amount=0.0)) == 24 / session.parameters


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (nn.Linear(4, 3, device="meta"), "is on the meta device"),
        (torch.jit.script(nn.Linear(4, 3)), "must be a plain module, got a scripted one"),
    ],
    ids=["meta", "scripted"],
)
def test_a_model_without_numbers_or_python_is_refused(model: nn.Module, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        Session(module_source(model))


def test_a_model_that_cannot_be_copied_is_explored_without_accuracy() -> None:
    model, inputs, targets = perceptron()
    model.lock = threading.Lock()
    session = Session(module_source(model, (inputs, targets)))
    assert preview_of(session, amount=0.5).pruned_units == 16
    with pytest.raises(RequestError, match="^`model` cannot be copied.*its attribute lock is a lock"):
        accuracy(session)


def test_a_model_made_in_inference_mode_can_be_explored() -> None:
    with torch.inference_mode():
        model = nn.Linear(4, 3)
    session = Session(module_source(model))
    assert preview_of(session, amount=0.5).pruned_units == 6


def test_one_score_is_no_choice_of_classes() -> None:
    session = Session(module_source(nn.Linear(4, 1), data()))
    with pytest.raises(RequestError, match="a score for each of at least 2 classes, got 1"):
        accuracy(session)
