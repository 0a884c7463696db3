"""The shared selection: counts, rankings, thresholds."""

import math

import pytest
import torch

from prunescope.prune import (
    L1Unstructured,
    Ranking,
    channel_norms,
    units_to_prune,
    validate_dim,
    validate_norm,
)
from prunescope.prune._kernels.partition import sample_step


@pytest.mark.parametrize(
    ("amount", "units", "count"),
    [(0.5, 5, 2), (0.05, 8, 0), (0.3, 4, 1), (1, 4, 1), (1.0, 4, 4), (0, 0, 0), (0.4, 17, 7), (1.0, 0, 0)],
)
def test_units_round_half_to_even(amount, units, count):
    assert units_to_prune(amount, units) == count
    assert type(units_to_prune(amount, units)) is int


@pytest.mark.parametrize("amount", [1.5, -0.1, -1, math.nan, math.inf])
def test_amount_out_of_range_is_named(amount):
    with pytest.raises(
        ValueError, match=rf"`amount` must be a float in \[0, 1\] or a count ≥ 0, got {amount}"
    ):
        units_to_prune(amount, 4)


@pytest.mark.parametrize("amount", [True, False, "0.5", None, 1j])
def test_amount_of_another_type_is_refused(amount):
    with pytest.raises(TypeError, match="`amount` must be a float"):
        units_to_prune(amount, 4)


def test_more_than_there_is():
    with pytest.raises(
        ValueError, match=r"`amount` must be at most the number of units to prune \(4\), got 7"
    ):
        units_to_prune(7, 4)


@pytest.mark.parametrize("n", ["abc", "", math.nan])
def test_norm_refused(n):
    with pytest.raises(ValueError, match="`n` must be a number, inf, -inf, 'fro' or 'nuc', got"):
        validate_norm(n)


@pytest.mark.parametrize("n", [True, None, 1j, [2]])
def test_norm_of_another_type_is_refused(n):
    with pytest.raises(TypeError, match="`n` must be a number, inf, -inf, 'fro' or 'nuc', got"):
        validate_norm(n)


def test_nuc_needs_matrices():
    validate_norm("nuc", shape=(4, 3, 2), dim=0)
    with pytest.raises(ValueError, match="'nuc' needs channels that are matrices"):
        validate_norm("nuc", shape=(4, 3), dim=0)


@pytest.mark.parametrize("dim", [9, 4, -5])
def test_dim_out_of_range(dim):
    sentence = rf"`dim` must be between -4 and 3 for a tensor of shape \(64, 32, 3, 3\), got {dim}"
    with pytest.raises(IndexError, match=sentence):
        validate_dim(dim, (64, 32, 3, 3))


@pytest.mark.parametrize("dim", [1.0, True, "0", None])
def test_dim_of_another_type(dim):
    with pytest.raises(TypeError, match="`dim` must be an integer"):
        validate_dim(dim, (2, 3))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 0.5, -1, math.inf, -math.inf, "fro"])
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 4), (2, 3, 4, 5), (3000, 700)])
def test_channel_norms_are_torchs(n, shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for dim in range(len(shape)):
        others = [d for d in range(len(shape)) if d != dim]
        expected = torch.norm(weight, p=2 if n == "fro" else n, dim=others)
        for layout in (weight, weight.transpose(0, 1).contiguous().transpose(0, 1)):
            torch.testing.assert_close(channel_norms(layout, n=n, dim=dim), expected, rtol=1e-4, atol=1e-5)


def test_nuclear_norms_are_torchs_where_torch_has_them():
    weight = torch.randn(4, 3, 2)
    for dim in range(3):
        others = [d for d in range(3) if d != dim]
        torch.testing.assert_close(
            channel_norms(weight, n="nuc", dim=dim), torch.norm(weight, p="nuc", dim=others)
        )
    kernels = torch.randn(4, 5, 3, 2)
    by_hand = [sum(torch.linalg.svdvals(k).sum() for k in kernels[i]) for i in range(4)]
    torch.testing.assert_close(channel_norms(kernels, n="nuc", dim=0), torch.stack(by_hand))


def test_ranking_of_elements():
    ranking = Ranking(torch.tensor([3.0, 1.0, 2.0, 1.0]), (2, 2))
    assert (ranking.units, ranking.dim, ranking.shape) == (4, None, (2, 2))
    assert ranking.threshold(0) is None
    assert ranking.mask(0).all()
    assert ranking.mask(1).tolist() == [[True, False], [True, True]]
    assert ranking.mask(2).tolist() == [[True, False], [True, False]]
    assert [ranking.threshold(k) for k in (1, 2, 3, 4)] == [1.0, 1.0, 2.0, 3.0]
    assert not ranking.mask(4).any()


def test_ranking_respects_what_is_gone():
    default = torch.tensor([[1, 0], [0, 1]])
    ranking = Ranking(torch.tensor([2.0, 1.0]), (2, 2), default_mask=default)
    assert ranking.units == 2
    assert ranking.mask(0).tolist() == [[True, False], [False, True]]
    assert ranking.mask(1).tolist() == [[True, False], [False, False]]
    assert ranking.scores.tolist() == [2.0, 1.0]


def test_ranking_of_channels_skips_dead_ones():
    default = torch.tensor([[1, 0], [0, 0], [1, 1]])
    ranking = Ranking(torch.tensor([5.0, 4.0]), (3, 2), dim=0, default_mask=default)
    assert ranking.units == 2
    assert ranking.mask(1).tolist() == [[True, False], [False, False], [False, False]]


@pytest.mark.parametrize("k", [-1, 3, 1.0, True])
def test_ranking_refuses_other_counts(k):
    with pytest.raises(ValueError, match="`k` must be a count between 0 and 2"):
        Ranking(torch.tensor([1.0, 2.0]), (2,)).mask(k)


def test_ranking_refuses_nan_and_flags_infinity():
    with pytest.raises(ValueError, match="1 NaN among 2"):
        Ranking(torch.tensor([1.0, math.nan]), (2,))
    with pytest.warns(UserWarning, match="1 of 2 scores are infinite"):
        Ranking(torch.tensor([1.0, math.inf]), (2,))


def test_ranking_of_lowest_possible_scores():
    with pytest.warns(UserWarning, match="infinite"):
        ranking = Ranking(
            torch.tensor([-math.inf, 1.0, -math.inf]), (4,), default_mask=torch.tensor([0, 1, 1, 1])
        )
    assert ranking.mask(1).tolist() == [False, False, True, True]
    assert ranking.mask(2).tolist() == [False, False, True, False]


def test_a_ranking_is_not_changed_from_outside():
    scores, default = torch.tensor([3.0, 1.0, 2.0]), torch.ones(3)
    for ranking in (Ranking(scores, (3,), default_mask=default), L1Unstructured(1).rank(scores, default)):
        scores.copy_(torch.tensor([1.0, 2.0, 3.0]))
        default.zero_()
        assert ranking.mask(1).tolist() == [True, False, True]
        scores.copy_(torch.tensor([3.0, 1.0, 2.0]))
        default.fill_(1)


def test_ranking_slides_as_it_starts():
    scores = torch.randint(0, 50, (300, 300)).float()
    sliding = Ranking(scores.reshape(-1), (300, 300))
    for k in (1, 7, 40_000, 89_999, 90_000, 7):
        fresh = Ranking(scores.reshape(-1), (300, 300))
        assert torch.equal(sliding.mask(k), fresh.mask(k))
        assert sliding.threshold(k) == fresh.threshold(k)
        assert int((~fresh.mask(k)).sum()) == k


COUNT = 1 << 16
STEP = sample_step(COUNT)
MISLEADING = {
    "rising": lambda: torch.linspace(0, 1, COUNT),
    "falling": lambda: torch.linspace(1, 0, COUNT),
    "equal": lambda: torch.ones(COUNT),
    "half zeros": lambda: torch.rand(COUNT) * (torch.rand(COUNT) > 0.5),
    "few values": lambda: torch.randint(0, 5, (COUNT,)).float(),
    "small where the sample looks": lambda: torch.rand(COUNT).index_fill_(0, torch.arange(0, COUNT, STEP), 0),
    "infinite": lambda: torch.rand(COUNT).index_fill_(0, torch.arange(7), torch.inf),
    "float64": lambda: torch.rand(COUNT, dtype=torch.float64),
}


@pytest.mark.parametrize("values", MISLEADING.values(), ids=MISLEADING)
@pytest.mark.parametrize("k", [1, COUNT // STEP, COUNT // 2, COUNT - 3, COUNT])
@pytest.mark.filterwarnings("ignore:.*infinite")
def test_scores_that_mislead_a_sample_are_cut_exactly_with_ties_by_lowest_index(values, k):
    torch.manual_seed(0)
    weight = values()
    expected = torch.ones(COUNT, dtype=torch.bool)
    expected[torch.sort(weight, stable=True).indices[:k]] = False
    assert torch.equal(Ranking(weight, (COUNT,)).mask(k), expected)
    mask = L1Unstructured(k).compute_mask(-weight, torch.ones(COUNT))
    assert torch.equal(mask.to(torch.bool), expected)


@pytest.mark.parametrize(
    "weight", [torch.randn(400, 700), torch.randn(400, 700).round()], ids=["apart", "ties"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
@pytest.mark.parametrize("k", [1, 140_000, 279_999])
def test_a_large_mask_is_combined_with_an_earlier_one(weight, dtype, k):
    earlier = torch.arange(280_000).reshape(700, 400).t() % 3 != 0
    expected = torch.ones(280_000, dtype=torch.bool)
    expected[torch.sort(weight.abs().reshape(-1), stable=True).indices[:k]] = False
    mask = L1Unstructured(k).compute_mask(weight, earlier.to(dtype))
    assert mask.dtype == dtype
    assert torch.equal(mask.bool(), expected.reshape(400, 700) & earlier)
