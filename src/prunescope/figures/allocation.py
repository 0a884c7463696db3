"""An allocation layer by layer, the predicted front, and rules side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prunescope.figures.sensitivity import LABEL_PIXELS, row_edges
from prunescope.figures.style import DASHES, Theme, rc_theme


class MeasuredShown(Protocol):
    """What is drawn of a measured allocation."""

    @property
    def value(self) -> float:
        """Return the metric with all of it pruned."""

    @property
    def drop(self) -> float:
        """Return the drop of the metric."""

    @property
    def examples(self) -> int:
        """Return on how many examples; 0 for the user's own metric."""

    @property
    def metric(self) -> str:
        """Return what was measured."""


class AllocationShown(Protocol):
    """What is drawn of an allocation."""

    @property
    def shares(self) -> Mapping[str, float]:
        """Return the fraction of each layer's units that is pruned."""

    @property
    def weights(self) -> Mapping[str, int]:
        """Return how many weights each layer holds."""

    @property
    def rule(self) -> str:
        """Return its rule."""

    @property
    def reached(self) -> float:
        """Return the fraction of the goal's unit that is pruned."""

    @property
    def measured(self) -> MeasuredShown | None:
        """Return the measured metric; None if it was not measured."""


def draw_allocation(axes: Axes, allocation: AllocationShown, theme: Theme, *, names: bool = True) -> None:
    """Draw a row per layer, depth downwards, its height by its weights: what is pruned, then what is kept."""
    layers = list(allocation.shares)
    edges = row_edges([allocation.weights[layer] for layer in layers])
    shares, heights = np.array([allocation.shares[layer] for layer in layers]), np.diff(edges)
    style: dict[str, Any] = {"align": "edge", "edgecolor": theme.paper, "linewidth": 0.5}
    axes.barh(edges[:-1], shares, heights, color=theme.pruned, **style)
    axes.barh(edges[:-1], 1 - shares, heights, left=shares, color=theme.kept, **style)
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"])
    axes.tick_params(colors=theme.faint, labelsize=8, length=2)
    axes.set_facecolor(theme.paper)
    for spine in axes.spines.values():
        spine.set_visible(False)
    middles = (edges[1:] + edges[:-1]) / 2
    shown = _with_room(middles, axes) if names else []
    axes.set_yticks(middles[shown], [layers[place].removesuffix(".weight") for place in shown])


def _with_room(middles: NDArray[np.float64], axes: Axes) -> list[int]:
    height = axes.bbox.height * 100 / axes.figure.dpi
    shown: list[int] = []
    for place, middle in enumerate(middles):
        if not shown or (middle - middles[shown[-1]]) * height >= LABEL_PIXELS:
            shown.append(place)
    return shown


def worth_text(allocation: AllocationShown) -> str:
    """Return the measured metric of an allocation as short text."""
    measured = allocation.measured
    if measured is None:
        return "not measured"
    return f"{100 * measured.value:.1f} %" if measured.examples else f"{measured.metric} {measured.value:.4g}"


def allocation_figure(
    allocation: AllocationShown, *, theme: Theme | None = None, size: tuple[float, float] = (7.0, 4.5)
) -> Figure:
    """Return a figure of an allocation."""
    theme = theme or rc_theme()
    figure = Figure(figsize=size, facecolor=theme.paper, layout="constrained")
    axes = figure.add_subplot()
    draw_allocation(axes, allocation, theme)
    title = f"{allocation.rule}: {100 * allocation.reached:.1f} % pruned, {worth_text(allocation)}"
    axes.set_title(title, loc="left", color=theme.ink, fontsize=10)
    axes.set_xlabel("pruned (light) and kept (dark) of each layer", color=theme.faint, fontsize=9)
    return figure


def rules_figure(
    allocations: Sequence[AllocationShown],
    *,
    theme: Theme | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Return a figure of rules at the same target as small multiples, each with its measured metric."""
    theme = theme or rc_theme()
    width, height = size or (2.0 + 1.5 * len(allocations), 3.6)
    figure = Figure(figsize=(width, height), facecolor=theme.paper, layout="constrained")
    for place, allocation in enumerate(allocations):
        axes = figure.add_subplot(1, len(allocations), place + 1)
        draw_allocation(axes, allocation, theme, names=place == 0)
        name = allocation.rule.replace("_plus", "+")
        axes.set_title(f"{name}\n{worth_text(allocation)}", color=theme.ink, fontsize=9)
    return figure


def draw_front(
    axes: Axes,
    shares: NDArray[np.float64],
    drops: NDArray[np.float64],
    theme: Theme,
    *,
    measured: Sequence[tuple[float, float, str]] = (),
    at: float | None = None,
    at_most: float | None = None,
    metric: str = "accuracy",
) -> None:
    """Draw the predicted front as a dashed line, and measured allocations as dots.

    Args:
        axes: Where to draw.
        shares: Pruned fractions, ascending.
        drops: The predicted drop of each.
        theme: The colours.
        measured: Fraction, drop and rule of each measured allocation.
        at: The target, drawn as a vertical line.
        at_most: The allowed drop, drawn as a horizontal line.
        metric: Name of the metric.
    """
    axes.set_facecolor(theme.paper)
    axes.plot(shares, drops, color=theme.kept, linestyle=DASHES, label="predicted")
    if measured:
        x, y, _ = zip(*measured, strict=True)
        axes.plot(x, y, "o", color=theme.pruned, markeredgecolor=theme.ink, label="measured")
        for share, drop, rule in measured:
            axes.annotate(
                rule, (share, drop), xytext=(4, 4), textcoords="offset points", color=theme.faint, fontsize=8
            )
    if at is not None:
        axes.axvline(at, color=theme.ink, linewidth=1)
    if at_most is not None:
        axes.axhline(at_most, color=theme.threshold, linestyle=DASHES, linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_xlabel("fraction pruned", color=theme.faint)
    axes.set_ylabel(f"drop of {metric}", color=theme.faint)
    axes.tick_params(colors=theme.faint, labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=8, labelcolor=theme.faint)
