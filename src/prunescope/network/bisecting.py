"""The sensitivity of a model that only its owner's function can measure: bisection, a few calls a layer."""

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
"""The drop that layers are told apart by, as a share of the dense metric, unless another is asked for."""

LOWER_IS_BETTER = ("loss", "error", "perplexity", "ppl", "nll", "mse", "mae", "rmse", "wer", "cer", "fid")
"""Words in a metric's name by which a lower one is better."""


class Bisection:
    """A sensitivity table to be measured by `Source.evaluate`, one call at a time.

    Of each layer the largest amount is sought whose drop is within the tolerance, as if drops rose with
    amounts: in log2 of as many calls as there are amounts.

    Args:
        session: The exploration; its steps count as applied. Its model is read, never written.
        asked: How each layer is pruned, by how much, and which layers.
        tolerance: The drop sought, in the metric's unit; None means one hundredth of the dense metric.
        higher_is_better: Whether a higher metric is better; None judges by its name: a loss is not.

    Raises:
        RequestError: There is no ``evaluate``, or a value is invalid.
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
        """Return how many calls it takes at most, the one of the dense model included."""
        return 1 + len(self.layers) * math.ceil(math.log2(len(self.amounts) + 1))

    def tables(self) -> Iterator[SensitivityTable]:
        """Yield the table after every call of ``evaluate``: the first time with the time it will take.

        Where ``evaluate`` raises, the last table says so and keeps what was measured.

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
        """Return whether a higher metric is better, as asked or judged by its name."""
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
    """Return whether more of a metric is better, judged by its name.

    Example:
        >>> is_higher_better("accuracy"), is_higher_better("val_loss")
        (True, False)
    """
    words = metric.lower().replace("-", "_").replace(" ", "_").split("_")
    return not any(word in LOWER_IS_BETTER for word in words)
