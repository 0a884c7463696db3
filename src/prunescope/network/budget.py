"""From the table to every budget at once: a dynamic program over the drops that were measured.

What layers leave of the metric is multiplied as if they had nothing to do with each other; they have. What
comes out is called *predicted*, and the network with all of it pruned is measured beside it. A product, since
a sum of drops would let one layer go altogether once it has lost all that there is to lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prunescope.network.goal import GoalSpec, Limits
from prunescope.network.layers import Layer
from prunescope.network.monotone import monotone_fit
from prunescope.network.solve import rounded
from prunescope.network.table import SensitivityTable
from prunescope.network.tally import Counts, Tally

LEAST_LEFT = 0.01
"""What is left of a metric is not told apart below this share: it is noise."""

BUCKETS = 2000
"""Parts that what can be pruned is divided into."""


@dataclass(frozen=True, eq=False)
class Curve:
    """What one layer loses with so many of its units.

    Attributes:
        pruned: Counts of units, rising from what has to go to what may.
        drops: The predicted drop at each, never falling.
        errors: What the program adds up: minus the logarithm of what is left, and a little for more pruning
            where that is the same.
    """

    pruned: NDArray[np.int64]
    drops: NDArray[np.float64]
    errors: NDArray[np.float64]


def least_errors(
    costs: Sequence[NDArray[np.int64]], errors: Sequence[NDArray[np.float64]], budget: int
) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
    """Return for each budget the least sum of errors, and which option each layer takes there.

    Args:
        costs: For each layer, the cost of each of its options in whole buckets.
        errors: For each layer, the error of each of its options.
        budget: What is to be spent at least, in buckets.

    Returns:
        Errors of shape ``(budget + 1,)``, infinite where a budget cannot be spent; options of shape
        ``(layers, budget + 1)``, to be read from the last layer on.
    """
    best = np.full(budget + 1, np.inf)
    best[0] = 0.0
    places = np.arange(budget + 1)
    options = np.zeros((len(costs), budget + 1), np.int16)
    for number, (cost, error) in enumerate(zip(costs, errors, strict=True)):
        found = best[np.maximum(places - cost[:, None], 0)] + error[:, None]
        options[number] = found.argmin(0)
        best = found[options[number], places]
    return best, options


@dataclass(frozen=True, eq=False)
class _Program:
    """The program: what a bucket is worth, what options cost in buckets, and the option at each budget."""

    scale: float
    costs: Sequence[NDArray[np.int64]]
    options: NDArray[np.int16]

    @property
    def most(self) -> int:
        """Return the last budget."""
        return int(self.options.shape[1]) - 1


class Budget:
    """The predicted front of a network, and the allocation that is predicted best at any point of it.

    Args:
        table: What each layer loses; cells that are not known are read between those that are.
        layers: The layers, pruned as the table's were.
        limits: How many units of each may go.
        tally: What is counted.
        goal: The goal; its target plays no part.
        choosing: Whether to read the drops on the half of the examples that allocations are chosen on.

    Attributes:
        curves: What each layer loses, in the order of the layers.
    """

    def __init__(
        self,
        table: SensitivityTable,
        layers: Sequence[Layer],
        limits: Limits,
        tally: Tally,
        goal: GoalSpec,
        *,
        choosing: bool = True,
    ) -> None:
        self._layers, self._limits, self._tally, self._goal = layers, limits, tally, goal
        self._most = to_lose(table)
        # Less than one example: it decides where drops are the same, as zero often is.
        small = 0.5 / table.examples if table.examples else 1e-6
        grid = np.array([0.0, *table.amounts])
        self.curves = [
            _curve(
                layer,
                known_drops(table, layer, self._most, choosing=choosing),
                _options(np.rint(grid * layer.units).astype(np.int64), layer, limits, place, goal.round_to),
                self._most,
                small,
            )
            for place, layer in enumerate(layers)
        ]

    @cached_property
    def _program(self) -> _Program:
        """Return the program's rows; made at the first look-up, since a prediction needs none."""
        gone = [self._gone(place, curve) for place, curve in enumerate(self.curves)]
        scale = max(sum(float(each[-1]) for each in gone) / BUCKETS, 1.0)
        costs = [np.rint(each / scale).astype(np.int64) for each in gone]
        most = sum(int(cost[-1]) for cost in costs)
        _, options = least_errors(costs, [curve.errors for curve in self.curves], most)
        return _Program(scale, costs, options)

    def _gone(self, place: int, curve: Curve) -> NDArray[np.float64]:
        return np.array([self._tally.gone(place, int(count)) for count in curve.pruned])

    def at(self, target: float) -> Counts:
        """Return how many units of each layer go so that ``target`` is met with the least predicted drop."""
        needed = self._tally.needed(target)
        bucket = max(0, int(np.ceil(needed / self._program.scale)))
        while True:
            options = self._option_of_each(min(bucket, self._program.most))
            counts = np.array([self.curves[i].pruned[option] for i, option in enumerate(options)])
            short = needed - self._tally.total(counts)
            if short <= 0 or bucket >= self._program.most:
                return self._given_back(counts, options, -short)
            bucket += max(
                1, int(short / self._program.scale)
            )  # Buckets were rounded: a little more is asked for.

    def _option_of_each(self, bucket: int) -> list[int]:
        options = [0] * len(self._layers)
        for place in range(len(self._layers) - 1, -1, -1):
            options[place] = int(self._program.options[place, bucket])
            bucket = max(0, bucket - int(self._program.costs[place][options[place]]))
        return options

    def _given_back(self, counts: Counts, options: Sequence[int], excess: float) -> Counts:
        """Return the counts without what is too much, taken where that is predicted to save most."""
        counts, grain = counts.copy(), self._goal.round_to
        for place in sorted(range(len(counts)), key=lambda place: -self._slope(place, options[place])):
            if not self._limits.free[place] or excess <= 0:
                continue
            floor = int(self.curves[place].pruned[max(options[place] - 1, 0)])
            fewer = self._as_few(place, int(counts[place]), floor, excess, grain)
            excess -= self._tally.gone(place, int(counts[place])) - self._tally.gone(place, fewer)
            counts[place] = fewer
        return self._to_the_grain(counts, excess)

    def _as_few(self, place: int, count: int, floor: int, excess: float, grain: int) -> int:
        """Return the least count from ``floor`` on that gives at most ``excess`` back."""
        low, high = 0, (count - floor) // grain
        whole = self._tally.gone(place, count)
        while low < high:
            middle = (low + high + 1) // 2
            saved = whole - self._tally.gone(place, count - middle * grain)
            low, high = (middle, high) if saved <= excess else (low, middle - 1)
        return count - low * grain

    def _to_the_grain(self, counts: Counts, excess: float) -> Counts:
        """Return the counts with single units given back wherever that is still too much."""
        grain = self._goal.round_to
        for place in range(len(counts)):
            if self._limits.free[place] and excess > 0 and counts[place] > self._limits.least[place]:
                floor = self._limits.least[place]
                fewer = self._as_few(place, int(counts[place]), floor, excess, grain)
                excess -= self._tally.gone(place, int(counts[place])) - self._tally.gone(place, fewer)
                counts[place] = fewer
        return counts

    def _slope(self, place: int, option: int) -> float:
        """Return the predicted drop per cost of a layer's last step."""
        if option == 0:
            return -1.0
        curve = self.curves[place]
        cost = self._tally.gone(place, int(curve.pruned[option])) - self._tally.gone(
            place, int(curve.pruned[option - 1])
        )
        return float(curve.errors[option] - curve.errors[option - 1]) / cost if cost else 0.0

    def front(self, points: int = 100) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return shares of the goal's unit, rising, and the least drop predicted for each."""
        buckets = np.unique(np.linspace(0, self._program.most, points).astype(int))
        whole = self._tally.whole or 1.0
        shares = (self._tally.before + buckets * self._program.scale) / whole
        drops = []
        for bucket in buckets:
            options = self._option_of_each(int(bucket))
            drops.append(
                together([self.curves[i].drops[option] for i, option in enumerate(options)], self._most)
            )
        return shares, np.maximum.accumulate(np.array(drops))


def to_lose(table: SensitivityTable) -> float:
    """Return the largest drop there is: all that is above the worst cell of the table.

    Of a metric that has no worst, such as a loss, it is ten times the largest drop seen: sums, nearly.
    """
    most = max([cell.drop for cell in table.cells.values() if cell.drop is not None], default=0.0)
    seen = max(most, 1e-9)
    return seen if table.higher_is_better else 10 * seen


def known_drops(
    table: SensitivityTable, layer: Layer, most: float, *, choosing: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for which counts of a layer's units a drop is known, from none to all, and these drops.

    Drops are made to never fall, and none is below zero: a network does not get better by noise.

    Args:
        table: The table.
        layer: The layer.
        most: What an empty layer loses where the table does not say.
        choosing: Whether to read them on the half of the examples that allocations are chosen on.
    """
    cells = [cell for _, cell in table.of_layer(layer.name) if cell.drop is not None]
    drops = [cell.choosing if choosing and cell.choosing is not None else cell.drop for cell in cells]
    known = np.array([0, *(cell.pruned_units for cell in cells)], np.int64)
    fitted = np.maximum(monotone_fit([0.0, *(drop or 0.0 for drop in drops)]), 0.0)
    if known[-1] < layer.units:
        known, fitted = np.append(known, layer.units), np.append(fitted, most)
    return known, fitted


class Forecast:
    """What allocations are predicted to lose.

    Args:
        table: What each layer loses.
        layers: The layers, pruned as the table's were.
    """

    def __init__(self, table: SensitivityTable, layers: Sequence[Layer]) -> None:
        self._most = to_lose(table)
        self._known = [known_drops(table, layer, self._most) for layer in layers]

    def predicted(self, counts: Sequence[int] | Counts) -> float:
        """Return the drop if every layer left its own share of the metric, whatever the others leave."""
        drops = [float(np.interp(count, *known)) for count, known in zip(counts, self._known, strict=True)]
        return together(drops, self._most)


def together(drops: Sequence[float], most: float) -> float:
    """Return what layers lose together that leave their own shares of ``most``, all there is to lose.

    Example:
        >>> together([0.5, 0.5], 1.0)
        0.75
    """
    return float(most * (1 - np.prod(1 - np.minimum(np.array(drops) / most, 1))))


def _curve(
    layer: Layer,
    known: tuple[NDArray[np.int64], NDArray[np.float64]],
    pruned: NDArray[np.int64],
    most: float,
    small: float,
) -> Curve:
    """Return what a layer loses at each of its options; of options that lose the same, less is preferred."""
    drops = np.interp(pruned, *known)
    left = np.maximum(1 - drops / most, LEAST_LEFT)
    return Curve(pruned, drops, -np.log(left) + small * (pruned / max(layer.units, 1)) ** 2)


def _options(
    grid: NDArray[np.int64], layer: Layer, limits: Limits, place: int, round_to: int
) -> NDArray[np.int64]:
    """Return the counts to choose from: those of the table, within the limits, and both ends."""
    least, most = limits.least[place], limits.most[place]
    found = np.array([*np.clip(grid, least, most), least, most])
    if round_to > 1 and limits.free[place]:
        one = Limits((least,) * len(found), (most,) * len(found), (True,) * len(found))
        found = rounded(found, np.full(len(found), layer.units), one, round_to)
    return np.unique(found)
