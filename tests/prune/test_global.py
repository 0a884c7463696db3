"""Pruning many parameters by one ranking."""

import pytest
import torch
from torch import nn

import prunescope.prune as prune


def test_a_tied_weight_stays_tied_through_rounds():
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    b.weight = a.weight
    pairs = [(a, "weight"), (b, "weight")]
    for _ in range(2):
        prune.global_unstructured(pairs, prune.L1Unstructured, amount=0.5)
        assert b.weight_orig is a.weight_orig
        assert torch.equal(a.weight_mask, b.weight_mask)
    assert int((a.weight_mask == 0).sum()) == 12
    for module in (a, b):
        prune.remove(module, "weight")
    assert a.weight is b.weight


def test_a_pair_listed_twice_counts_once():
    layer = nn.Linear(4, 4)
    prune.global_unstructured([(layer, "weight")] * 2, prune.L1Unstructured, amount=0.5)
    assert int((layer.weight_mask == 0).sum()) == 8
    (hook,) = layer._forward_pre_hooks.values()
    assert not isinstance(hook, prune.PruningContainer)


def test_a_tied_weight_half_pruned_already():
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    b.weight = a.weight
    prune.l1_unstructured(a, "weight", 4)
    prune.global_unstructured([(a, "weight"), (b, "weight")], prune.L1Unstructured, amount=4)
    assert torch.equal(a.weight_mask, b.weight_mask)
    assert int((a.weight_mask == 0).sum()) == 8


def test_nothing_to_prune():
    prune.global_unstructured([], prune.L1Unstructured, amount=0.5)


def test_scores_for_one_of_two():
    a, b = nn.Linear(3, 2), nn.Linear(3, 2)
    scores = {(a, "weight"): torch.full((2, 3), 100.0)}
    with pytest.warns(UserWarning, match="keeps 0 of 6"):
        prune.global_unstructured([(a, "weight"), (b, "weight")], prune.L1Unstructured, scores, amount=6)
    assert a.weight_mask.all()
    with pytest.warns(UserWarning, match="almost nothing"):
        prune.global_unstructured([(b, "weight")], prune.L1Unstructured, amount=0)


def test_mixed_dtypes():
    a, b = nn.Linear(3, 2), nn.Linear(3, 2).double()
    for method in (prune.L1Unstructured, prune.RandomUnstructured):
        prune.global_unstructured([(a, "weight"), (b, "weight")], method, amount=4)
    assert int((a.weight_mask == 0).sum() + (b.weight_mask == 0).sum()) == 8
    assert (a.weight_mask.dtype, b.weight_mask.dtype) == (torch.float32, torch.float64)


def test_the_history_says_what_happened():
    layer = nn.Linear(4, 4)
    for _ in range(2):
        prune.global_unstructured([(layer, "weight")], prune.L1Unstructured, amount=0.25)
    (hook,) = layer._forward_pre_hooks.values()
    expected = ("global_unstructured", {"pruning_method": "L1Unstructured", "amount": 0.25})
    assert [method.origin for method in hook] == [expected, expected]
    assert [method.mask for method in hook] == [None, None]
