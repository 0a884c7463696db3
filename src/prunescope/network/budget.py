"""Turn a sensitivity table into the best allocation for every budget: a dynamic program over measured drops.

The shares of the metric that layers keep are multiplied, as if layers were independent, which they are not.
The result is therefore called *predicted*, and the whole allocation is measured as well. It is a product
because a sum of drops would empty a layer for free once that layer has lost all there is to lose.
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
"""Floor for the share of the metric that a layer keeps: differences below it are noise."""

BUCKETS = 2000
"""Number of buckets that the prunable total is divided into."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The predicted drop of one layer for each count of pruned units.

    Attributes:
        pruned: Counts of pruned units, rising from the least that must go to the most that may.
        drops: The predicted drop at each count, never falling.
        errors: What the program sums: minus the logarithm of the share that is left, plus a small penalty on
            pruning more, which breaks ties.
    """

    pruned: NDArray[np.int64]
    drops: NDArray[np.float64]
    errors: NDArray[np.float64]


def least_errors(
    costs: Sequence[NDArray[np.int64]], errors: Sequence[NDArray[np.float64]], budget: int
) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
    """Return the least sum of errors for each budget, and the option that each layer takes for it.

    Args:
        costs: For each layer, the cost of each of its options in whole buckets.
        errors: For each layer, the error of each of its options.
        budget: The largest amount to spend, in buckets; each budget is the least that must be spent.

    Returns:
        Errors of shape ``(budget + 1,)``, infinite where a budget cannot be spent; options of shape
        ``(layers, budget + 1)``, to be read backwards from the last layer.
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
    """The solved program: the size of a bucket, the cost of each option in buckets, the option per budget."""

    scale: float
    costs: Sequence[NDArray[np.int64]]
    options: NDArray[np.int16]

    @property
    def most(self) -> int:
        """Return the largest budget, in buckets."""
        return int(self.options.shape[1]) - 1


class Budget:
    """The predicted trade-off of a network, and the allocation predicted to be best at any point on it.

    Args:
        table: The sensitivity table; missing cells are interpolated.
        layers: The layers, pruned as in the table.
        limits: How many units of each layer may be pruned.
        tally: Counts the goal's unit.
        goal: The goal; its target is not used.
        choosing: Whether to use the drops on the half of the examples that allocations are chosen on.

    Attributes:
        curves: The predicted drops of each layer, in the order of the layers.
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
        # Less than one example: it only breaks ties between equal drops, which are often zero.
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
        """Solve the program; done on first use, since predictions alone do not need it."""
        gone = [self._gone(place, curve) for place, curve in enumerate(self.curves)]
        scale = max(sum(float(each[-1]) for each in gone) / BUCKETS, 1.0)
        costs = [np.rint(each / scale).astype(np.int64) for each in gone]
        most = sum(int(cost[-1]) for cost in costs)
        _, options = least_errors(costs, [curve.errors for curve in self.curves], most)
        return _Program(scale, costs, options)

    def _gone(self, place: int, curve: Curve) -> NDArray[np.float64]:
        return np.array([self._tally.gone(place, int(count)) for count in curve.pruned])

    def at(self, target: float) -> Counts:
        """Return how many units of each layer to prune to meet ``target`` with the least predicted drop."""
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
            )  # Costs were rounded to buckets: ask for a little more.

    def _option_of_each(self, bucket: int) -> list[int]:
        options = [0] * len(self._layers)
        for place in range(len(self._layers) - 1, -1, -1):
            options[place] = int(self._program.options[place, bucket])
            bucket = max(0, bucket - int(self._program.costs[place][options[place]]))
        return options

    def _given_back(self, counts: Counts, options: Sequence[int], excess: float) -> Counts:
        """Return the counts without the excess, taking units back where that is predicted to save most."""
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
        """Return the smallest count, ``floor`` or more, that gives back at most ``excess``."""
        low, high = 0, (count - floor) // grain
        whole = self._tally.gone(place, count)
        while low < high:
            middle = (low + high + 1) // 2
            saved = whole - self._tally.gone(place, count - middle * grain)
            low, high = (middle, high) if saved <= excess else (low, middle - 1)
        return count - low * grain

    def _to_the_grain(self, counts: Counts, excess: float) -> Counts:
        """Return the counts with the remaining excess given back in steps of ``round_to``."""
        grain = self._goal.round_to
        for place in range(len(counts)):
            if self._limits.free[place] and excess > 0 and counts[place] > self._limits.least[place]:
                floor = self._limits.least[place]
                fewer = self._as_few(place, int(counts[place]), floor, excess, grain)
                excess -= self._tally.gone(place, int(counts[place])) - self._tally.gone(place, fewer)
                counts[place] = fewer
        return counts

    def _slope(self, place: int, option: int) -> float:
        """Return the predicted error per cost of a layer's last option; -1 for its first."""
        if option == 0:
            return -1.0
        curve = self.curves[place]
        cost = self._tally.gone(place, int(curve.pruned[option])) - self._tally.gone(
            place, int(curve.pruned[option - 1])
        )
        return float(curve.errors[option] - curve.errors[option - 1]) / cost if cost else 0.0

    def front(self, points: int = 100) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return rising shares of the goal's unit and the least predicted drop for each."""
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
    """Return the largest possible drop: that of the worst cell in the table.

    For a metric without a worst value, such as a loss, it is ten times the largest drop seen, so that drops
    nearly add up.
    """
    most = max([cell.drop for cell in table.cells.values() if cell.drop is not None], default=0.0)
    seen = max(most, 1e-9)
    return seen if table.higher_is_better else 10 * seen


def known_drops(
    table: SensitivityTable, layer: Layer, most: float, *, choosing: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the counts of pruned units with a known drop, from none to all, and those drops.

    Drops are made non-decreasing and not negative: noise must not look like an improvement.

    Args:
        table: The table.
        layer: The layer.
        most: The drop assumed for an empty layer if the table does not have it.
        choosing: Whether to use the drops on the half of the examples that allocations are chosen on.
    """
    cells = [cell for _, cell in table.of_layer(layer.name) if cell.drop is not None]
    drops = [cell.choosing if choosing and cell.choosing is not None else cell.drop for cell in cells]
    known = np.array([0, *(cell.pruned_units for cell in cells)], np.int64)
    fitted = np.maximum(monotone_fit([0.0, *(drop or 0.0 for drop in drops)]), 0.0)
    if known[-1] < layer.units:
        known, fitted = np.append(known, layer.units), np.append(fitted, most)
    return known, fitted


class Forecast:
    """Predict the drop of allocations.

    Args:
        table: The sensitivity table.
        layers: The layers, pruned as in the table.
    """

    def __init__(self, table: SensitivityTable, layers: Sequence[Layer]) -> None:
        self._most = to_lose(table)
        self._known = [known_drops(table, layer, self._most) for layer in layers]

    def predicted(self, counts: Sequence[int] | Counts) -> float:
        """Return the predicted drop of these counts, treating the layers as independent."""
        drops = [float(np.interp(count, *known)) for count, known in zip(counts, self._known, strict=True)]
        return together(drops, self._most)


def together(drops: Sequence[float], most: float) -> float:
    """Return the joint drop of independent layers, where ``most`` is the largest possible drop.

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
    """Return the drops of a layer at each of its options; between equal drops, less pruning wins."""
    drops = np.interp(pruned, *known)
    left = np.maximum(1 - drops / most, LEAST_LEFT)
    return Curve(pruned, drops, -np.log(left) + small * (pruned / max(layer.units, 1)) ** 2)


def _options(
    grid: NDArray[np.int64], layer: Layer, limits: Limits, place: int, round_to: int
) -> NDArray[np.int64]:
    """Return the counts to choose from: those of the table clipped to the limits, and both limits."""
    least, most = limits.least[place], limits.most[place]
    found = np.array([*np.clip(grid, least, most), least, most])
    if round_to > 1 and limits.free[place]:
        one = Limits((least,) * len(found), (most,) * len(found), (True,) * len(found))
        found = rounded(found, np.full(len(found), layer.units), one, round_to)
    return np.unique(found)
