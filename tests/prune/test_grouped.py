"""Pruning within groups, against a count by hand."""

import math
from typing import Any

import pytest
import torch
import torch.nn.utils.prune as torch_prune
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import prunescope.prune as prune

law = settings(max_examples=60, deadline=None)
DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.int8, torch.int64,
]  # fmt: skip


def by_hand(t, default, amount, group, dim):
    """Return the boolean mask, one element at a time."""
    axes = [d % t.dim() for d in (dim if isinstance(dim, tuple) else (dim,))]
    others = [d for d in range(t.dim()) if d not in axes]
    places = torch.arange(t.numel()).reshape(t.shape).permute(others + axes)
    length = math.prod(t.shape[d] for d in axes)
    values, mask = t.to(torch.float64).reshape(-1).abs().tolist(), default.reshape(-1).tolist()
    for row in places.reshape(-1, group or length).tolist():
        left = [i for i in row if mask[i]]
        k = prune.units_to_prune(amount, len(left))
        # A stable sort: ties by lowest index.
        for i in sorted(left, key=lambda i: values[i])[:k]:
            mask[i] = False
    return torch.tensor(mask).reshape(t.shape)


@st.composite
def cases(draw):
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    dim = axes[0] - len(shape) if len(axes) == 1 and draw(st.booleans()) else tuple(axes)
    length = math.prod(shape[d] for d in axes)
    group = draw(st.sampled_from([None, *(m for m in range(1, length + 1) if length % m == 0)]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    t = (torch.randn(shape, generator=generator) * 3).round().to(draw(st.sampled_from(DTYPES)))
    layout = draw(st.sampled_from(["plain", "transposed", "channels_last"]))
    if layout == "transposed":
        t = t.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "channels_last" and t.dim() == 4:
        t = t.contiguous(memory_format=torch.channels_last)
    default = torch.rand(shape, generator=generator) > draw(st.sampled_from([-1, 0.3, 2]))
    return t, default, group, dim


@law
@given(cases(), st.floats(0, 1))
def test_every_group_loses_its_share_the_lowest_first(case, amount):
    t, default, group, dim = case
    expected = by_hand(t, default, amount, group, dim)
    method = prune.GroupedUnstructured(amount, group, dim)
    before = default.clone()
    computed = method.compute_mask(t, default.to(torch.float32))
    assert computed.dtype == torch.float32
    assert torch.equal(computed.bool(), expected)
    ranking = prune.GroupedUnstructured(0.9, group, dim).rank_groups(t, default)
    assert torch.equal(ranking.mask(amount), expected)
    assert ranking.units == int(default.sum())
    assert ranking.pruned(amount) == int((default & ~expected).sum())
    if default.all():
        alone = method.selected(t, None)
        assert alone.dtype == t.dtype
        assert torch.equal(alone.float().bool(), expected)
    assert torch.equal(default, before)


@law
@given(cases(), st.data())
def test_more_never_keeps_what_less_has_pruned(case, data):
    t, _, group, dim = case
    ranking = prune.GroupedUnstructured(0.5, group, dim).rank_groups(t)
    more = data.draw(st.integers(0, ranking.groups.size))
    less = data.draw(st.integers(0, more))
    assert not (ranking.mask(more) & ~ranking.mask(less)).any()
    assert ranking.pruned(more) * ranking.groups.size == more * t.numel()
    assert prune.pattern_breaks(ranking.mask(more), ranking.groups.size - more, ranking.groups.size, dim) == 0


@pytest.mark.parametrize("group", [2, 4, 16, 17, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_many_groups_are_cut_as_by_a_sort(group, dtype):
    t = torch.randn(2000, group * 20, generator=torch.Generator().manual_seed(0)).to(dtype)
    t[::3] = t[::3].round()
    for k in (0, 1, group // 2, group):
        rows = t.abs().float().view(-1, group)
        order = rows.argsort(dim=1, stable=True)
        expected = torch.ones(rows.shape).scatter_(1, order[:, :k], 0).view(t.shape)
        method = prune.GroupedUnstructured(k, group)
        assert torch.equal(method.selected(t, None).float(), expected)
        assert torch.equal(method.rank_groups(t).mask(k).float(), expected)


def test_a_row_of_a_convolution_is_a_group():
    layer = nn.Conv2d(3, 5, 3)
    scores = torch.rand(5, 3, 3, 3)
    prune.grouped_unstructured(layer, "weight", 9, dim=(1, 2, 3), importance_scores=scores)
    rows = scores.flatten(1)
    expected = rows > rows.sort(dim=1).values[:, 8:9]
    assert torch.equal(layer.weight_mask.flatten(1).bool(), expected)


@pytest.mark.parametrize("container", [prune.PruningContainer, torch_prune.PruningContainer])
def test_it_is_one_of_several(container):
    layer = nn.Linear(8, 4)
    prune.l1_unstructured(layer, "weight", 6)
    before = layer.weight_mask.clone()
    mask = by_hand(layer.weight_orig.detach(), before.bool(), 0.5, 4, -1)
    method = prune.GroupedUnstructured(0.5, group=4)
    method._tensor_name = "weight"
    assert torch.equal(container(method).compute_mask(layer.weight_orig.detach(), before).bool(), mask)
    prune.grouped_unstructured(layer, "weight", 0.5, group=4)
    assert torch.equal(layer.weight_mask.bool(), mask)
    assert [type(m).__name__ for m in layer._forward_pre_hooks[next(iter(layer._forward_pre_hooks))]] == [
        "L1Unstructured", "GroupedUnstructured",
    ]  # fmt: skip
    prune.l1_unstructured(layer, "weight", 3)
    assert int(layer.weight_mask.sum()) == int(mask.sum()) - 3
    prune.remove(layer, "weight")
    assert not prune.is_pruned(layer)


def test_the_pattern_that_a_mask_breaks():
    mask = torch.tensor([[1, 1, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 1, 1, 1]])
    assert prune.pattern_breaks(mask, 2, 4) == 2
    assert prune.pattern_breaks(mask, 1, 2, dim=0) == 3
    assert prune.pattern_breaks(mask, 9, 16, dim=(0, 1)) == 0
    assert prune.pattern_breaks(mask, 8, 16, dim=(1, 0)) == 1


@pytest.mark.parametrize("size", [2, 4, 8, 16])
@pytest.mark.parametrize("dim", [0, 1, (1, 0)])
def test_groups_that_break_a_pattern_are_counted_alike_in_words_and_one_by_one(size: int, dim: Any) -> None:
    mask = torch.rand(48, 64, generator=torch.Generator().manual_seed(size)) > 0.5
    order = (1, 0) if dim == (1, 0) else (1 - dim, dim)
    rows = mask.permute(order).reshape(-1, size).tolist()
    for kept in range(size):
        assert prune.pattern_breaks(mask, kept, size, dim) == sum(sum(row) > kept for row in rows)
        assert prune.pattern_breaks(mask.to(torch.float32), kept, size, dim) == prune.pattern_breaks(
            mask, kept, size, dim
        )


REFUSED = [
    (lambda t: prune.GroupedUnstructured(1.5), ValueError, "`amount` must be a float"),
    (lambda t: prune.GroupedUnstructured(1, 0), ValueError, "`group` must be a number of elements ≥ 1"),
    (lambda t: prune.GroupedUnstructured(1, 2.0), TypeError, "`group` must be a number of elements ≥ 1"),
    (lambda t: prune.GroupedUnstructured(1, True), TypeError, "`group` must be a number of elements ≥ 1"),
    (lambda t: prune.GroupedUnstructured(1, 4).prune(t), ValueError, "`group` must divide the 6 elements"),
    (lambda t: prune.GroupedUnstructured(7).prune(t), ValueError, r"`amount` must be at most .*\(6\), got 7"),
    (lambda t: prune.GroupedUnstructured(1, dim=2).prune(t), IndexError, "`dim` must be between -2 and 1"),
    (lambda t: prune.GroupedUnstructured(1, dim=(0, -2)).prune(t), ValueError, "`dim` must name one"),
    (lambda t: prune.GroupedUnstructured(1, dim=()).prune(t), ValueError, "`dim` must name one"),
    (lambda t: prune.GroupedUnstructured(1, dim="0").prune(t), TypeError, "`dim` must be an integer"),
    (lambda t: prune.GroupedUnstructured(1, 2).prune(t * math.nan), ValueError, "12 NaN among 12"),
    (lambda t: prune.GroupedUnstructured(1).prune(t, importance_scores=t[0]), ValueError, "must have"),
    (lambda t: prune.pattern_breaks(t, 2, 4), ValueError, "`group` must divide the 6 elements"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED)
def test_bad_input_is_named(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call(torch.ones(2, 6))


def test_a_layer_is_as_it_was_after_an_error():
    layer = nn.Linear(6, 2)
    with pytest.raises(ValueError, match="`group` must divide"):
        prune.grouped_unstructured(layer, "weight", 0.5, group=4)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert not prune.is_pruned(layer)


def test_infinity_is_flagged_and_stays_longest():
    t = torch.tensor([math.inf, 1.0, -math.inf, 2.0])
    with pytest.warns(UserWarning, match="2 of 4 scores are infinite"):
        mask = prune.GroupedUnstructured(2, group=4).compute_mask(t, torch.ones(4))
    assert mask.tolist() == [1, 0, 1, 0]


def test_empty_and_meta_tensors():
    assert prune.GroupedUnstructured(0.5).prune(torch.ones(3, 0)).shape == (3, 0)
    assert prune.GroupedUnstructured(0.5).selected(torch.ones(3, 4, device="meta"), None).is_meta


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch's semi-structured tensors need a GPU")
def test_torch_takes_two_of_four_as_semi_structured():
    layer = nn.Linear(128, 128).half().cuda()
    prune.grouped_unstructured(layer, "weight", amount=0.5, group=4)
    prune.remove(layer, "weight")
    sparse = torch.sparse.to_sparse_semi_structured(layer.weight.detach())
    assert torch.equal(sparse.to_dense(), layer.weight)
