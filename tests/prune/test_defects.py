"""Where torch falls short: one row for each defect. Every row holds for us and fails for torch.

A row is a function of the pruning module; ``test_ours`` runs it on ours, and ``test_torch_fails`` makes sure
that it would notice torch's behaviour.
"""

import copy
import io
import math
import warnings

import pytest
import torch
import torch.nn.utils.prune as torch_prune
from torch import nn

import prunescope.prune as prunescope_prune

ROWS = {}


def row(check):
    ROWS[check.__name__] = check
    return check


def raises(kind, match=""):
    return pytest.raises(kind, match=match)


def linear(n=6, m=4):
    torch.manual_seed(0)
    return nn.Linear(n, m)


def state(module):
    """Everything a failed call must leave alone."""
    return (
        {k: (id(v), None if v is None else v.detach().clone()) for k, v in module._parameters.items()},
        {k: (id(v), v.clone()) for k, v in module._buffers.items()},
        list(module._forward_pre_hooks.items()),
        {k: id(v) for k, v in module.__dict__.items()},
    )


def assert_state(module, before):
    now = state(module)
    assert list(now[0]) == list(before[0])
    assert list(now[1]) == list(before[1])
    assert now[2:] == before[2:]
    for was, is_ in zip(before[:2], now[:2], strict=True):
        for key in was:
            assert was[key][0] == is_[key][0]
            assert was[key][1] is None or torch.equal(was[key][1], is_[key][1])


# A second prune that fails.


@row
def failed_second_prune_bad_dim(prune):
    layer = prune.l1_unstructured(linear(), "weight", 0.3)
    before = state(layer)
    with raises(IndexError):
        prune.ln_structured(layer, "weight", 1, n=2, dim=5)
    assert_state(layer, before)
    assert prune.is_pruned(layer)
    with torch.no_grad():
        layer.weight_orig.mul_(2)
    layer(torch.ones(1, 6))
    assert torch.equal(layer.weight, layer.weight_orig * layer.weight_mask)
    prune.remove(layer, "weight")


@row
def failed_second_prune_amount_too_big(prune):
    layer = prune.l1_unstructured(linear(), "weight", 0.3)
    before = state(layer)
    with raises(ValueError):
        prune.l1_unstructured(layer, "weight", 10_000)
    assert_state(layer, before)


@row
def failed_prune_inside_a_container_leaves_its_history(prune):
    layer = prune.l1_unstructured(linear(), "weight", 0.3)
    prune.l1_unstructured(layer, "weight", 0.3)
    with raises(ValueError):
        prune.l1_unstructured(layer, "weight", 10_000)
    (hook,) = layer._forward_pre_hooks.values()
    assert len(hook) == 2


# Copies.


@row
def deepcopy_of_a_pruned_module(prune):
    layer = prune.l1_unstructured(linear(), "weight", 0.5)
    copied = copy.deepcopy(layer)
    assert prune.is_pruned(copied)
    x = torch.randn(2, 6)
    assert torch.equal(copied(x), layer(x))
    copied(x).sum().backward()
    assert layer.weight_orig.grad is None
    with torch.no_grad():
        copied.weight_orig.zero_()
        copied.weight_mask.zero_()
    assert layer(x).ne(copied(x)).any()
    assert prune.is_pruned(prune.remove(copied, "weight")) is False
    assert prune.is_pruned(layer)


# Memory formats.


@row
def channels_last_weight(prune):
    conv, plain = (nn.Conv2d(4, 4, 3) for _ in range(2))
    plain.load_state_dict(conv.state_dict())
    conv = conv.to(memory_format=torch.channels_last)
    for module in (conv, plain):
        prune.l1_unstructured(module, "weight", 0.4)
        torch.manual_seed(1)
        prune.random_unstructured(module, "weight", 0.4)
    assert torch.equal(conv.weight_mask, plain.weight_mask)


@row
def channels_last_weight_random_first(prune):
    conv, plain = (nn.Conv2d(4, 4, 3) for _ in range(2))
    plain.load_state_dict(conv.state_dict())
    conv = conv.to(memory_format=torch.channels_last)
    for module in (conv, plain):
        torch.manual_seed(1)
        prune.random_unstructured(module, "weight", 0.4)
    assert torch.equal(conv.weight_mask, plain.weight_mask)


@row
def transposed_weight(prune):
    layer, plain = linear(), linear()
    values = torch.randn(6, 4)
    layer.weight = nn.Parameter(values.t())
    plain.weight = nn.Parameter(values.t().contiguous())
    for module in (layer, plain):
        prune.l1_unstructured(module, "weight", 0.4)
    assert torch.equal(layer.weight_mask, plain.weight_mask)


# Norms.


@row
def fro_on_convolutions(prune):
    a, b = (nn.Conv2d(4, 6, 3) for _ in range(2))
    b.load_state_dict(a.state_dict())
    prune.ln_structured(a, "weight", 0.5, n="fro", dim=0)
    prune.ln_structured(b, "weight", 0.5, n=2, dim=0)
    assert torch.equal(a.weight_mask, b.weight_mask)


@row
def nuc_on_convolutions(prune):
    conv = prune.ln_structured(nn.Conv2d(4, 6, 3), "weight", 0.5, n="nuc", dim=0)
    assert int((conv.weight_mask.sum(dim=(1, 2, 3)) == 0).sum()) == 3


@row
def nuc_where_a_channel_is_no_matrix(prune):
    with raises(ValueError, "'nuc' needs channels that are matrices"):
        prune.ln_structured(linear(), "weight", 0.5, n="nuc", dim=0)


@row
def norm_of_none(prune):
    with raises(TypeError, "`n` must be a number, inf, -inf, 'fro' or 'nuc', got None"):
        prune.LnStructured(0.5, n=None)


@row
def norm_of_unknown_name(prune):
    with raises(ValueError, "`n` must be a number, inf, -inf, 'fro' or 'nuc', got 'abc'"):
        prune.LnStructured(0.5, n="abc")


# dim and amount.


@row
def dim_below_range(prune):
    for step in (
        lambda m: prune.ln_structured(m, "weight", 1, n=2, dim=-3),
        lambda m: prune.random_structured(m, "weight", 1, dim=-3),
    ):
        with raises(IndexError, r"`dim` must be between -2 and 1 for a tensor of shape \(4, 6\), got -3"):
            step(linear())


@row
def amount_true(prune):
    for make in (prune.L1Unstructured, prune.RandomUnstructured, prune.RandomStructured):
        with raises(TypeError, "`amount` must be a float"):
            make(True)
    with raises(TypeError, "`amount` must be a float"):
        prune.LnStructured(True, n=2)


@row
def amount_nan(prune):
    for make in (prune.L1Unstructured, prune.RandomUnstructured, prune.RandomStructured):
        with raises(ValueError, "`amount` must be a float"):
            make(math.nan)


# Numbers that are no numbers.


@row
def masked_nan_is_zero(prune):
    for gone in (math.nan, math.inf, -math.inf):
        layer = linear(3, 1)
        layer.weight.data = torch.tensor([[gone, -2.0, -1.0]])
        prune.custom_from_mask(layer, "weight", torch.tensor([[0, 0, 1]]))
        assert layer.weight.tolist() == [[0.0, 0.0, -1.0]]
        assert layer(torch.ones(1, 3)).isfinite().all()
        assert prune.remove(layer, "weight").weight.tolist() == [[0.0, 0.0, -1.0]]


@row
def masked_nan_is_zero_in_prune(prune):
    mask = torch.tensor([0.0, 1.0])
    assert prune.CustomFromMask(mask).prune(torch.tensor([math.nan, 2.0])).tolist() == [0.0, 2.0]


@row
def nan_scores_are_refused(prune):
    layer = linear()
    with torch.no_grad():
        layer.weight[0, 0] = math.nan
    for step in (
        lambda: prune.l1_unstructured(layer, "weight", 0.5),
        lambda: prune.ln_structured(layer, "weight", 1, n=2, dim=0),
        lambda: prune.global_unstructured([(layer, "weight")], prune.L1Unstructured, amount=0.5),
    ):
        with raises(ValueError, "1 NaN among"):
            step()
    assert not prune.is_pruned(layer)


@row
def infinite_scores_are_flagged(prune):
    layer = linear()
    with torch.no_grad():
        layer.weight[0, 0] = math.inf
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prune.l1_unstructured(layer, "weight", 0.5)
    assert any("1 of 24 scores are infinite" in str(w.message) for w in caught)


# Dtypes.


@row
def half_norms_do_not_overflow(prune):
    layer = linear(2, 2).half()
    layer.weight.data = torch.tensor([[60000.0, 60000.0], [50000.0, 50000.0]]).half()
    norms = prune._compute_norm(layer.weight.detach(), 1, 0)
    assert norms.isfinite().all()
    prune.ln_structured(layer, "weight", 1, n=1, dim=0)
    assert layer.weight_mask.tolist() == [[1.0, 1.0], [0.0, 0.0]]


def _frozen(dtype):
    layer = linear()
    values = torch.tensor([[-128, 3, 5, 7, 9, 11]] * 4).to(torch.float32).to(dtype)
    layer.weight = nn.Parameter(values, requires_grad=False)
    return layer


@row
def int8_weights(prune):
    mask = prune.l1_unstructured(_frozen(torch.int8), "weight", 4).weight_mask
    assert mask.dtype == torch.int8
    assert mask.sum(0).tolist() == [4, 0, 4, 4, 4, 4]
    layer = prune.ln_structured(_frozen(torch.int8), "weight", 1, n=2, dim=1)
    assert layer.weight_mask.sum(0).tolist() == [4, 0, 4, 4, 4, 4]
    prune.random_unstructured(_frozen(torch.int8), "weight", 4)


@row
def float8_weights(prune):
    layer = prune.l1_unstructured(_frozen(torch.float8_e4m3fn), "weight", 4)
    assert layer.weight_mask.float().sum(0).tolist() == [4, 0, 4, 4, 4, 4]
    assert layer.weight.dtype == torch.float8_e4m3fn
    prune.ln_structured(layer, "weight", 1, n=2, dim=1)
    prune.random_unstructured(layer, "weight", 2)
    prune.random_structured(layer, "weight", 1, dim=0)
    prune.remove(layer, "weight")
    assert layer.weight.dtype == torch.float8_e4m3fn


# Exactly k.


@row
def random_structured_prunes_exactly_k_on_ties(prune):
    torch.manual_seed(0)
    real = torch.rand
    try:
        torch.rand = lambda *args, **kwargs: (real(*args, **kwargs) * 3).floor() / 3
        mask = prune.RandomStructured(5, dim=0).compute_mask(torch.ones(20, 2), torch.ones(20, 2))
    finally:
        torch.rand = real
    assert int((mask.sum(1) == 0).sum()) == 5


# Randomness.


@row
def generator(prune):
    for step in (
        lambda m, **kw: prune.random_unstructured(m, "weight", 0.5, **kw),
        lambda m, **kw: prune.random_structured(m, "weight", 0.5, 0, **kw),
        lambda m, **kw: prune.global_unstructured(
            [(m, "weight")], prune.RandomUnstructured, amount=0.5, **kw
        ),
    ):
        a, b = linear(), linear()
        torch.manual_seed(5)
        step(a)
        before = torch.get_rng_state()
        step(b, generator=torch.Generator().manual_seed(5))
        assert torch.equal(before, torch.get_rng_state())
        assert torch.equal(a.weight_mask, b.weight_mask)


# Global pruning.


@row
def global_scores_of_another_shape(prune):
    a, b = linear(6, 4), linear(4, 6)
    scores = {(a, "weight"): torch.rand(4 * 6), (b, "weight"): torch.rand(4, 6)}
    with raises((AssertionError, ValueError), "importance_scores"):
        prune.global_unstructured(
            [(a, "weight"), (b, "weight")], prune.L1Unstructured, importance_scores=scores, amount=3
        )


@row
def global_from_a_generator(prune):
    net = nn.Sequential(linear(), linear(4, 3))
    prune.global_unstructured(((m, "weight") for m in net), prune.L1Unstructured, amount=0.5)
    assert sum(int((m.weight_mask == 0).sum()) for m in net) == 18


@row
def global_from_model_parameters(prune):
    with raises(TypeError, r"`parameters` must be \(module, name\) pairs such as \(model.fc, 'weight'\)"):
        prune.global_unstructured(linear().parameters(), prune.L1Unstructured, amount=0.5)


@row
def global_tied_weight_counts_once(prune):
    a, b, c = linear(4, 4), linear(4, 4), linear(4, 4)
    b.weight = a.weight
    with torch.no_grad():
        c.weight.add_(10)
    pairs = [(m, "weight") for m in (a, b, c)]
    prune.global_unstructured(pairs, prune.L1Unstructured, amount=16)
    assert int((a.weight_mask == 0).sum()) == 16
    assert int((c.weight_mask == 0).sum()) == 0
    assert b.weight_orig is a.weight_orig
    assert torch.equal(a.weight_mask, b.weight_mask)


@row
def global_with_a_wrong_name_changes_nothing(prune):
    a, b = linear(), linear()
    before = state(a), state(b)
    with raises(AttributeError, "wieght"):
        prune.global_unstructured([(a, "weight"), (b, "wieght")], prune.L1Unstructured, amount=0.5)
    with raises(TypeError, "bias"):
        prune.global_unstructured(
            [(a, "weight"), (nn.Linear(2, 2, bias=False), "bias")], prune.L1Unstructured, amount=0.5
        )
    assert_state(a, before[0])
    assert_state(b, before[1])


@row
def global_stopping_half_way_changes_nothing(prune):
    class Stubborn(nn.Linear):
        def register_buffer(self, *args, **kwargs):
            raise RuntimeError("no buffers here")

    a, b = linear(), Stubborn(6, 4)
    before = state(a), state(b)
    with raises(RuntimeError, "no buffers here"):
        prune.global_unstructured([(a, "weight"), (b, "weight")], prune.L1Unstructured, amount=0.5)
    assert_state(a, before[0])
    assert_state(b, before[1])


@row
def global_leaving_almost_nothing_warns(prune):
    a, b = linear(20, 20), linear(20, 20)
    with torch.no_grad():
        b.weight.add_(100)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prune.global_unstructured([(a, "weight"), (b, "weight")], prune.L1Unstructured, amount=0.499)
    (warning,) = (str(w.message) for w in caught if w.category is UserWarning)
    assert "almost nothing" in warning
    assert "keeps 1 of 400" in warning


@row
def nine_global_rounds_save_one_mask(prune):
    def size(rounds):
        net = nn.Sequential(linear(200, 200), linear(200, 200))
        for _ in range(rounds):
            prune.global_unstructured([(m, "weight") for m in net], prune.L1Unstructured, amount=0.2)
        file = io.BytesIO()
        torch.save(net, file)
        return file.tell()

    assert size(9) < size(1) * 1.05


# Containers.


@row
def container_of_nothing(prune):
    container = prune.PruningContainer()
    method = prune.L1Unstructured(1)
    method._tensor_name = "weight"
    container.add_pruning_method(method)
    assert container._tensor_name == "weight"


@row
def container_of_two(prune):
    x, y = prune.L1Unstructured(1), prune.L1Unstructured(2)
    x._tensor_name = y._tensor_name = "weight"
    assert list(prune.PruningContainer(x, y)) == [x, y]


@row
def container_of_a_list(prune):
    x, y = prune.L1Unstructured(1), prune.L1Unstructured(2)
    x._tensor_name = y._tensor_name = "weight"
    container = prune.PruningContainer([x, y])
    assert list(container) == [x, y]
    assert container._tensor_name == "weight"


# Custom masks.


@row
def custom_mask_is_binary(prune):
    layer = linear(2, 1)
    before = state(layer)
    for values in ([0.5, 1.0], [2.0, 1.0], [math.inf, 1.0], [math.nan, 0.0], [-1.0, 0.0], [1e-30, 1.0]):
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
            mask = torch.tensor([values], dtype=dtype)
            if mask[0, 0] != 0:
                with raises(ValueError, "`mask` must be binary"):
                    prune.custom_from_mask(layer, "weight", mask)
    with raises(ValueError, "`mask` must be binary"):
        prune.custom_from_mask(layer, "weight", torch.tensor([[2, 1]]))
    assert_state(layer, before)


@row
def custom_mask_is_copied(prune):
    mask = torch.tensor([[0.0, 1.0]])
    method = prune.CustomFromMask(mask)
    mask.fill_(1)
    assert method.compute_mask(torch.ones(1, 2), torch.ones(1, 2)).tolist() == [[0.0, 1.0]]


# Names and order.


@row
def missing_bias(prune):
    layer = nn.Linear(2, 2, bias=False)
    before = state(layer)
    with raises(TypeError, "has no such parameter: 'bias' is None"):
        prune.l1_unstructured(layer, "bias", 0.5)
    assert_state(layer, before)


@row
def remove_keeps_the_order(prune):
    layer = linear()
    prune.remove(prune.l1_unstructured(layer, "weight", 0.5), "weight")
    assert [n for n, _ in layer.named_parameters()] == ["weight", "bias"]
    assert list(layer.state_dict()) == ["weight", "bias"]


@row
def remove_keeps_the_order_of_many(prune):
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    for order in (names, names[::-1], names[2:] + names[:2]):
        lstm = nn.LSTM(3, 3)
        for name in names[1:] + names[:1]:
            prune.l1_unstructured(lstm, name, 0.5)
        for name in order:
            prune.remove(lstm, name)
        assert [n for n, _ in lstm.named_parameters()] == names


# Attention.


def attention():
    torch.manual_seed(0)
    return nn.MultiheadAttention(4, 2), torch.randn(3, 2, 4)


@row
def attention_projection_is_never_stale(prune):
    mha, x = attention()
    prune.l1_unstructured(mha.out_proj, "weight", 0.5)
    optimizer = torch.optim.SGD(mha.parameters(), lr=0.5)
    before = mha(x, x, x)[0]
    before.sum().backward()
    optimizer.step()
    after = mha(x, x, x)[0]
    assert not torch.equal(before, after)
    expected, _ = attention()
    expected.load_state_dict(
        {k: v for k, v in mha.state_dict().items() if "out_proj.weight" not in k}
        | {"out_proj.weight": mha.out_proj.weight_orig.detach() * mha.out_proj.weight_mask}
    )
    assert torch.equal(after, expected(x, x, x)[0])


@row
def attention_projection_second_backward(prune):
    mha, x = attention()
    prune.l1_unstructured(mha.out_proj, "weight", 0.5)
    for _ in range(2):
        mha(x, x, x)[0].sum().backward()
    with torch.no_grad():
        mha.eval()
        mha.out_proj.weight_orig.mul_(3)
        assert torch.equal(mha.out_proj.weight, mha.out_proj.weight_orig * mha.out_proj.weight_mask)
    kind = type(nn.MultiheadAttention(4, 2).out_proj)
    prune.l1_unstructured(mha.out_proj, "weight", 0.5)
    prune.remove(copy.deepcopy(mha).out_proj, "weight")
    prune.remove(mha.out_proj, "weight")
    assert type(mha.out_proj) is kind
    assert [n for n, _ in mha.out_proj.named_parameters()] == ["weight", "bias"]


@row
def attention_projection_pruned_by_torch_is_mended_by_pruning_again(prune):
    mha, x = attention()
    torch_prune.l1_unstructured(mha.out_proj, "weight", 0.5)
    prune.l1_unstructured(mha.out_proj, "weight", 0.5)
    before = mha(x, x, x)[0]
    with torch.no_grad():
        mha.out_proj.weight_orig.mul_(2)
    assert not torch.equal(before, mha(x, x, x)[0])
    prune.remove(mha.out_proj, "weight")


# Checkpoints.


@row
def pruned_checkpoint_into_a_plain_model(prune):
    source = nn.Sequential(linear(), nn.ReLU(), linear(4, 3))
    prune.l1_unstructured(source[0], "weight", 0.5)
    target = nn.Sequential(linear(), nn.ReLU(), linear(4, 3))
    with torch.no_grad():
        for p in target.parameters():
            p.zero_()
    keys = prune.load_pruned_state_dict(target, source.state_dict())
    assert keys.missing_keys == keys.unexpected_keys == []
    assert list(target.state_dict()) == list(source.state_dict())
    assert torch.equal(target[0].weight, source[0].weight)
    x = torch.randn(2, 6)
    assert torch.equal(target(x), source(x))


@row
def plain_checkpoint_into_a_pruned_model(prune):
    source, target = linear(), prune.l1_unstructured(linear(), "weight", 0.5)
    with torch.no_grad():
        source.weight.add_(1)
    mask = target.weight_mask.clone()
    prune.load_pruned_state_dict(target, source.state_dict())
    assert torch.equal(target.weight_orig, source.weight)
    assert torch.equal(target.weight_mask, mask)
    assert torch.equal(target.weight, source.weight * mask)


# Forward passes.


@row
def masked_forward_is_reused(prune):
    layer = prune.l1_unstructured(linear(), "weight", 0.5).eval()
    x = torch.ones(1, 6)
    with torch.no_grad():
        layer(x)
        first = layer.weight
        layer(x)
        assert layer.weight is first
        layer.weight_orig.mul_(2)
        layer(x)
        assert layer.weight is not first


# Selection by partition; its time is shown by tests/benchmarks/engine.py.


@row
def selection_does_not_call_topk(prune):
    calls = []
    real = torch.topk
    try:
        torch.topk = lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs)
        prune.l1_unstructured(linear(), "weight", 0.5)
    finally:
        torch.topk = real
    assert not calls


# Computed weights.


@row
def weight_norm_is_refused_with_a_sentence(prune):
    layer = nn.utils.parametrizations.weight_norm(linear())
    with raises((TypeError, AttributeError), "computed by a parametrization"):
        prune.l1_unstructured(layer, "weight", 0.5)
    assert not prune.is_pruned(layer)


@pytest.mark.parametrize("name", ROWS)
def test_ours(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ROWS[name](prunescope_prune)


@pytest.mark.parametrize("name", ROWS)
def test_torch_fails(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ROWS[name](torch_prune)
        except (Exception, pytest.fail.Exception):
            return
    pytest.fail(f"torch passes {name}: the row shows no defect")
