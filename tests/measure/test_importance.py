"""The scores of the criteria: equal to what is worked out by hand or by brute force."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from prunescope.core.criteria import CRITERIA, Importance
from prunescope.core.errors import RequestError
from prunescope.export import code, load_plan, plan, pruned_model, save
from prunescope.measure.importance import BATCH, ensure_scores, score, scored_preview
from prunescope.session import Session
from prunescope.sources import checkpoint_source, module_source


class Last(nn.Module):
    """Answers with the last hidden state of an LSTM, read out."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def linear() -> tuple[nn.Module, Tensor]:
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), torch.randn(100, 6)


def convolution() -> tuple[nn.Module, Tensor]:
    layers = nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    return nn.Sequential(*layers), torch.randn(100, 2, 6, 6)


def recurrent() -> tuple[nn.Module, Tensor]:
    return Last(), torch.randn(100, 7, 5)


MODELS = [linear, convolution, recurrent]


def opened(make, **more: object) -> Session:
    torch.manual_seed(0)
    model, inputs = make()
    return Session(module_source(model, (inputs, torch.arange(len(inputs)) % 3), **more))


def scores(session: Session, criterion: str, name: str) -> Importance:
    ensure_scores(session, criterion)
    found = session.criteria.known(criterion)
    assert found is not None
    importance = found[name]
    assert isinstance(importance, Importance), importance
    return importance


def gradients(session: Session, name: str) -> list[tuple[Tensor, Tensor]]:
    """Return gradient and weight for each batch, by autograd."""
    model = session.source.module.eval()
    inputs, targets = session.source.data
    pairs = []
    for rows in (slice(0, BATCH), slice(BATCH, None)):
        model.zero_grad()
        F.cross_entropy(model(inputs[rows]), targets[rows]).backward()
        weight = model.get_parameter(name)
        pairs.append((weight.grad.clone(), weight.detach()))
    model.zero_grad(set_to_none=True)
    return pairs


@pytest.mark.parametrize("make", MODELS)
def test_taylor_and_fisher_are_autograds(make) -> None:
    session = opened(make)
    for name, tensor in session.tensors.items():
        if len(tensor.shape) == 1:
            continue  # A shift of zero times any gradient is nothing to rank.
        taylor, fisher = scores(session, "taylor", name), scores(session, "fisher", name)
        pairs = gradients(session, name)
        assert torch.allclose(taylor.weights, sum((g * w).abs() for g, w in pairs) / 2, atol=1e-8)
        square = sum(g.square() for g, _ in pairs) / 2
        assert torch.allclose(fisher.weights, square * pairs[0][1].square() / 2, atol=1e-9)
        for dim in range(len(tensor.shape)):
            rest = [axis for axis in range(len(tensor.shape)) if axis != dim]
            by_hand = sum((g * w).sum(rest).square() for g, w in pairs) / 2
            assert torch.allclose(taylor.channels[dim], by_hand, atol=1e-9)


def test_the_model_and_the_random_state_are_left_as_found() -> None:
    session = opened(convolution)
    model = session.source.module
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    for criterion in ("taylor", "wanda", "fisher", "activation", "batchnorm"):
        ensure_scores(session, criterion)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_wanda_of_a_linear_layer_is_brute_force() -> None:
    session = opened(linear)
    inputs = session.source.data[0]
    weight = session.tensors["0.weight"].weight
    by_hand = torch.tensor(
        [[abs(float(weight[i, j])) * float(inputs[:, j].norm()) for j in range(6)] for i in range(5)]
    )
    assert torch.allclose(scores(session, "wanda", "0.weight").weights, by_hand, rtol=1e-5)


@pytest.mark.parametrize(
    "how",
    [
        {"groups": 2},
        {"stride": (2, 3)},
        {"dilation": 2, "padding": 1},
        {"padding": "same", "dilation": 2, "padding_mode": "reflect"},
        {"groups": 4, "stride": 2, "padding": (1, 0), "padding_mode": "circular"},
    ],
    ids=str,
)
def test_wanda_of_a_convolution_is_brute_force_through_im2col(how: dict) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, (3, 2), **how)
    inputs = torch.randn(70, 4, 9, 10)
    session = Session(module_source(layer, example=inputs))
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)
    columns = F.unfold(padded, (3, 2), dilation=layer.dilation, stride=layer.stride)
    norms = columns.transpose(0, 1).reshape(4, 3, 2, -1).norm(dim=-1)
    share = 4 // layer.groups
    by_hand = torch.empty_like(layer.weight)
    for out in range(8):
        group = out // (8 // layer.groups)
        met = norms[group * share : (group + 1) * share]
        by_hand[out] = layer.weight.detach()[out].abs() * met
    found = scores(session, "wanda", "weight")
    assert torch.allclose(found.weights, by_hand.detach(), rtol=1e-4)
    outputs = layer(inputs).detach().abs().movedim(1, 0).flatten(1).mean(1)
    assert torch.allclose(scores(session, "activation", "weight").channels[0], outputs, rtol=1e-5)


def test_batch_norm_is_found_in_a_traced_run_and_none_behind_is_a_state() -> None:
    torch.manual_seed(0)
    model, inputs = convolution()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([0.5, -2.0, 1.0, 0.1]))
    session = Session(module_source(model, example=inputs))
    assert scores(session, "batchnorm", "0.weight").channels[0].tolist() == pytest.approx(
        [0.5, 2.0, 1.0, 0.1]
    )
    found = session.criteria.known("batchnorm")
    assert found["4.weight"] == "has no batch-norm after it"
    spec = replace(session.first_spec, layer="4.weight", criterion="batchnorm", method="ln_structured")
    with pytest.raises(RequestError, match="no scores here: 4.weight has no batch-norm after it"):
        session.resolve(spec, frozenset({"criterion"}))
    resolved = session.resolve(spec, frozenset({"layer"}))
    assert resolved.spec.criterion == "weight"
    assert "4.weight has no batch-norm after it" in resolved.notes["criterion"]
    pruned = scored_preview(session, session.resolve(replace(spec, layer="0.weight", amount=2)))
    assert pruned.mask.flatten(1).any(1).tolist() == [False, True, True, False]
    assert pruned.threshold == 0.5
    assert pruned.norms.label == "batch-norm scale |γ|"


def test_not_a_number_and_gradients_of_zero_are_a_sentence() -> None:
    session = opened(linear)
    with torch.no_grad():
        session.source.module[2].weight.zero_()
    ensure_scores(session, "taylor")
    assert "all zero" in str(session.criteria.known("taylor")["0.weight"])
    with torch.no_grad():
        session.source.module[2].weight.fill_(float("nan"))
    assert session.criteria.known("taylor") is None, "the model has changed"
    ensure_scores(session, "taylor")
    assert "not finite" in str(session.criteria.known("taylor")["0.weight"])


@pytest.mark.parametrize("criterion", [key for key in CRITERIA if key != "weight"])
def test_what_is_needed_and_not_there_is_a_sentence(criterion: str) -> None:
    session = Session(module_source(nn.Linear(4, 3)))
    with pytest.raises(RequestError, match=f"`criterion` {criterion} needs") as caught:
        session.resolve(replace(session.first_spec, criterion=criterion), frozenset({"criterion"}))
    assert caught.value.parameter == "criterion"


def test_scores_are_computed_once_and_can_be_given_up() -> None:
    session = opened(linear)
    work = score(session, "taylor")
    assert next(work) == 0.5
    work.close()
    assert session.criteria.known("taylor") is None
    spec = replace(session.first_spec, criterion="taylor")
    with pytest.raises(RequestError, match="waits for its scores"):
        session.preview(session.resolve(spec))
    first = scored_preview(session, session.resolve(spec))
    calls: list[int] = []
    session.source.module.register_forward_hook(lambda *_: calls.append(1))
    before = session.criteria.known("taylor")
    for amount in (0.1, 0.9):
        scored_preview(session, session.resolve(replace(spec, amount=amount)))
    assert session.criteria.known("taylor") is before
    assert calls == []
    assert first.scores.label == "Taylor |g·w|"
    assert first.threshold == pytest.approx(float(before["0.weight"].weights.flatten().sort().values[8]))


@pytest.mark.parametrize("criterion", [key for key in CRITERIA if key not in ("weight", "given")])
@pytest.mark.parametrize("method", ["l1_unstructured", "ln_structured", "grouped_unstructured"])
def test_exported_code_gives_the_same_masks_to_the_bit(criterion: str, method: str, tmp_path) -> None:
    session = opened(convolution)
    for amount in (0.25, 0.5):
        spec = replace(session.first_spec, criterion=criterion, method=method, amount=amount)
        session.apply(scored_preview(session, session.resolve(spec, frozenset({"criterion"}))))
    mask = session.history.masks()["0.weight"]
    assert torch.equal(pruned_model(session)[0].weight_mask.bool(), mask)
    again = opened(convolution)
    load_plan(again, plan(session))
    assert torch.equal(again.history.masks()["0.weight"], mask)
    for engine in ("torch", "prunescope"):
        script = code(session, engine=engine)
        path = save(session, engine, tmp_path / f"{engine}.py", overwrite=True)
        if engine == "prunescope":
            assert "importance_scores=scores['step 1: 0.weight']" in script
        assert path.read_text() == script
        names: dict[str, object] = {}
        exec(script, names)
        torch.manual_seed(0)
        pruned = names["apply_pruning"](
            convolution()[0], *([tmp_path / "scores.safetensors"] if "scores[" in script else [])
        )
        assert torch.equal(pruned[0].weight_mask.bool(), mask)


def test_a_pool_is_ranked_by_the_scores_of_all() -> None:
    session = opened(linear)
    spec = replace(session.first_spec, criterion="fisher", method="global_unstructured", amount=0.5)
    preview = scored_preview(session, session.resolve(spec))
    flat = torch.cat([scores(session, "fisher", name).weights.flatten() for name in ("0.weight", "2.weight")])
    mask = torch.cat([preview.masks[name].flatten() for name in ("0.weight", "2.weight")])
    assert torch.equal(mask, flat > preview.threshold)
    session.apply(preview)
    script = code(session)
    assert "importance_scores={\n" in script


def test_given_scores_rank_what_they_cover() -> None:
    torch.manual_seed(0)
    model = linear()[0]
    own = torch.arange(30.0).reshape(5, 6)
    session = Session(module_source(model, importance_scores={"0.weight": -own}))
    spec = replace(session.first_spec, criterion="given", amount=3)
    preview = scored_preview(session, session.resolve(spec))
    assert preview.mask.flatten().tolist() == [False] * 3 + [True] * 27
    with pytest.raises(RequestError, match="2.weight is not among the scores given"):
        session.resolve(replace(spec, layer="2.weight"), frozenset({"criterion"}))
    by_function = Session(
        module_source(model, importance_scores=lambda module, name: getattr(module, name).detach().abs())
    )
    same = scored_preview(by_function, by_function.resolve(spec)).mask
    assert torch.equal(same, by_function.preview(by_function.resolve(replace(spec, criterion="weight"))).mask)
    wrong = Session(module_source(model, importance_scores=torch.ones(2)))
    with pytest.raises(RequestError, match=r"of 0.weight must have shape \(5, 6\), got \(2,\)"):
        scored_preview(wrong, wrong.resolve(spec))


class Answer:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Tokens(nn.Module):
    """Token ids to an output with ``.logits``, as transformers' models answer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(11, 6), nn.Linear(6, 3)

    def forward(self, ids: Tensor) -> Answer:
        return Answer(self.head(self.embedding(ids).mean(1)))


def test_token_ids_and_outputs_with_logits() -> None:
    torch.manual_seed(0)
    data = torch.randint(11, (40, 5)), torch.arange(40) % 3
    session = Session(module_source(Tokens(), data))
    assert scores(session, "taylor", "embedding.weight").weights.shape == (11, 6)
    assert torch.isfinite(scores(session, "taylor", "head.weight").weights).all()
    assert "defined only for those" in str(
        (ensure_scores(session, "wanda"), session.criteria.known("wanda"))[1]["embedding.weight"]
    )


def test_a_loaders_batches_are_its_own_and_dicts_hold_labels() -> None:
    torch.manual_seed(0)
    model, ids, labels = Tokens(), torch.randint(11, (40, 5)), torch.arange(40) % 3
    sizes = (7, 13, 20)
    batches = [
        {"ids": rows, "labels": wanted}
        for rows, wanted in zip(ids.split(sizes), labels.split(sizes), strict=True)
    ]
    session = Session(module_source(model, batches))
    shares = list(score(session, "taylor"))
    assert shares[-3:] == [1 / 3, 2 / 3, 1.0]
    by_hand = torch.zeros_like(model.head.weight)
    for batch in batches:
        loss = F.cross_entropy(model(batch["ids"]).logits, batch["labels"])
        (gradient,) = torch.autograd.grad(loss, [model.head.weight])
        by_hand += (gradient * model.head.weight).detach().abs() / len(batches)
    assert torch.allclose(scores(session, "taylor", "head.weight").weights, by_hand, atol=1e-8)


@pytest.mark.parametrize("loader", [False, True])
def test_regression_takes_the_loss_that_is_given(loader: bool) -> None:
    torch.manual_seed(0)
    model, inputs, targets = nn.Linear(6, 2), torch.randn(20, 6), torch.randn(20, 2)
    data = [(inputs[:5], targets[:5]), (inputs[5:], targets[5:])] if loader else (inputs, targets)
    session = Session(module_source(model, data, loss=F.mse_loss))
    by_hand = []
    for rows in (slice(0, 5), slice(5, None)) if loader else (slice(None),):
        (gradient,) = torch.autograd.grad(F.mse_loss(model(inputs[rows]), targets[rows]), [model.weight])
        by_hand.append((gradient * model.weight).detach().abs())
    expected = torch.stack(by_hand).mean(0)
    assert torch.allclose(scores(session, "taylor", "weight").weights, expected, atol=1e-7)


def test_scores_of_weights_become_a_channels_by_the_norm_and_that_is_said() -> None:
    session = opened(linear)
    spec = replace(session.first_spec, method="ln_structured", criterion="fisher", n=1, amount=2)
    preview = scored_preview(session, session.resolve(spec))
    assert preview.norms.label == "L1 norm of Fisher ½ g²·w²"
    sums = scores(session, "fisher", "0.weight").weights.sum(1)
    assert torch.allclose(preview.norms.now, sums)
    assert set((~preview.mask).any(1).nonzero().flatten().tolist()) == set(sums.argsort()[:2].tolist())
    taylor = scored_preview(session, session.resolve(replace(spec, criterion="taylor")))
    assert taylor.norms.label == "Taylor (Σ g·w)²"
    assert torch.equal(taylor.norms.now, scores(session, "taylor", "0.weight").channels[0])


def test_a_checkpoint_has_no_code_to_run(tmp_path) -> None:
    save_file({"fc.weight": torch.randn(4, 3)}, tmp_path / "model.safetensors")
    session = Session(checkpoint_source(tmp_path / "model.safetensors"))
    for criterion in ("taylor", "wanda", "fisher", "batchnorm", "activation"):
        with pytest.raises(RequestError, match="needs a network to run, and a checkpoint only has weights"):
            session.resolve(replace(session.first_spec, criterion=criterion), frozenset({"criterion"}))


def test_given_scores_that_are_not_finite_are_a_sentence() -> None:
    model = linear()[0]
    session = Session(module_source(model, importance_scores={"0.weight": torch.full((5, 6), torch.nan)}))
    ensure_scores(session, "given")
    assert "not finite" in session.criteria.known("given")["0.weight"]
    with pytest.raises(RequestError, match="no scores here: 0.weight has scores that are not finite"):
        session.resolve(replace(session.first_spec, criterion="given"), frozenset({"criterion"}))


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("make", MODELS)
def test_on_a_gpu_scores_are_those_of_the_cpu(make, device: str) -> None:
    if not {"cuda": torch.cuda, "mps": torch.backends.mps}[device].is_available():
        pytest.skip(f"no {device} here")
    here = opened(make)
    model, data = here.source.module, here.source.data
    there = Session(module_source(model.to(device), tuple(each.to(device) for each in data)))
    for criterion in ("taylor", "fisher", "wanda", "activation"):
        for name, found in _scored(there, criterion).items():
            expected = _scored(here, criterion)[name]
            assert isinstance(found, str) == isinstance(expected, str)
            if not isinstance(found, str) and found.weights is not None:
                assert torch.allclose(found.weights.cpu(), expected.weights.cpu(), rtol=1e-3, atol=1e-6)


def _scored(session: Session, criterion: str) -> dict[str, Importance | str]:
    ensure_scores(session, criterion)
    found = session.criteria.known(criterion)
    assert found is not None
    return dict(found)
