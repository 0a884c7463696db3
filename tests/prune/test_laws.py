"""What holds for every method, whatever the shape, memory format, dtype, amount and earlier mask."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import prunescope.prune as prune
from prunescope.prune import selection
from prunescope.prune._kernels.partition import sample_step

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
RARE = [
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.int8,
    torch.uint8,
    torch.int16,
    torch.int32,
    torch.int64,
]

law = settings(max_examples=60, deadline=None)


@st.composite
def tensors(draw, least_axes=1, dtypes=(*FLOATS, *RARE)):
    """A tensor, often with ties, in any memory format."""
    shape = draw(st.lists(st.integers(1, 5), min_size=least_axes, max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    t = torch.randn(shape, generator=generator, dtype=torch.float64) * 10
    if draw(st.booleans()):
        t = t.round()
    dtype = draw(st.sampled_from(dtypes))
    t = t.abs().to(dtype) if dtype == torch.uint8 else t.to(dtype)
    layout = draw(st.sampled_from(["plain", "transposed", "sliced", "channels_last"]))
    if layout == "transposed":
        return t.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "sliced":
        return torch.stack([t, t], dim=-1)[..., 0]
    if layout == "channels_last" and t.dim() == 4:
        return t.contiguous(memory_format=torch.channels_last)
    return t


@st.composite
def masks(draw, shape):
    """A mask from earlier pruning, or none."""
    if draw(st.booleans()):
        return None
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return (torch.rand(shape, generator=generator) > draw(st.sampled_from([0.1, 0.5, 0.9]))).float()


NORMS = st.sampled_from([0, 1, 2, 3, 0.5, -1, math.inf, -math.inf, "fro"])


@st.composite
def cases(draw, amount=0.5, methods=("l1", "random", "ln", "random_channels")):
    """A method, a tensor that it can prune, and an earlier mask."""
    kind = draw(st.sampled_from(methods))
    structured = kind in ("ln", "random_channels")
    t = draw(tensors(least_axes=2 if structured else 1))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 100)))
    dim = draw(st.integers(-t.dim(), t.dim() - 1))
    method = {
        "l1": lambda: prune.L1Unstructured(amount),
        "random": lambda: prune.RandomUnstructured(amount, generator=generator),
        "ln": lambda: prune.LnStructured(amount, n=draw(NORMS), dim=dim),
        "random_channels": lambda: prune.RandomStructured(amount, dim=dim, generator=generator),
    }[kind]()
    return method, t, draw(masks(tuple(t.shape)))


def pruned_units(ranking, mask):
    """Return which candidates a mask prunes, in index order."""
    flat = mask.reshape(-1) if ranking.dim is None else mask.movedim(ranking.dim, 0).flatten(1).any(1)
    if ranking.default_mask is None:
        return ~flat
    default = ranking.default_mask
    left = default.reshape(-1) if ranking.dim is None else default.movedim(ranking.dim, 0).flatten(1).any(1)
    return ~flat[left]


@law
@given(cases(), st.data())
def test_exactly_the_number_of_units_asked_for(case, data):
    ranking = case[0].rank(*case[1:])
    k = data.draw(st.integers(0, ranking.units))
    assert int(pruned_units(ranking, ranking.mask(k)).sum()) == k


@law
@given(cases(), st.data())
def test_more_never_keeps_what_less_has_pruned(case, data):
    ranking = case[0].rank(*case[1:])
    less = data.draw(st.integers(0, ranking.units))
    more = data.draw(st.integers(less, ranking.units))
    assert not (ranking.mask(more) & ~ranking.mask(less)).any()


@law
@given(cases(), st.data())
def test_what_is_kept_scores_at_least_what_goes_and_ties_go_by_index(case, data):
    ranking = case[0].rank(*case[1:])
    k = data.draw(st.integers(0, ranking.units))
    gone = pruned_units(ranking, ranking.mask(k))
    scores = ranking.scores
    if 0 < k < ranking.units:
        assert scores[~gone].min() >= scores[gone].max()
        assert scores[gone].max() == ranking.threshold(k)
    by_hand = torch.tensor([False] * ranking.units)
    by_hand[sorted(range(ranking.units), key=lambda i: (float(scores[i]), i))[:k]] = True
    assert torch.equal(gone, by_hand)


@law
@given(cases(methods=("ln", "random_channels")), st.data())
def test_structured_means_whole_channels(case, data):
    method, t, _ = case
    ranking = method.rank(t)
    rows = ranking.mask(data.draw(st.integers(0, ranking.units))).movedim(method.dim, 0).flatten(1)
    assert torch.equal(rows.all(1), rows.any(1))


@law
@given(cases(), st.data())
def test_earlier_masks_are_respected(case, data):
    ranking = case[0].rank(*case[1:])
    if case[2] is not None:
        k = data.draw(st.integers(0, ranking.units))
        assert not ranking.mask(k)[case[2] == 0].any()


@law
@given(cases(), st.floats(0, 1))
def test_a_container_prunes_what_the_ranking_says(case, amount):
    method, t, default = case
    method.amount = amount
    method._tensor_name = "weight"
    if default is None:
        default = torch.ones(t.shape)
    state = method.generator.get_state() if hasattr(method, "generator") else None
    ranking = method.rank(t, default)
    if state is not None:
        method.generator.set_state(state)
    computed = prune.PruningContainer(method).compute_mask(t, default)
    expected = ranking.mask(prune.units_to_prune(amount, ranking.units))
    assert computed.dtype == t.dtype
    assert torch.equal(computed.to(torch.bool), expected)


@law
@given(cases())
def test_inputs_and_the_global_random_state_are_untouched(case):
    method, t, default = case
    default = torch.ones(t.shape) if default is None else default
    before, random_state = (t.clone(), default.clone()), torch.get_rng_state()
    method.compute_mask(t, default)
    method.prune(t, default)
    method._tensor_name = "weight"
    prune.PruningContainer(method).compute_mask(t, default)
    assert torch.equal(t.to(torch.float64), before[0].to(torch.float64))
    assert torch.equal(default, before[1])
    assert torch.equal(torch.get_rng_state(), random_state)


@law
@given(tensors(least_axes=2, dtypes=(torch.float64,)), NORMS, st.data())
def test_permuting_channels_permutes_the_mask(t, n, data):
    dim = data.draw(st.integers(0, t.dim() - 1))
    order = torch.tensor(data.draw(st.permutations(range(t.shape[dim]))))
    a = prune.LnStructured(1, n=n, dim=dim).rank(t)
    b = prune.LnStructured(1, n=n, dim=dim).rank(t.index_select(dim, order))
    torch.testing.assert_close(a.scores[order], b.scores)
    for k in range(a.units + 1):
        ranked = a.scores.sort().values
        if 0 < k < a.units and math.isclose(ranked[k - 1], ranked[k], rel_tol=1e-9):
            continue  # ties go by index, which is what the permutation changes
        assert torch.equal(a.mask(k).index_select(dim, order), b.mask(k))


@law
@given(tensors(), st.floats(0, 1), st.integers(0, 100))
def test_the_memory_format_changes_nothing(t, amount, seed):
    plain = t.clone(memory_format=torch.contiguous_format)
    for make in (
        lambda: prune.L1Unstructured(amount),
        lambda: prune.RandomUnstructured(amount, generator=torch.Generator().manual_seed(seed)),
    ):
        ones = torch.ones(t.shape)
        assert torch.equal(make().compute_mask(t, ones), make().compute_mask(plain, ones))


@law
@given(tensors(dtypes=FLOATS), st.floats(0, 1))
def test_gradients_are_those_of_the_dense_tensor_where_kept(t, amount):
    layer = torch.nn.Module()
    layer.weight = torch.nn.Parameter(t.clone())
    values = layer.weight.detach().clone()
    prune.l1_unstructured(layer, "weight", amount)
    assert layer.weight_orig.grad is None
    assert torch.equal(layer.weight_orig, values)
    layer.weight.sum().backward()
    assert torch.equal(layer.weight_orig.grad, layer.weight_mask)


@pytest.mark.filterwarnings("ignore:global pruning left almost nothing")
@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from([(1 << 13,), (64, 64, 3, 3), (700, 400), (257, 1023)]),
    st.sampled_from(["normal", "few", "equal", "sorted", "periodic", "heavy"]),
    st.sampled_from([torch.float32, torch.float64]),
    st.floats(0, 1),
)
def test_large_tensors_are_cut_as_by_a_sort(shape, kind, dtype, amount):
    """The fast selection samples; whatever misleads the sample must not change the result."""
    generator = torch.Generator().manual_seed(0)
    size = math.prod(shape)
    t = torch.randn(size, generator=generator, dtype=dtype)
    t = {
        "normal": lambda: t,
        "few": lambda: t.round(),
        "equal": lambda: torch.ones_like(t),
        "sorted": lambda: t.sort().values,
        "periodic": lambda: torch.where(torch.arange(size) % sample_step(size) == 0, t, t * 1e-3),
        "heavy": lambda: t.exp().exp().clamp(max=1e30),
    }[kind]().reshape(shape)
    k = round(amount * size)
    order = torch.sort(t.abs().reshape(-1), stable=True).indices
    expected = torch.ones(size)
    expected[order[:k]] = 0
    method = prune.L1Unstructured(k)
    assert torch.equal(method.compute_mask(t, torch.ones(shape)).reshape(-1), expected.to(torch.float32))
    ranking = method.rank(t)
    for _ in range(2):
        assert torch.equal(ranking.mask(k).reshape(-1), expected.bool())
    layer, other = torch.nn.Module(), torch.nn.Module()
    layer.weight, other.weight = torch.nn.Parameter(t), torch.nn.Parameter(t[:1].clone() + 1e35)
    prune.global_unstructured([(layer, "weight"), (other, "weight")], prune.L1Unstructured, amount=k)
    assert torch.equal(layer.weight_mask.reshape(-1), expected.to(dtype))


def test_laws_notice_a_broken_selection(monkeypatch):
    """One unit too many, or the highest first, and the laws above fail."""
    real = selection.Ranking._cut
    monkeypatch.setattr(selection.Ranking, "_cut", lambda self, k: real(self, min(k + 1, self.units)))
    with pytest.raises(AssertionError):
        test_exactly_the_number_of_units_asked_for()
