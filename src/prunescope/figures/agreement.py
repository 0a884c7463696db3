"""The agreement of two states, as cells and bars: kept by both, pruned by both, pruned by one alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from prunescope.core.text import norm_name
from prunescope.figures.cells import MatrixLayout, cell_fractions
from prunescope.figures.columns import Columns
from prunescope.figures.heatmap import Window, across_locator, fit_matrix, rgba
from prunescope.figures.layout import label_across
from prunescope.figures.norms import MAX_APART, MAX_BARS, finite, grouped
from prunescope.figures.stripes import FALLING, HATCHES, RISING, StripedCells, ink_on
from prunescope.figures.style import LIGHT, Theme
from prunescope.measure import SIDES, Comparison


@dataclass(frozen=True)
class Shares:
    """The fractions of each cell's or channel's weights that the two states keep.

    Attributes:
        a: Kept by the first state.
        b: Kept by the second.
        either: Kept by at least one.
    """

    a: NDArray[Any]
    b: NDArray[Any]
    either: NDArray[Any]

    @classmethod
    def in_sight(cls, seen: Comparison, layout: MatrixLayout, window: Window) -> Shares:
        """Return the shares in the cells of ``window``."""
        a, b = (window.of(layout.matrix(side.mask)) for side in (seen.a, seen.b))
        return cls(cell_fractions(a), cell_fractions(b), cell_fractions(a | b))

    @classmethod
    def of_channels(cls, seen: Comparison) -> Shares:
        """Return the shares in every channel."""
        a, b = (kept.float().numpy() for kept in seen.kept_fractions)
        return cls(a, b, seen.kept_by_either.float().numpy())

    def kept(self, side: str) -> NDArray[Any]:
        """Return what ``side`` keeps; for ``"both"``, what both keep."""
        kept: NDArray[Any] = self.a + self.b - self.either if side == "both" else getattr(self, side)
        return kept

    def alone(self, side: str) -> NDArray[Any]:
        """Return what ``side`` prunes and the other keeps."""
        alone: NDArray[Any] = self.either - getattr(self, side)
        return alone


class AgreementMap:
    """The mask of one side or of both on ``axes``, highlighting what only one prunes; updated in place.

    Args:
        axes: Where to draw.
        theme: The colours.
        side: ``"a"``, ``"b"`` or ``"both"``.
    """

    def __init__(self, axes: Axes, theme: Theme = LIGHT, side: str = "both") -> None:
        self.axes = axes
        self.theme = theme
        self._side = side
        self._kept, self._pruned = (255 * rgba(colour) for colour in (theme.kept, theme.pruned))
        alone = [side] if side in SIDES else SIDES
        self._alone = {side: 255 * rgba(only(theme, side)) for side in alone}
        self.image = StripedCells(axes, {stripe(side): ink_on(only(theme, side)) for side in alone})

    @property
    def animated(self) -> Sequence[Artist]:
        """Return the artists that change with ``amount``, in drawing order."""
        return [self.image]

    def fit(self, seen: Comparison) -> None:
        """Show all of the tensor, with ticks for its rows and columns."""
        fit_matrix(self.axes, seen.tensor, layout_of(seen), self.theme)

    def update(self, seen: Comparison, shares: Shares | None = None) -> None:
        """Show ``seen``, as far as it is within the axes' limits.

        Args:
            seen: The comparison.
            shares: Those of the visible cells, if already computed.
        """
        layout = layout_of(seen)
        window = Window.in_sight(self.axes, layout)
        shares = shares or Shares.in_sight(seen, layout, window)
        kept = shares.kept(self._side)
        cells = self._pruned + kept[..., np.newaxis] * (self._kept - self._pruned)
        stripes = np.zeros(kept.shape, np.uint8)
        for side, colour in self._alone.items():
            alone = shares.alone(side)
            if alone.any():
                cells += alone[..., np.newaxis] * (colour - self._pruned)
                stripes[alone > 0.5] = stripe(side)
        self.image.set_striped((cells + 0.5).astype(np.uint8), window.extent(layout), stripes)


class NormPair:
    """The channel norms on ``axes`` twice: what the first side keeps upwards, the second downwards.

    Args:
        axes: Where to draw.
        theme: The colours.
    """

    def __init__(self, axes: Axes, theme: Theme = LIGHT) -> None:
        self.axes = axes
        self.theme = theme
        self.columns = {side: self._columns(side) for side in SIDES}
        axes.axhline(0, color=theme.faint, linewidth=0.8)
        for side, up in (("A", 0.75), ("B", 0.25)):
            axes.annotate(
                side, (1, up), xytext=(2.5, 0), xycoords="axes fraction", textcoords="offset points",
                color=theme.ink, fontsize=9, fontweight="bold", va="center",
            )  # fmt: skip

    def _columns(self, side: str) -> list[Columns]:
        theme = self.theme
        columns = [Columns(self.axes, colour) for colour in (theme.kept, only(theme, side), theme.pruned)]
        columns[1].set(hatch=HATCHES[stripe(side)], edgecolor=ink_on(only(theme, side)))
        return columns

    @property
    def animated(self) -> Sequence[Artist]:
        """Return the artists that change with ``amount``, in drawing order."""
        return [column for columns in self.columns.values() for column in columns]

    def fit(self, seen: Comparison) -> None:
        """Set limits, ticks and labels."""
        axes, theme = self.axes, self.theme
        highest = float(finite(seen.norms).max(initial=0.0)) * 1.08 or 1.0
        axes.set_xlim(-0.5, len(seen.norms) - 0.5)
        axes.set_ylim(-highest, highest)
        axes.xaxis.set_major_locator(across_locator(axes))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
        group = -(-len(seen.norms) // MAX_BARS)
        each = "" if group == 1 else f" (a bar is the mean of {group})"
        name = f"{seen.tensor.axis(seen.dim)}, dim {seen.dim}{each}"
        label_across(axes, name, theme)
        axes.set_ylabel(norm_name(seen.n), color=theme.faint, fontsize=theme.text_size)

    def update(self, seen: Comparison) -> None:
        """Show ``seen``."""
        shares, norms = Shares.of_channels(seen), finite(seen.norms)
        whole = grouped(norms)
        edges = np.linspace(-0.5, len(norms) - 0.5, len(whole) + 1)
        gap = 0.12 * (edges[1] - edges[0]) if len(whole) <= MAX_APART else 0.0
        for side, way in zip(SIDES, (1, -1), strict=True):
            kept, either = grouped(norms * shares.kept(side)), grouped(norms * shares.either)
            levels = [np.zeros_like(whole), way * kept, way * either, way * whole]
            for columns, low, high in zip(self.columns[side], levels, levels[1:], strict=False):
                columns.set_bars(edges[:-1] + gap, edges[1:] - gap, low, high)


def layout_of(seen: Comparison) -> MatrixLayout:
    """Return the layout of the compared layer."""
    return MatrixLayout.of(seen.tensor.shape, seen.dim)


def only(theme: Theme, side: str) -> str:
    """Return the colour of what ``side`` prunes alone."""
    return theme.only_a if side == "a" else theme.only_b


def stripe(side: str) -> int:
    """Return the direction of the stripes of what ``side`` prunes alone."""
    return RISING if side == "a" else FALLING


def agreement_handles(theme: Theme) -> list[Artist]:
    """Return the legend entries of the four states."""
    both = Patch(color=theme.kept, label="kept by both"), Patch(color=theme.pruned, label="pruned by both")
    return [*both, *(_handle(theme, side) for side in SIDES)]


def _handle(theme: Theme, side: str) -> Patch:
    return Patch(
        facecolor=only(theme, side),
        edgecolor=ink_on(only(theme, side)),
        linewidth=0,
        hatch=HATCHES[stripe(side)],
        label=f"pruned by {side.upper()} alone",
    )
