"""How far criteria agree: Kendall's τ against counting pairs, and the overlap against the masks."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from prunescope.measure.criteria import criteria_table, kendall_tau
from prunescope.measure.importance import scored_preview
from prunescope.session import Session
from prunescope.sources import module_source


def by_counting(one: list[int], other: list[int]) -> float:
    signs = [
        (np.sign(one[i] - one[j]), np.sign(other[i] - other[j])) for i in range(len(one)) for j in range(i)
    ]
    untied = math.sqrt(sum(a != 0 for a, _ in signs)) * math.sqrt(sum(b != 0 for _, b in signs))
    return sum(int(a * b) for a, b in signs) / untied if untied else math.nan


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), max_size=40))
def test_tau_counts_pairs(pairs: list[tuple[int, int]]) -> None:
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    found = kendall_tau(np.array(one, float), np.array(other, float))
    assert found == pytest.approx(by_counting(one, other), nan_ok=True)


@pytest.mark.parametrize("method", ["l1_unstructured", "ln_structured", "global_unstructured"])
def test_every_two_criteria_that_are_there_are_compared(method: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    session = Session(module_source(model, (torch.randn(80, 6), torch.arange(80) % 3)))
    spec = replace(session.first_spec, method=method, amount=0.4)
    preview = session.preview(session.resolve(spec))
    *_, table = criteria_table(session, preview)
    found, there = table.agreements, ["weight", "taylor", "wanda", "fisher", "activation"]
    assert table.done
    assert list(table.criteria) == there
    assert table.left_out["given"].startswith("`criterion` given needs scores of your own")
    assert "has no batch-norm after it" in table.left_out["batchnorm"]
    assert table.between("fisher", "weight") is found["weight", "fisher"]
    assert set(found) == {(a, b) for i, a in enumerate(there) for b in there[i + 1 :]}
    fisher = scored_preview(session, session.resolve(replace(spec, criterion="fisher")))
    both = sum(int((~preview.masks[name] & ~fisher.masks[name]).sum()) for name in preview.masks)
    gone = sum(int((~mask).sum()) for mask in preview.masks.values())
    agreement = found["weight", "fisher"]
    assert agreement.overlap == both / gone
    assert (
        agreement.compared
        == agreement.units
        == {"ln_structured": 5, "global_unstructured": 45}.get(method, 30)
    )
    if method == "l1_unstructured":
        weights, scores = preview.tensor.weight.abs().flatten(), fisher.importance["0.weight"].flatten()
        assert agreement.tau == pytest.approx(by_counting(weights.tolist(), scores.tolist()))
