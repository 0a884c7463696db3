"""How far the criteria agree on a layer: Kendall's τ of their scores, and what they prune together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunescope.core.criteria import CRITERIA
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.spec import PruneSpec
from prunescope.measure.importance import score
from prunescope.session import Session

MOST = 30_000
"""Units whose order is compared; larger layers are subsampled, and the agreement says so."""

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


@dataclass(frozen=True)
class CriteriaTable:
    """How far all criteria agree that a layer and a method allow, as far as it is known.

    Attributes:
        criteria: Their keys, in the order of `prunescope.core.criteria.CRITERIA`.
        agreements: By two of them, in that order.
        left_out: Why each other one is not among them, in a sentence.
        done: Whether that is all.
    """

    criteria: tuple[str, ...] = ()
    agreements: Mapping[tuple[str, str], CriteriaAgreement] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    done: bool = False

    def between(self, a: str, b: str) -> CriteriaAgreement | None:
        """Return how far ``a`` and ``b`` agree, in whichever order; None if it is not known."""
        return self.agreements.get((a, b)) or self.agreements.get((b, a))

    def knowing(self, criterion: str, agreements: Sequence[CriteriaAgreement]) -> CriteriaTable:
        """Return the table with one criterion more, and how far it agrees with those before."""
        known = {**self.agreements, **{(each.a, each.b): each for each in agreements}}
        return replace(self, criteria=(*self.criteria, criterion), agreements=known)


def criteria_table(session: Session, preview: Preview) -> Iterator[CriteriaTable]:
    """Yield how far each two criteria agree after each bit of work; the last table is the whole.

    Args:
        session: The session; missing scores are computed.
        preview: The layer, the method and the amount.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> session = Session(module_source(nn.Linear(6, 5), example=torch.rand(9, 6)))
        >>> *_, table = criteria_table(session, session.preview(session.resolve(session.first_spec)))
        >>> table.criteria, sorted(table.left_out)
        (('weight', 'wanda', 'activation'), ['batchnorm', 'fisher', 'given', 'taylor'])
    """
    reasons = {key: session.criteria.why_not(replace(preview.spec, criterion=key)) for key in CRITERIA}
    table = CriteriaTable(left_out={key: why for key, why in reasons.items() if why})
    known: dict[str, _Ranked] = {}
    try:
        for criterion in (key for key, why in reasons.items() if not why):
            spec = replace(preview.spec, criterion=criterion)
            try:
                for _ in score(session, criterion):
                    yield table
                ranked = _ranked(session, spec)
            except RequestError as problem:
                table = replace(table, left_out={**table.left_out, criterion: str(problem)})
                continue
            found = []
            for other, before in known.items():
                found.append(_agreement(other, criterion, before, ranked))
                yield table
            known[criterion] = ranked
            table = table.knowing(criterion, found)
            yield table
    finally:
        session.forget_rankings(PLACE)
    yield replace(table, done=True)


@dataclass(frozen=True)
class _Ranked:
    """What one criterion says of a layer.

    Attributes:
        scores: Of the units compared.
        gone: True for each weight that goes.
        units: How many units there are.
    """

    scores: NDArray[Any]
    gone: NDArray[np.bool_]
    units: int


def _ranked(session: Session, spec: PruneSpec) -> _Ranked:
    seen = session.preview(session.resolve(spec, frozenset({"criterion"})), PLACE)
    if seen.scores is None:
        raise RequestError("criterion", "`criterion` ranks nothing where a method draws at random.")
    scores = np.concatenate([part.copy() for part in seen.scores.parts()])
    left = scores[scores > -np.inf]
    gone = np.concatenate([~mask.cpu().numpy().reshape(-1) for mask in seen.masks.values()])
    return _Ranked(left[:: -(-len(left) // MOST) or 1], gone, len(left))


def _agreement(a: str, b: str, one: _Ranked, other: _Ranked) -> CriteriaAgreement:
    pruned = int(one.gone.sum())
    overlap = int((one.gone & other.gone).sum()) / pruned if pruned else math.nan
    tau = kendall_tau(one.scores, other.scores)
    return CriteriaAgreement(a, b, tau, overlap, one.units, len(one.scores))


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
