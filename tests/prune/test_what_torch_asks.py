"""What torch's own suite asks of a pruning module, on numbers small enough to check by hand.

Every case runs on torch's module as well, so that a wrong expectation shows.
"""

import io
import pickle
from unittest import mock

import pytest
import torch
import torch.nn.utils.prune as theirs
from torch import nn

import prunescope.prune as ours

both = pytest.mark.parametrize("prune", [theirs, ours], ids=["torch", "ours"])
anything = pytest.mark.parametrize(
    ("make", "name"),
    [(m, n) for m in (lambda: nn.Linear(5, 7), lambda: nn.Conv3d(2, 2, 2)) for n in ("weight", "bias")],
)
ROWS = torch.tensor([[1.0, 2, 3, 4], [-4, -3, -2, -1]])
KERNELS = torch.tensor([[[[1.0, 2], [1, 2.5]], [[0.5, 1], [0.1, 0.1]], [[-3, -5], [0.1, -1]]]])


def with_weight(values):
    layer = nn.Linear(values.shape[1], values.shape[0])
    layer.weight = nn.Parameter(values.clone())
    return layer


@both
@pytest.mark.parametrize(
    ("amount", "error"),
    [("I'm a string", TypeError), (1.1, ValueError), (20.0, ValueError), (-10, ValueError)],
)
def test_amounts_refused_at_once(prune, amount, error):
    with pytest.raises(error):
        prune._validate_pruning_amount_init(amount)
    with pytest.raises(error):
        prune.L1Unstructured(amount)


@both
def test_private_helpers(prune):
    for amount in (0.34, 1500, 0, 0.0, 1, 1.0):
        prune._validate_pruning_amount_init(amount=amount)
    with pytest.raises(ValueError, match="19"):
        prune._validate_pruning_amount(amount=20, tensor_size=19)
    for amount, size in ((0.3, 0), (19, 20), (0, 0), (1, 1)):
        prune._validate_pruning_amount(amount=amount, tensor_size=size)
    for amount, count in ((0, 0), (10, 10), (1, 1), (1.0, 15)):
        assert prune._compute_nparams_toprune(amount=amount, tensor_size=15) == count
    assert prune._compute_nparams_toprune(amount=0.4, tensor_size=17) == 7
    prune._validate_structured_pruning(torch.ones(2, 2))
    with pytest.raises(ValueError, match="tructured pruning"):
        prune._validate_structured_pruning(torch.ones(2))
    prune._validate_pruning_dim(torch.ones(2, 2), 1)
    with pytest.raises(IndexError):
        prune._validate_pruning_dim(torch.ones(2, 2), 2)
    assert torch.allclose(prune._compute_norm(torch.ones(4, 9), 2, 0), torch.full((4,), 3.0))


@both
@anything
def test_what_a_pruned_module_has(prune, make, name):
    module = make()
    tensor = getattr(module, name)
    with pytest.raises(ValueError, match="has to be pruned before"):
        prune.remove(module, name)
    prune.random_unstructured(module, name=name, amount=0.1)
    orig, mask, now = (getattr(module, name + suffix) for suffix in ("_orig", "_mask", ""))
    assert orig is tensor
    assert orig.shape == mask.shape == now.shape
    assert torch.equal(now, orig * mask)
    assert type(pickle.loads(pickle.dumps(module))) is type(module)
    assert name not in dict(module.named_parameters())
    prune.remove(module, name)
    assert getattr(module, name) is tensor
    assert torch.equal(tensor, now)
    assert not {name + "_orig", name + "_mask"} & set(module.state_dict())


@both
def test_a_mask_of_ones_changes_nothing(prune):
    layer, x = nn.Linear(5, 2), torch.ones(1, 5)
    before = layer(x)
    prune.identity(layer, name="weight")
    assert torch.equal(layer(x), before)
    layer(x).sum().backward()
    assert layer.weight_orig.grad.eq(1).all()
    assert layer.bias.grad.eq(1).all()


@both
def test_a_mask_put_in_by_a_mock(prune):
    mask = torch.ones(2, 5)
    mask[1, 0] = mask[0, 3] = 0
    layer, x = nn.Linear(5, 2), torch.ones(1, 5)
    with mock.patch.object(prune.RandomUnstructured, "compute_mask") as compute_mask:
        compute_mask.return_value = mask
        prune.random_unstructured(layer, name="weight", amount=0.9)
    layer(x).sum().backward()
    assert torch.equal(layer.weight_orig.grad, mask)
    before = layer.weight_orig.detach().clone()
    for p in layer.parameters():
        p.data.sub_(p.grad.data)
    assert torch.equal(layer.weight_orig == before, mask == 0)
    pruned = layer(x)
    prune.remove(layer, "weight")
    assert torch.equal(layer(x), pruned)


@both
@anything
def test_a_failure_leaves_the_module_alone(prune, make, name):
    module = make()
    broken = mock.patch.object(prune.L1Unstructured, "compute_mask", side_effect=Exception("HA!"))
    with broken, pytest.raises(Exception, match="HA!"):
        prune.l1_unstructured(module, name=name, amount=0.9)
    assert set(module.state_dict()) == {"weight", "bias"}
    assert name in dict(module.named_parameters())


@both
def test_several_calls_make_a_container(prune):
    module = nn.Conv3d(2, 2, 2)
    prune.l1_unstructured(module, name="weight", amount=0.1)
    first = module.weight_mask
    prune.ln_structured(module, name="weight", amount=0.3, n=2, dim=0)
    prune.ln_structured(module, name="weight", amount=0.1, n=float("inf"), dim=1)
    (hook,) = module._forward_pre_hooks.values()
    assert isinstance(hook, theirs.PruningContainer)
    assert hook._tensor_name == "weight"
    kinds = [theirs.L1Unstructured, theirs.LnStructured, theirs.LnStructured]
    assert all(isinstance(method, kind) for method, kind in zip(hook, kinds, strict=True))
    assert module.weight_mask[first == 0].eq(0).all()


@both
@pytest.mark.parametrize("scores", [None, torch.tensor([[4.0, 2, 1, 3], [-3, -1, -2, -4]])])
def test_magnitudes_round_by_round(prune, scores):
    layer = with_weight(ROWS)
    masks = {
        True: ([[0, 1, 1, 1], [1, 1, 1, 0]], [[0, 0, 1, 1], [1, 1, 0, 0]]),
        False: ([[1, 1, 0, 1], [1, 0, 1, 1]], [[1, 0, 0, 1], [1, 0, 0, 1]]),
    }[scores is None]
    for mask in masks:
        prune.l1_unstructured(layer, "weight", amount=2, importance_scores=scores)
        assert torch.equal(layer.weight, ROWS * torch.tensor(mask))


@both
def test_integers_with_many_ties(prune):
    t = 2 * torch.randint(-1, 2, (10, 7))
    mask = prune.L1Unstructured(0.2).compute_mask(t, default_mask=torch.ones_like(t))
    assert int((mask == 0).sum()) == 14


@both
def test_structured_by_hand(prune):
    t = torch.randn(5, 4, 2)
    mask = prune.RandomStructured(0.6, dim=2).compute_mask(t, default_mask=torch.ones_like(t))
    assert sorted((mask == 0).sum((0, 1)).tolist()) == [0, 20]
    scores = torch.tensor([[[[10.0, 1], [10, 1]], [[30, 3], [30, 3]], [[-20, -2], [-20, -2]]]])
    for given, channel, column in ((None, 1, 0), (scores, 0, 1)):
        conv = nn.Conv2d(3, 1, 2)
        conv.weight.data = KERNELS.clone()
        expected = torch.ones_like(KERNELS)
        expected[:, channel] = 0
        prune.ln_structured(conv, "weight", amount=1, n=2, dim=1, importance_scores=given)
        assert torch.equal(conv.weight_mask, expected)
        expected[..., column] = 0
        prune.ln_structured(conv, "weight", amount=1, n=1, dim=-1, importance_scores=given)
        assert torch.equal(conv.weight_mask, expected)


@both
def test_global_by_hand(prune):
    small = torch.tensor([[0.0, 0.1, -2]])
    scores = torch.tensor([[4.0, 2, 1, 3], [-3, -1, -2, -4]]), torch.tensor([[0.0, 10, -0.2]])
    for given, masks in (
        (None, ([[0, 1, 1, 1], [1, 1, 1, 0]], [[0, 0, 1]])),
        (scores, ([[1, 1, 0, 1], [1, 0, 1, 1]], [[0, 1, 0]])),
    ):
        pairs = tuple((with_weight(w), "weight") for w in (ROWS, small))
        chosen = None if given is None else dict(zip(pairs, given, strict=True))
        prune.global_unstructured(
            pairs, pruning_method=prune.L1Unstructured, importance_scores=chosen, amount=4
        )
        for (layer, _), weight, mask in zip(pairs, (ROWS, small), masks, strict=True):
            assert torch.equal(layer.weight, weight * torch.tensor(mask))


@both
def test_methods_on_their_own(prune):
    given = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 1]])
    before = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 1]])
    computed = prune.CustomFromMask(mask=given).compute_mask(torch.rand(2, 4), before)
    assert computed.tolist() == [[0, 0, 0, 0], [0, 0, 1, 1]]
    t = torch.arange(1.0, 9).reshape(2, 4)
    method, earlier = prune.L1Unstructured(amount=2), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 1]])
    for scores in (None, t):
        pruned = method.prune(t, earlier, importance_scores=scores)
        assert torch.equal(pruned, t * torch.tensor([[0, 0, 1, 0], [1, 1, 0, 1]]))
    scores = torch.tensor([[1.0, 2, 3, 4], [1.5, 1.6, 1.7, 1.8]])
    pruned = method.prune(t, earlier, importance_scores=scores)
    assert torch.equal(pruned, t * torch.tensor([[0, 1, 1, 0], [0, 1, 0, 1]]))


@both
def test_recurrent_layers_hold_what_they_compute_with(prune):
    lstm = nn.LSTM(8, 8)
    prune.l1_unstructured(lstm, "weight_ih_l0", 0.5)
    assert sum(isinstance(p, nn.Parameter) for p in lstm._flat_weights) == 3
    prune.remove(lstm, "weight_ih_l0")
    assert sum(isinstance(p, nn.Parameter) for p in lstm._flat_weights) == 4
    assert isinstance(lstm._parameters["weight_ih_l0"], nn.Parameter)


@both
def test_files(prune):
    model = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 1))
    prune.l1_unstructured(module=model[0], name="weight", amount=0.9)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert torch.equal(loaded[0].weight, model[0].weight)
    pruned = model[0].weight
    prune.remove(module=model[0], name="weight")
    plain = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 1))
    plain.load_state_dict(model.state_dict())
    assert torch.equal(plain[0].weight, pruned)


@both
def test_the_masks_type_follows_the_scores_as_in_torch(prune):
    for step, dtype in (
        (lambda m, s: prune.l1_unstructured(m, "weight", 3, importance_scores=s), torch.float64),
        (lambda m, s: prune.ln_structured(m, "weight", 1, n=2, dim=0, importance_scores=s), torch.float32),
    ):
        layer, scores = nn.Linear(4, 3).double(), torch.rand(3, 4)
        step(layer, scores)
        assert layer.weight_mask.dtype == dtype
        step(layer, scores)
        assert layer.weight_mask.dtype == torch.float32
        with torch.no_grad():
            layer.eval()
            for _ in range(2):
                layer(torch.ones(1, 4, dtype=torch.float64))
        assert layer.weight.dtype == torch.float64
