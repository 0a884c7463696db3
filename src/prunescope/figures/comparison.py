"""The picture of a comparison: the masks of both states side by side, and the channel norms of both.

As in `prunescope.figures.pruning`, what depends on the amount alone is *animated*, updated in place.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prunescope.core.text import norm_name, percent
from prunescope.figures.agreement import (
    AgreementMap,
    NormPair,
    Shares,
    agreement_handles,
    layout_of,
)
from prunescope.figures.heatmap import Window
from prunescope.figures.layout import (
    BETWEEN,
    BOTTOM,
    LEFT,
    LEGEND_ROW,
    NARROW,
    RIGHT,
    TOOLBAR,
    TOP,
    Heading,
    add_axes,
    dress_chart,
    place,
)
from prunescope.figures.style import LIGHT, Theme
from prunescope.measure import SIDES, Comparison

_MASKS = 0.5
"""The fraction of the height for the masks, side by side."""

_ENTRY = 165
"""Width of a legend entry in pixels."""


class ComparisonFigure:
    """The masks and the norms of two states on one layer, updated in place.

    Args:
        figure: An empty figure to draw on; a new one of 9.6 × 5.8 inches if None.
        theme: The colours.

    Attributes:
        figure: The figure.
        theme: The colours.
        masks: Axes of the two masks, first and second state; they zoom together.
        bars: Axes of the channel norms: what the first state keeps upwards, the second downwards.

    Example:
        >>> from torch import nn
        >>> from prunescope import explore
        >>> explorer = explore(nn.Linear(4, 3), amount=0.5)
        >>> picture = ComparisonFigure()
        >>> picture.update(explorer.compare("random_unstructured"))
        True
        >>> [axes.get_xlabel() for axes in picture.masks]
        ['input features', 'input features']
        >>> explorer.close()
    """

    def __init__(self, figure: Figure | None = None, theme: Theme = LIGHT) -> None:
        self.figure = Figure(figsize=(9.6, 5.8), dpi=100) if figure is None else figure
        self.theme = theme
        self._seen: Comparison | None = None
        self._build()

    def _build(self) -> None:
        """Make the axes and the artists, replacing any that exist."""
        figure, theme = self.figure, self.theme
        figure.clear()
        figure.set_facecolor(theme.paper)
        self.masks = (add_axes(figure, theme), add_axes(figure, theme))
        self.masks[1].sharex(self.masks[0])
        self.masks[1].sharey(self.masks[0])
        self.bars: Axes = add_axes(figure, theme)
        dress_chart(self.bars, theme)
        self._maps = [AgreementMap(axes, theme, side) for axes, side in zip(self.masks, SIDES, strict=True)]
        self._norms = NormPair(self.bars, theme)
        self._headings = [Heading(axes, theme) for axes in figure.axes]
        for artist in self.animated:
            artist.set_animated(True)
        self._lay_out()

    @property
    def animated(self) -> Sequence[Artist]:
        """Return the artists that change with the amount, in drawing order."""
        masks = [artist for each in self._maps for artist in each.animated]
        return [*masks, *self._norms.animated, *(each.line for each in self._headings)]

    def axes_of(self, artist: Artist) -> Axes:
        """Return the axes that draw ``artist``."""
        return next(axes for axes in (*self.masks, self.bars) if axes is artist.axes)

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of ``theme``; the whole figure must be drawn again."""
        if theme == self.theme:
            return
        self.theme, seen = theme, self._seen
        self._seen = None
        self._build()
        if seen is not None:
            self.update(seen)

    def height_at(self, width: int) -> int:
        """Return the height in pixels for a figure ``width`` pixels wide."""
        return 580 if width >= NARROW else 840

    def fit(self) -> None:
        """Lay the axes out for the figure's current size, and show the whole tensor."""
        self._lay_out()
        if self._seen is not None:
            self._draw_still(self._seen)
            self._draw_moving(self._seen)

    def _lay_out(self) -> None:
        width, height = self.figure.get_size_inches() * 100
        bottom = BOTTOM + LEGEND_ROW * (self._legend_rows - 1) + (0 if width >= NARROW else TOOLBAR)
        across = width - LEFT - RIGHT
        if width >= NARROW:
            free = height - TOP - bottom - BETWEEN
            half, up = (across - LEFT - RIGHT) / 2, free * _MASKS
            for axes, left in zip(self.masks, (LEFT, LEFT + half + RIGHT + LEFT), strict=True):
                place(axes, left, height - TOP - up, half, up)
            place(self.bars, LEFT, bottom, across, free - up)
            return
        up = (height - TOP - bottom - 2 * BETWEEN) / 3
        for row, axes in enumerate((self.bars, *reversed(self.masks))):
            place(axes, LEFT, bottom + row * (up + BETWEEN), across, up)

    @property
    def _legend_rows(self) -> int:
        return -(-4 // max(1, int(self.figure.get_figwidth() * 100 / _ENTRY)))

    def update(self, seen: Comparison) -> bool:
        """Show ``seen``; return whether anything but the `animated` artists changed."""
        changed = self._seen is None or _still(seen) != _still(self._seen)
        self._seen = seen
        if changed:
            self._lay_out()
            self._draw_still(seen)
        self._draw_moving(seen)
        return changed

    def refresh(self) -> None:
        """Recompute the cells of the visible part, after a zoom."""
        if self._seen is not None:
            self._draw_maps(self._seen)

    def _draw_still(self, seen: Comparison) -> None:
        for each in self._maps:
            each.fit(seen)
        self._norms.fit(seen)
        texts = [f"A · {seen.a.title}", f"B · {seen.b.title}"]
        texts.append(f"{norm_name(seen.n)} of the {seen.tensor.axis(seen.dim)}")
        for heading, words in zip(self._headings, texts, strict=True):
            heading.write_title(words)
        self._draw_legend()

    def _draw_legend(self) -> None:
        for legend in self.figure.legends[:]:
            legend.remove()
        narrow = self.figure.get_figwidth() * 100 < NARROW
        above = TOOLBAR / 100 / self.figure.get_figheight() if narrow else 0.0
        self.figure.legend(
            handles=agreement_handles(self.theme), loc="lower left", ncols=-(-4 // self._legend_rows),
            frameon=False, fontsize=9, labelcolor=self.theme.ink, bbox_to_anchor=(0.0, above),
            handlelength=2.1, columnspacing=1.2,
        )  # fmt: skip

    def _draw_moving(self, seen: Comparison) -> None:
        self._draw_maps(seen)
        self._norms.update(seen)
        for heading, words in zip(self._headings, _lines(seen), strict=True):
            heading.write_line(words)

    def _draw_maps(self, seen: Comparison) -> None:
        layout = layout_of(seen)
        shares = Shares.in_sight(seen, layout, Window.in_sight(self.masks[0], layout))
        for each in self._maps:
            each.update(seen, shares)


def _lines(seen: Comparison) -> list[str]:
    """Return the line above each of the axes, which changes with the amount."""
    lines = [
        f"{percent(side.sparsity)} pruned, {percent(alone / seen.weights)} by {letter} alone"
        for letter, side, alone in (("A", seen.a, seen.only_a), ("B", seen.b, seen.only_b))
    ]
    if seen.jaccard is None:
        return [*lines, "Neither prunes anything"]
    return [*lines, f"A and B agree on {percent(seen.agreement)} of the weights"]


def _still(seen: Comparison) -> tuple[object, ...]:
    """Return everything the static parts depend on; comparable while the comparison lives."""
    return id(seen.tensor), id(seen.norms), seen.n, seen.dim, seen.a.title, seen.b.title
