"""Hidden units and heads: which rows of which tensors are one of them, and what pruning one does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunescope import explore
from prunescope.core.errors import RequestError
from prunescope.sources.demos import load_demo
from prunescope.sources.units import find_units


def test_a_hidden_unit_prunes_its_rows_everywhere_and_can_be_cut_out() -> None:
    model, data = load_demo("lstm")
    explorer = explore(model, data=data, layer="lstm.weight_hh_l0")
    try:
        explorer.prune_units("5, 62-63")
        assert [step.title for step in explorer.history.done] == ["3 hidden units of lstm (5, 62, 63)"]
        masks = explorer.history.masks()
        assert sorted(masks) == [
            f"lstm.{kind}_l0" for kind in ("bias_hh", "bias_ih", "weight_hh", "weight_ih")
        ]
        for mask in masks.values():
            gone = ~mask.flatten(1).any(1) if mask.ndim > 1 else ~mask
            assert gone.nonzero().flatten().tolist() == sorted(
                64 * g + u for g in range(4) for u in (5, 62, 63)
            )
        smaller = explorer.compact_model(seconds=0)
        assert smaller.model.lstm.hidden_size == 61
        assert smaller.difference <= 1e-5
        explorer.undo()
        assert explorer.history.done == ()
        explorer.prune_units(2)
        norms = sum(
            w.detach().pow(2).sum(1).view(4, 64).sum(0)
            for w in (model.lstm.weight_ih_l0, model.lstm.weight_hh_l0)
        )
        weakest = sorted(norms.argsort()[:2].tolist())
        assert explorer.history.done[0].title == f"2 hidden units of lstm ({weakest[0]}, {weakest[1]})"
    finally:
        explorer.close()


def test_a_head_without_its_rows_answers_nothing_of_its_own() -> None:
    model, data = load_demo("vit")
    explorer = explore(model, data=data, layer="blocks.1.attention.qkv")
    try:
        explorer.prune_units([1])
        attention = explorer.pruned_model(permanent=True).blocks[1].attention
        parts = attention.qkv(torch.randn(2, 16, 64)).unflatten(-1, (3, 4, -1))
        assert not parts[..., 1, :].any()
        assert all(parts[..., head, :].any() for head in (0, 2, 3))
    finally:
        explorer.close()


def test_what_has_units_and_what_has_none() -> None:
    attention = nn.MultiheadAttention(12, 3)
    assert find_units(attention, "in_proj_weight").rows_of([2]) == (
        8,
        9,
        10,
        11,
        20,
        21,
        22,
        23,
        32,
        33,
        34,
        35,
    )
    split = nn.Module()
    split.num_heads = 2
    for name in ("query", "key", "value"):
        setattr(split, name, nn.Linear(6, 6, bias=False))
    found = find_units(split, "key.weight")
    assert (found.tensors, found.rows_of([1])) == (("query.weight", "key.weight", "value.weight"), (3, 4, 5))
    assert find_units(nn.Sequential(nn.Linear(3, 3)), "0.weight") is None
    assert find_units(nn.LSTM(3, 4, 2), "weight_ih_l1").tensors[0] == "weight_ih_l1"
    explorer = explore(nn.LSTM(3, 4))
    try:
        with pytest.raises(RequestError, match="`units` must be hidden units from 0 to 3"):
            explorer.prune_units([4])
        with pytest.raises(RequestError, match="`units` must be 1 to 4 hidden units, got 9"):
            explorer.prune_units(9)
        with pytest.raises(RequestError, match="`units` must list channels"):
            explorer.prune_units("a few")
        assert explorer.history.done == ()
    finally:
        explorer.close()
    explorer = explore(nn.Linear(3, 4))
    try:
        with pytest.raises(RequestError, match="each row of weight stands for itself"):
            explorer.prune_units(1)
    finally:
        explorer.close()
