"""Layers × amounts: what each layer loses, with an allocation as a line of steps through it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from prunescope.figures.style import Theme, rc_theme

LEAST_SHARE = 0.5
"""Height of the smallest layer's row, as a fraction of the mean height."""

LABEL_PIXELS = 11.0
"""Height of a row that has room for its name."""

TOLERANCE = 0.05
"""The drop that is shown in the darkest colour where no tolerance is given."""


class CellShown(Protocol):
    """What is drawn of a cell."""

    @property
    def state(self) -> str:
        """Return ``"measured"``, ``"sampled"``, ``"estimated"`` or ``"cannot"``."""

    @property
    def drop(self) -> float | None:
        """Return the drop of the metric."""


class TableShown(Protocol):
    """What is drawn of a sensitivity table."""

    @property
    def layers(self) -> Sequence[str]:
        """Return full parameter names, top to bottom."""

    @property
    def amounts(self) -> Sequence[float]:
        """Return the amounts, rising."""

    @property
    def weights(self) -> Sequence[int]:
        """Return how many weights each layer holds."""

    @property
    def cells(self) -> Mapping[tuple[str, float], CellShown]:
        """Return the cells that are known."""

    @property
    def tolerance(self) -> float | None:
        """Return the drop that cells are told apart by."""

    @property
    def metric(self) -> str:
        """Return what is measured."""


def row_edges(weights: Sequence[int]) -> NDArray[np.float64]:
    """Return the row edges, from 0 to 1: heights proportional to weights, none too small.

    Example:
        >>> row_edges([1, 3]).round(3).tolist()
        [0.0, 0.375, 1.0]
    """
    count = max(len(weights), 1)
    whole = float(sum(weights)) or 1.0
    heights = [LEAST_SHARE / count + (1 - LEAST_SHARE) * weight / whole for weight in weights]
    return np.concatenate([[0.0], np.cumsum(heights)])


def column_edges(amounts: Sequence[float]) -> NDArray[np.float64]:
    """Return the column edges: half-way between amounts, and as far beyond the ends."""
    known = np.asarray(amounts, np.float64)
    middles = (known[1:] + known[:-1]) / 2
    first = known[0] - (middles[0] - known[0] if len(middles) else known[0] / 2)
    last = known[-1] + (known[-1] - middles[-1] if len(middles) else (1 - known[-1]) / 2 or 0.05)
    return np.concatenate([[first], middles, [last]])


class SensitivityMap:
    """A heat-map of a sensitivity table; its artists are made once and updated in place.

    Args:
        axes: Where to draw; depth runs downwards.
        table: A table with the layers and amounts of all that will be shown.
        theme: The colours.

    Attributes:
        axes: Where it is drawn.
        layers, amounts: Its rows and columns.
        mesh: The cells, coloured by their drop; what is not known or cannot be is transparent.
        steps: The allocation's line.
    """

    def __init__(self, axes: Axes, table: TableShown, theme: Theme) -> None:
        self.axes, self.layers, self.amounts = axes, tuple(table.layers), tuple(table.amounts)
        self._theme = theme
        weights = table.weights or [1] * len(self.layers)
        self.rows, self.columns = row_edges(weights), column_edges(self.amounts)
        colours = LinearSegmentedColormap.from_list("drop", [theme.kept, theme.zero, theme.threshold])
        empty = np.full((len(self.layers), len(self.amounts)), np.nan)
        self.mesh = axes.pcolormesh(
            self.columns,
            self.rows,
            empty,
            cmap=colours,
            vmin=-1,
            vmax=1,
            edgecolors=theme.grid,
            linewidth=0.3,
        )
        self._marks: list[PatchCollection] = []
        (self._dots,) = axes.plot([], [], ".", color=theme.ink, markersize=2.5, linestyle="none")
        (self.steps,) = axes.plot([], [], color=theme.ink, linewidth=2, solid_joinstyle="miter")
        self._dress(table)

    def _dress(self, table: TableShown) -> None:
        axes, theme = self.axes, self._theme
        axes.set_facecolor(theme.paper)
        axes.set_ylim(1, 0)
        axes.set_xlim(min(0.0, float(self.columns[0])), max(1.0, float(self.columns[-1])))
        axes.set_xticks(self.amounts, [f"{100 * amount:g}" for amount in self.amounts])
        axes.set_xlabel("% of the layer's units pruned", color=theme.faint)
        axes.tick_params(colors=theme.faint, labelsize=9, length=2)
        for spine in axes.spines.values():
            spine.set_color(theme.grid)
        self.label_rows()

    def label_rows(self) -> None:
        """Label the rows that have room for it; call again when the height of the axes changes."""
        height = self.axes.bbox.height * 100 / self.axes.figure.dpi
        middles = (self.rows[1:] + self.rows[:-1]) / 2
        shown, last = [], -1.0
        for place, middle in enumerate(middles):
            if (middle - last) * height >= LABEL_PIXELS or last < 0:
                shown.append(place)
                last = float(middle)
        names = [self.layers[place].removesuffix(".weight") for place in shown]
        self.axes.set_yticks(middles[shown], names)

    def show(
        self, table: TableShown, shares: Mapping[str, float] | None = None, tolerance: float | None = None
    ) -> None:
        """Show what is known.

        Args:
            table: A table of the same layers and amounts.
            shares: Fraction of each layer's units that an allocation prunes; None draws no line.
            tolerance: The drop shown in the darkest colour; None takes the table's, or five points.
        """
        most = tolerance or table.tolerance or TOLERANCE
        drops = np.full((len(self.layers), len(self.amounts)), np.nan)
        marked: dict[str, list[tuple[int, int]]] = {"estimated": [], "cannot": [], "sampled": []}
        for row, layer in enumerate(self.layers):
            for column, amount in enumerate(self.amounts):
                cell = table.cells.get((layer, amount))
                if cell is None:
                    continue
                if cell.drop is not None:
                    drops[row, column] = cell.drop
                marked.get(cell.state, []).append((row, column))
        self.mesh.set_array(np.clip(drops / most, -1, 1))
        self._mark(marked)
        self._draw_steps(shares)

    def _mark(self, marked: Mapping[str, Sequence[tuple[int, int]]]) -> None:
        for old in self._marks:
            old.remove()
        cannot = self._patches(marked["cannot"], facecolor=self._theme.earlier, edgecolor=self._theme.grid)
        estimated = self._patches(
            marked["estimated"], facecolor="none", edgecolor=self._theme.faint, hatch="////", linewidth=0
        )
        self._marks = [cannot, estimated]
        places = [
            (self.amounts[column], (self.rows[row] + self.rows[row + 1]) / 2)
            for row, column in marked["sampled"]
        ]
        self._dots.set_data([x for x, _ in places], [y for _, y in places])

    def _patches(self, places: Sequence[tuple[int, int]], **style: Any) -> PatchCollection:
        boxes = [
            Rectangle(
                (self.columns[column], self.rows[row]),
                self.columns[column + 1] - self.columns[column],
                self.rows[row + 1] - self.rows[row],
            )
            for row, column in places
        ]
        collection = PatchCollection(boxes, **style)
        self.axes.add_collection(collection)
        return collection

    def _draw_steps(self, shares: Mapping[str, float] | None) -> None:
        if shares is None:
            self.steps.set_data([], [])
            return
        at = [shares.get(layer, 0.0) for layer in self.layers]
        self.steps.set_data(np.repeat(at, 2), np.column_stack([self.rows[:-1], self.rows[1:]]).ravel())

    def cell_at(self, x: float, y: float) -> tuple[str, float] | None:
        """Return the layer and the amount at data coordinates; None where there is no cell."""
        row, column = bisect_right(self.rows, y) - 1, bisect_right(self.columns, x) - 1
        inside = 0 <= row < len(self.layers) and 0 <= column < len(self.amounts)
        return (self.layers[row], self.amounts[column]) if inside else None


def sensitivity_figure(
    table: TableShown,
    *,
    amounts: Mapping[str, float] | None = None,
    tolerance: float | None = None,
    theme: Theme | None = None,
    size: tuple[float, float] = (8.0, 5.0),
) -> Figure:
    """Return a figure of a table, with its colours explained.

    Args:
        table: The table.
        amounts: Fraction of each layer's units that an allocation prunes, drawn as a line of steps.
        tolerance: The drop shown in the darkest colour; None takes the table's, or five points.
        theme: The colours; None takes matplotlib's own.
        size: Width and height in inches.
    """
    theme = theme or rc_theme()
    figure = Figure(figsize=size, facecolor=theme.paper, layout="constrained")
    axes = figure.add_subplot()
    drawn = SensitivityMap(axes, table, theme)
    drawn.show(table, amounts, tolerance)
    most = tolerance or table.tolerance or TOLERANCE
    bar = figure.colorbar(drawn.mesh, ax=axes, ticks=[-1, 0, 1], shrink=0.6)
    bar.ax.set_yticklabels(
        [f"{-most:.3g}: better", "0", f"{most:.3g} or more"], color=theme.faint, fontsize=9
    )
    bar.set_label(f"drop of {table.metric}", color=theme.faint)
    axes.set_title("What each layer loses, pruned alone", loc="left", color=theme.ink, fontsize=10)
    axes.text(
        0, -0.16, "· on some examples   //// estimated   grey: cannot   blank: not measured",
        transform=axes.transAxes, color=theme.faint, fontsize=8, va="top",
    )  # fmt: skip
    figure.draw_without_rendering()
    drawn.label_rows()
    return figure
