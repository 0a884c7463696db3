"""The sensitivity table: the drop of the metric for each layer and amount, and how it is known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from prunescope.core.criteria import WEIGHT
from prunescope.core.errors import RequestError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

State = Literal["measured", "sampled", "estimated", "cannot"]

FORMAT, VERSION = "prunescope-sensitivity", 1


@dataclass(frozen=True)
class Cell:
    """One layer pruned by one amount, all other layers unchanged.

    Attributes:
        state: ``"measured"``: on all examples; ``"sampled"``: on some so far, or stopped when its interval
            was clear of the tolerance; ``"estimated"``: not run, see `prunescope.network.estimates`;
            ``"cannot"``: nothing is pruned, see ``why``.
        drop: Drop of the metric, in its own unit; positive is worse. None if nothing is pruned.
        low, high: 95 % interval of the drop on examples like these; None if there is none.
        pruned_units: How many units were pruned.
        examples: How many examples it was run on.
        why: Why nothing is pruned, in one sentence; "" otherwise.
        choosing: The drop on the half of the examples that allocations are chosen on; None if not split.
    """

    state: State
    drop: float | None = None
    low: float | None = None
    high: float | None = None
    pruned_units: int = 0
    examples: int = 0
    why: str = ""
    choosing: float | None = None


@dataclass(frozen=True, eq=False)
class SensitivityTable:
    """The drop of each layer at each amount. An immutable value; cells not yet measured are missing.

    Attributes:
        layers: Full parameter names, in the model's order.
        amounts: Fractions of each layer's units, rising.
        cells: The cells by full parameter name and amount.
        method, n, dim, seed, criterion: How each layer is pruned.
        metric: Name of the metric, such as ``"accuracy"``.
        higher_is_better: Whether a higher metric is better.
        dense: The metric before any of these prunings.
        examples: How many examples there are; 0 for the user's own metric.
        weights: How many weights each layer holds, in the order of ``layers``.
        units: How many units of each layer can be pruned.
        tolerance: The drop at which measuring a cell may stop early; None measures every cell to the end.
        done: Share of the runs that is done, in [0, 1].
        seconds_left: Estimated time for the rest, in seconds; None if not known yet.
        problem: Why measuring ended early, in one sentence; "" if it did not.

    Example:
        >>> table = SensitivityTable(("fc.weight",), (0.5,), {("fc.weight", 0.5): Cell("measured", 0.02)})
        >>> table.rows()[0]["drop"], table.missing
        (0.02, 0)
    """

    layers: tuple[str, ...]
    amounts: tuple[float, ...]
    cells: Mapping[tuple[str, float], Cell] = field(repr=False)
    method: str = "l1_unstructured"
    n: int | float | str = 2
    dim: int = 0
    seed: int = 0
    criterion: str = WEIGHT
    metric: str = "accuracy"
    higher_is_better: bool = True
    dense: float = 1.0
    examples: int = 0
    weights: tuple[int, ...] = ()
    units: tuple[int, ...] = ()
    tolerance: float | None = None
    done: float = 1.0
    seconds_left: float | None = 0.0
    problem: str = ""

    @property
    def complete(self) -> bool:
        """Return whether all runs are done."""
        return self.done >= 1.0

    @property
    def missing(self) -> int:
        """Return how many cells are missing."""
        return len(self.layers) * len(self.amounts) - len(self.cells)

    def count(self, state: State) -> int:
        """Return how many cells are in a state."""
        return sum(cell.state == state for cell in self.cells.values())

    @property
    def in_words(self) -> str:
        """Describe the progress, such as ``"47 of 63 cells measured, 16 sampled"``."""
        total = len(self.layers) * len(self.amounts)
        others = [(name, self.count(name)) for name in ("sampled", "estimated", "cannot")]
        named = {"cannot": "cannot be pruned alone"}
        rest = "".join(f", {count} {named.get(name, name)}" for name, count in others if count)
        return f"{self.count('measured')} of {total} cells measured{rest}"

    def of_layer(self, layer: str) -> Iterator[tuple[float, Cell]]:
        """Yield each amount of a layer that has a cell, rising, with that cell."""
        for amount in self.amounts:
            if (layer, amount) in self.cells:
                yield amount, self.cells[layer, amount]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per cell for a data frame: layer, amount and the fields of the cell."""
        return [
            {"layer": layer, "amount": amount, **asdict(cell)}
            for layer in self.layers
            for amount, cell in self.of_layer(layer)
        ]

    def figure(self, amounts: Mapping[str, float] | None = None) -> Figure:
        """Draw a heat-map of layers × amounts.

        Args:
            amounts: Fraction of each layer's units that an allocation prunes, drawn as a line of steps.
        """
        from prunescope.figures.sensitivity import sensitivity_figure

        return sensitivity_figure(self, amounts=amounts)

    def to_json(self) -> str:
        """Return the table as JSON."""
        values = {name: value for name, value in vars(self).items() if name != "cells"}
        infinite = values["n"] if values["n"] not in (float("inf"), float("-inf")) else str(values["n"])
        document = {"format": FORMAT, "version": VERSION, **values, "n": infinite, "cells": self.rows()}
        return json.dumps(document, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> SensitivityTable:
        """Return the table that `to_json` wrote.

        Raises:
            RequestError: ``text`` is not such a table.

        Example:
            >>> table = SensitivityTable(("w",), (0.5,), {("w", 0.5): Cell("sampled", 0.1, examples=64)})
            >>> SensitivityTable.from_json(table.to_json()).cells["w", 0.5].examples
            64
        """
        try:
            values = json.loads(text)
            if values.pop("format") != FORMAT or values.pop("version") != VERSION:
                raise ValueError("another format or version")
            cells = {(row.pop("layer"), row.pop("amount")): Cell(**row) for row in values.pop("cells")}
            tuples = {name: tuple(values.pop(name)) for name in ("layers", "amounts", "weights", "units")}
            n = float(values["n"]) if values["n"] in ("inf", "-inf") else values["n"]
            given: dict[str, Any] = {**values, **tuples, "n": n}
            return cls(cells=cells, **given)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise RequestError("table", f"`table` is not a sensitivity table: {reason}.") from error

    def with_problem(self, problem: str) -> SensitivityTable:
        """Return a copy with ``problem``, the sentence that says why measuring ended early."""
        return replace(self, problem=problem)

    def _repr_html_(self) -> str:
        """Return the HTML that a notebook shows: the progress and the drops."""
        from html import escape

        heads = "".join(f'<th scope="col">{100 * amount:g} %</th>' for amount in self.amounts)
        lines = "".join(
            f'<tr><th scope="row">{escape(layer)}</th>'
            + "".join(f"<td>{_text(self.cells.get((layer, amount)))}</td>" for amount in self.amounts)
            + "</tr>"
            for layer in self.layers
        )
        said = escape(f"Drop of {self.metric} (dense {self.dense:.4g}); {self.in_words}. {self.problem}")
        return f"<p>{said}</p><table><thead><tr><td></td>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _text(cell: Cell | None) -> str:
    if cell is None or cell.drop is None:
        return "" if cell is None else "cannot"
    mark = {"measured": "", "sampled": "~", "estimated": "?", "cannot": ""}[cell.state]
    return f"{mark}{cell.drop:.4f}"
