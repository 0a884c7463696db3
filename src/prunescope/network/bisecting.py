"""Sensitivity by the user's own `evaluate` function: bisection, with a few calls per layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from prunescope.core.errors import RequestError
from prunescope.measure import evaluated, pruned_copy
from prunescope.network.asked import SensitivitySpec, how
from prunescope.network.layers import Layer, layers_of
from prunescope.network.survey import USUAL
from prunescope.network.table import Cell, SensitivityTable
from prunescope.prune import units_to_prune
from prunescope.session import Session

TOLERANCE = 0.01
"""Default tolerance, as a share of the dense metric."""

LOWER_IS_BETTER = ("loss", "error", "perplexity", "ppl", "nll", "mse", "mae", "rmse", "wer", "cer", "fid")
"""Words in a metric's name that mean lower is better."""


class Bisection:
    """Measure a sensitivity table with `Source.evaluate`, one call at a time.

    For each layer, bisection finds the largest amount whose drop is within the tolerance, assuming that drops
    rise with amounts. It takes about log2(number of amounts) calls.

    Args:
        session: The session; its steps count as applied. Its model is read, never written.
        asked: How each layer is pruned, by how much, and which layers.
        tolerance: Largest allowed drop, in the metric's unit; None means 1 % of the dense metric.
        higher_is_better: Whether a higher metric is better; None decides by its name (lower for a loss).

    Raises:
        RequestError: The session has no ``evaluate``, or a value is invalid.
    """

    def __init__(
        self,
        session: Session,
        asked: SensitivitySpec = USUAL,
        *,
        tolerance: float | None = None,
        higher_is_better: bool | None = None,
    ) -> None:
        if session.source.evaluate is None:
            raise RequestError("evaluate", "`evaluate` must be given to measure sensitivity without `data`.")
        self._evaluate = session.source.evaluate
        self._session, self.tolerance = session, tolerance
        self._higher = higher_is_better
        self.asked = asked.checked()
        self.amounts = tuple(self.asked.amounts)
        self.layers = layers_of(session, self.asked.spec, self.asked.layers)
        self._masks = dict(session.applied.masks)
        self._cells: dict[tuple[str, float], Cell] = {}
        self._metric, self._dense = "", math.nan
        self._calls, self._seconds = 0, 0.0

    @property
    def most_calls(self) -> int:
        """Return the largest number of calls needed, including the one for the dense model."""
        return 1 + len(self.layers) * math.ceil(math.log2(len(self.amounts) + 1))

    def tables(self) -> Iterator[SensitivityTable]:
        """Yield the table after every call of ``evaluate``; the first one already estimates the time left.

        If ``evaluate`` raises, the last table has the error as its problem and keeps what was measured.

        Raises:
            RequestError: ``evaluate`` cannot measure the dense model.
        """
        self._dense = self._call({})
        if self.tolerance is None:
            self.tolerance = TOLERANCE * abs(self._dense)
        yield self._table()
        try:
            for layer in self.layers:
                yield from self._bisect(layer)
        except RequestError as error:
            yield self._table().with_problem(str(error))
            return
        yield self._table(done=True)

    def _bisect(self, layer: Layer) -> Iterator[SensitivityTable]:
        asked = {
            amount: 0 if layer.problem else units_to_prune(amount, layer.units) for amount in self.amounts
        }
        for amount, pruned in asked.items():
            if not pruned:
                why = layer.problem or f"{amount:.0%} of {layer.units:,} is none."
                self._cells[layer.name, amount] = Cell("cannot", why=why)
        places = [amount for amount, pruned in asked.items() if pruned]
        low, high = 0, len(places)
        while low < high:
            middle = (low + high) // 2
            drop = self._drop(layer, places[middle], asked[places[middle]])
            low, high = (middle + 1, high) if drop <= (self.tolerance or 0) else (low, middle)
            yield self._table()

    def _drop(self, layer: Layer, amount: float, pruned: int) -> float:
        found = self._call({layer.name: layer.mask(pruned)})
        drop = self._dense - found if self.higher_is_better else found - self._dense
        self._cells[layer.name, amount] = Cell("measured", drop, pruned_units=pruned)
        return drop

    def _call(self, masks: dict[str, object]) -> float:
        start = perf_counter()
        masked: dict[str, Any] = {**self._masks, **masks}
        model = pruned_copy(self._session.source.module, masked, self._session.applied.values)
        numbers = evaluated(self._evaluate, model).values
        self._metric = next(iter(numbers)) if not self._metric else self._metric
        if self._metric not in numbers:
            raise RequestError("evaluate", f"`evaluate` must return {self._metric!r} each time, as at first.")
        self._calls, self._seconds = self._calls + 1, self._seconds + perf_counter() - start
        return float(numbers[self._metric])

    @property
    def higher_is_better(self) -> bool:
        """Return whether a higher metric is better: as given, else decided by its name."""
        return is_higher_better(self._metric) if self._higher is None else self._higher

    def _table(self, done: bool = False) -> SensitivityTable:
        left = 0 if done else max(self.most_calls - self._calls, 1)
        return SensitivityTable(
            layers=tuple(layer.name for layer in self.layers),
            amounts=self.amounts,
            cells=dict(self._cells),
            **how(self.asked),
            metric=self._metric,
            higher_is_better=self.higher_is_better,
            dense=self._dense,
            weights=tuple(layer.weights for layer in self.layers),
            units=tuple(layer.units for layer in self.layers),
            tolerance=self.tolerance,
            done=self._calls / (self._calls + left),
            seconds_left=left * self._seconds / self._calls,
        )


def is_higher_better(metric: str) -> bool:
    """Return whether a higher metric is better, decided by its name.

    Example:
        >>> is_higher_better("accuracy"), is_higher_better("val_loss")
        (True, False)
    """
    words = metric.lower().replace("-", "_").replace(" ", "_").split("_")
    return not any(word in LOWER_IS_BETTER for word in words)
