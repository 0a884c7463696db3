"""How far the criteria agree on a layer: Kendall's τ of their scores, and what they prune together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunescope.core.criteria import CRITERIA
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.measure.importance import scored_preview
from prunescope.session import Session

MOST = 200_000
"""Most units whose order is compared; larger layers are subsampled, and the agreement says so."""

PLACE = 3
"""The session's cache slot for the rankings compared here."""


@dataclass(frozen=True)
class CriteriaAgreement:
    """How far two criteria agree on what to prune of one layer.

    Attributes:
        a: Key of one criterion.
        b: Key of the other.
        tau: Kendall's τ-b of the two orders, in [-1, 1]; NaN where a criterion scores all units the same.
        overlap: Fraction of the weights that ``a`` prunes at this amount that ``b`` prunes too, in [0, 1];
            NaN if nothing is pruned.
        units: Number of units.
        compared: How many of them τ was computed on.
    """

    a: str
    b: str
    tau: float
    overlap: float
    units: int
    compared: int

    @property
    def in_words(self) -> str:
        """Return the agreement as text, with what it was computed on.

        Example:
            >>> CriteriaAgreement("weight", "taylor", 0.5, 0.75, 10, 10).in_words
            'weight and taylor: τ 0.50, 75 % of what is pruned in common'
        """
        on = "" if self.compared == self.units else f" (on {self.compared:,} of {self.units:,})"
        common = f"{100 * self.overlap:.0f} % of what is pruned in common"
        return f"{self.a} and {self.b}: τ {self.tau:.2f}{on}, {common}"


def criteria_agreement(session: Session, preview: Preview) -> Iterator[CriteriaAgreement]:
    """Yield the agreement of each pair of criteria that this layer and method allow.

    Args:
        session: The session; missing scores are computed.
        preview: The layer, the method and the amount.
    """
    found: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
    for criterion in CRITERIA:
        try:
            resolved = session.resolve(replace(preview.spec, criterion=criterion), frozenset({"criterion"}))
            seen = scored_preview(session, resolved, PLACE)
        except RequestError:
            continue
        if seen.scores is None or seen.spec.criterion != criterion:
            continue
        scores = np.concatenate([part.copy() for part in seen.scores.parts()])
        gone = np.concatenate([~mask.cpu().numpy().reshape(-1) for mask in seen.masks.values()])
        found[criterion] = scores, gone
    session.forget_rankings(PLACE)
    for a, b in combinations(found, 2):
        yield _agreement(a, b, *found[a], *found[b])


def _agreement(
    a: str,
    b: str,
    scores_a: NDArray[Any],
    gone_a: NDArray[np.bool_],
    scores_b: NDArray[Any],
    gone_b: NDArray[np.bool_],
) -> CriteriaAgreement:
    left = scores_a > -np.inf
    one, other = scores_a[left], scores_b[left]
    step = -(-len(one) // MOST) or 1
    both, pruned = int((gone_a & gone_b).sum()), int(gone_a.sum())
    overlap = both / pruned if pruned else math.nan
    compared = one[::step], other[::step]
    return CriteriaAgreement(a, b, kendall_tau(*compared), overlap, len(one), len(compared[0]))


def kendall_tau(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return Kendall's τ-b of two vectors, in time n log n.

    M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33 (1945), 239-251.

    Args:
        one: Vector of n numbers.
        other: Another of the same length.

    Returns:
        A number in [-1, 1]; NaN where one of the two is constant.

    Example:
        >>> kendall_tau(np.arange(4), np.arange(4)[::-1]), kendall_tau(np.ones(3), np.arange(3))
        (-1.0, nan)
    """
    x, y = (np.unique(vector, return_inverse=True)[1].astype(np.int64) for vector in (one, other))
    pairs = len(x) * (len(x) - 1) // 2
    tied_x, tied_y, tied_both = (_tied(each) for each in (x, y, x * (int(y.max(initial=0)) + 1) + y))
    order = np.lexsort((y, x))
    balance = pairs - tied_x - tied_y + tied_both - 2 * _inversions(y[order])
    untied = math.sqrt((pairs - tied_x) * (pairs - tied_y))
    return balance / untied if untied else math.nan


def _tied(values: NDArray[np.int64]) -> int:
    """Return how many pairs of ``values`` are equal."""
    counts = np.unique(values, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _inversions(values: NDArray[np.int64]) -> int:
    """Return in how many pairs of whole numbers ≥ 0 the first is the larger.

    Bit by bit from the highest: two numbers that differ first in a bit are the wrong way round if the one
    with the bit set comes first. Numbers with the same higher bits stand together, in their old order.
    """
    total = 0
    for bit in reversed(range(int(values.max(initial=0)).bit_length())):
        block, is_set = values >> (bit + 1), (values >> bit) & 1
        before = np.cumsum(is_set) - is_set
        starts = np.flatnonzero(np.diff(block, prepend=-1))
        base = np.repeat(before[starts], np.diff(starts, append=len(values)))
        total += int((before - base)[is_set == 0].sum())
        values = values[np.argsort(values >> bit, kind="stable")]
    return total
