"""Find the smallest strength of a rule that meets a goal within its limits, and give back the excess."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prunescope.core.errors import RequestError
from prunescope.core.text import percent
from prunescope.network.goal import GoalSpec, Limits
from prunescope.network.layers import Layer
from prunescope.network.rules import Family, family
from prunescope.network.tally import Counts, Tally

HALVINGS = 48
"""Bisection steps in the search for a strength: enough for less than one unit in 10¹⁴."""


def by_rule(
    rule: str, layers: Sequence[Layer], limits: Limits, tally: Tally, goal: GoalSpec, target: float
) -> Counts:
    """Return how many units of each layer to prune to meet ``target`` by a rule that needs no data.

    Raises:
        RequestError: The target cannot be met; the message gives the best that can.
    """
    check_reachable(layers, limits, tally, goal, target)
    free = [place for place, is_free in enumerate(limits.free) if is_free]
    counts_of = within(family(rule, [layers[place] for place in free]), free, layers, limits, goal.round_to)
    return smallest(counts_of, layers, limits, tally, goal, tally.needed(target))


def smallest(
    counts_of: Family, layers: Sequence[Layer], limits: Limits, tally: Tally, goal: GoalSpec, needed: float
) -> Counts:
    """Return the counts of the smallest strength that prunes ``needed``, with the excess given back."""
    low, high = 0.0, 1.0
    if tally.total(counts_of(low)) >= needed:
        return counts_of(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if tally.total(counts_of(middle)) >= needed else (middle, high)
    counts = counts_of(high)
    if tally.total(counts) < needed:  # The rule alone falls short: take the rest from all free layers.
        counts = fill(counts, layers, limits, tally, goal.round_to, needed)
    return trim(counts, limits, tally, goal.round_to, needed)


def within(
    counts_of: Family, free: Sequence[int], layers: Sequence[Layer], limits: Limits, round_to: int
) -> Family:
    """Return a family for all layers: ``counts_of`` for the free ones, within the limits and rounded."""
    least, most = np.array(limits.least), np.array(limits.most)
    units = np.array([layer.units for layer in layers])

    def counts(strength: float) -> Counts:
        found = least.astype(np.int64)
        if free:
            found[free] = counts_of(strength)
        found = np.clip(found, least, most)
        return rounded(found, units, limits, round_to)

    return counts


def rounded(counts: Counts, units: Counts, limits: Limits, round_to: int) -> Counts:
    """Round the counts so that free layers keep multiples of ``round_to``; zero counts stay zero.

    Example:
        >>> limits = Limits((0, 0), (60, 10), (True, True))
        >>> rounded(np.array([10, 1]), np.array([64, 10]), limits, 8).tolist()
        [16, 2]
    """
    if round_to == 1:
        return counts
    kept = (units - counts) // round_to * round_to
    least_kept = -(-(units - np.array(limits.most)) // round_to) * round_to
    kept = np.maximum(kept, np.maximum(least_kept, 0))
    pruned = np.where(kept >= units, 0, units - kept)
    return np.where(np.array(limits.free) & (counts > 0), pruned, counts)


def trim(counts: Counts, limits: Limits, tally: Tally, round_to: int, needed: float) -> Counts:
    """Return the counts with units given back, one layer after another, while ``needed`` is still pruned."""
    counts, excess = counts.copy(), tally.total(counts) - needed
    moved = True
    while moved and excess > 0:
        moved = False
        for place in sorted(np.flatnonzero(np.array(limits.free)).tolist(), key=lambda place: -counts[place]):
            fewer = _one_less(int(counts[place]), round_to)
            saved = tally.gone(place, int(counts[place])) - tally.gone(place, fewer)
            if fewer >= limits.least[place] and fewer < counts[place] and 0 < saved <= excess:
                counts[place], excess, moved = fewer, excess - saved, True
    return counts


def fill(
    counts: Counts, layers: Sequence[Layer], limits: Limits, tally: Tally, round_to: int, needed: float
) -> Counts:
    """Prune more of every free layer, by the same share of what it may still lose, to meet ``needed``."""
    most, least = np.array(limits.most), counts
    units = np.array([layer.units for layer in layers])

    def counts_of(strength: float) -> Counts:
        more = np.rint(least + strength * (most - least)).astype(np.int64)
        return rounded(np.maximum(more, least), units, limits, round_to)

    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if tally.total(counts_of(middle)) >= needed else (middle, high)
    return counts_of(high)


def _one_less(count: int, round_to: int) -> int:
    # A first step from dense may be shorter than the others.
    return max(0, count - round_to)


def check_reachable(
    layers: Sequence[Layer], limits: Limits, tally: Tally, goal: GoalSpec, target: float
) -> None:
    """Check that ``target`` lies between what the pins alone prune and the most that may be pruned.

    Raises:
        RequestError: It does not; the message says what can be reached.
    """
    least, most = tally.share(limits.least), tally.share(highest(layers, limits, goal.round_to))
    if goal.pins and tally.total(limits.least) > tally.needed(target):
        pinned = f"`pins` alone prune {percent(least)} of {tally.unit}"
        raise RequestError("pins", f"{pinned}, and `target` is {percent(target)}: pin less, or aim higher.")
    if tally.needed(target) > tally.total(highest(layers, limits, goal.round_to)):
        held = [name for name in ("exclude", "min_keep", "pins", "round_to") if _holds(goal, name)]
        because = f" with {', '.join(f'`{name}`' for name in held)} as they are" if held else ""
        raise RequestError(
            "target",
            f"Cannot: `target` is {percent(target)} of {tally.unit}; the best is {percent(most)}{because}.",
        )


def highest(layers: Sequence[Layer], limits: Limits, round_to: int) -> Counts:
    """Return the largest count of each layer that the limits allow."""
    units = np.array([layer.units for layer in layers])
    return rounded(np.array(limits.most, np.int64), units, limits, round_to)


def _holds(goal: GoalSpec, name: str) -> bool:
    value = getattr(goal, name)
    return bool(value != 1) if name == "round_to" else bool(value)
