"""The picture of one preview: a heatmap above, norms and a histogram of scores below, on one figure.

Everything that depends on ``amount`` alone is an *animated* artist, updated in place: a canvas that can blit
draws the rest once (`PruningFigure.update` says when it must) and then only those artists. Computing stays in
`prunescope.core.preview`; here numbers only become artists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_tools import Cursors
from matplotlib.figure import Figure

from prunescope.core.preview import Preview
from prunescope.core.text import number, percent
from prunescope.figures.heatmap import Heatmap
from prunescope.figures.histogram import ScoreHistogram
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
from prunescope.figures.legend import entries, legend_handles
from prunescope.figures.norms import NormChart
from prunescope.figures.reading import channel_reading, click_reading, weight_reading
from prunescope.figures.style import LIGHT, Theme
from prunescope.figures.view import View

_HEATMAP, _NORMS = 0.575, 0.6
"""The heatmap's fraction of the total height, and the norm chart's fraction of the width of two charts."""

_ENTRY = 125
"""Width of a legend entry in pixels, with a margin."""


@dataclass(frozen=True)
class Place:
    """A channel, and the index of the weight under the pointer if it is over the heatmap."""

    channel: int
    index: tuple[int, ...] | None


class PruningFigure:
    """The heatmap and the norms, or scores, of a preview, updated in place.

    Args:
        figure: An empty figure to draw on; a new one of 9.6 × 6 inches if None.
        theme: The colours.

    Attributes:
        figure: The figure.
        theme: The colours.
        heatmap: Axes of the heatmap: one row and column per weight, or cells of many.
        bars: Axes of the channel norms along ``dim``.
        scores: Axes of the histogram of scores.
        place: What the pointer is on; reset when another tensor, ``dim`` or view is shown.

    Example:
        >>> import torch
        >>> from prunescope.core.preview import preview_tensor
        >>> from prunescope.core.resolve import resolve
        >>> from prunescope.core.spec import PruneSpec
        >>> from prunescope.core.tensor import PrunableTensor
        >>> tensor = PrunableTensor("fc.weight", "Linear", torch.eye(3), ("outputs", "inputs"))
        >>> spec = PruneSpec("fc.weight", "ln_structured", amount=0.5)
        >>> picture = PruningFigure()
        >>> picture.update(preview_tensor(resolve(spec, tensor), tensor))
        True
        >>> picture.bars.get_xlabel()
        'outputs, dim 0'
    """

    def __init__(self, figure: Figure | None = None, theme: Theme = LIGHT) -> None:
        self.figure = Figure(figsize=(9.6, 6.0), dpi=100) if figure is None else figure
        self.theme = theme
        self._shown: tuple[Preview, View, float | None] | None = None
        self.place: Place | None = None
        self._build()

    def _build(self) -> None:
        """Make the axes and the artists, replacing any that exist."""
        self.figure.clear()
        self.figure.set_facecolor(self.theme.paper)
        self.heatmap, self.bars, self.scores = (add_axes(self.figure, self.theme) for _ in range(3))
        self._heat = Heatmap(self.heatmap, self.theme)
        self._norms = NormChart(self.bars, self.theme)
        self._histogram = ScoreHistogram(self.scores, self.theme)
        self._headings = [Heading(each, self.theme) for each in self.figure.axes]
        for axes in (self.bars, self.scores):
            dress_chart(axes, self.theme)
        self._animate()
        self._lay_out()

    def _animate(self) -> None:
        for artist in self.animated:
            artist.set_animated(True)

    @property
    def _charts(self) -> Sequence[NormChart | ScoreHistogram]:
        """Return the charts that are shown below the heatmap."""
        names = ("norms",) if self._shown is None else self._shown[1].charts(self._shown[0])
        both: dict[str, NormChart | ScoreHistogram] = {"norms": self._norms, "histogram": self._histogram}
        return [both[name] for name in names]

    @property
    def animated(self) -> Sequence[Artist]:
        """Return the artists that change with ``amount``, in drawing order."""
        charts = [artist for chart in self._charts for artist in chart.animated]
        lines = [heading.line for heading in self._headings if heading.axes.get_visible()]
        return [*self._heat.animated, *charts, *lines]

    def axes_of(self, artist: Artist) -> Axes:
        """Return the axes that draw ``artist``."""
        return next((axes for axes in (self.bars, self.scores) if axes is artist.axes), self.heatmap)

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of ``theme``; the whole figure must be drawn again."""
        if theme == self.theme:
            return
        self.theme, shown = theme, self._shown
        self._shown = None
        self._build()
        if shown is not None:
            self.update(*shown)

    def fit(self) -> None:
        """Lay the axes out for the figure's current size, and show the whole tensor."""
        self._lay_out()
        if self._shown is not None:
            self._draw_still(*self._shown)
            self._draw_moving(*self._shown)

    def _lay_out(self) -> None:
        """Position the axes, with margins in pixels for the text."""
        width, height = self.figure.get_size_inches() * 100
        charts = [chart.axes for chart in self._charts]
        stacked = len(charts) if width < NARROW else 1
        bottom = BOTTOM + LEGEND_ROW * (self._legend_rows() - 1) + self._strip
        free = height - TOP - bottom - stacked * BETWEEN
        tall, low = (free * _HEATMAP, free * (1 - _HEATMAP)) if stacked == 1 else (free / 3, free / 3)
        across = width - LEFT - RIGHT
        place(self.heatmap, LEFT, height - TOP - tall, across, tall)
        if stacked == len(charts):
            for row, axes in enumerate(reversed(charts)):
                place(axes, LEFT, bottom + row * (low + BETWEEN), across, low)
        else:
            gap = LEFT + RIGHT
            share = (across - gap) * _NORMS
            place(charts[0], LEFT, bottom, share, low)
            place(charts[1], LEFT + share + gap, bottom, across - gap - share, low)
        for axes in (self.bars, self.scores):
            axes.set_visible(axes in charts)
            axes.set_navigate(axes in charts)  # Matplotlib zooms the topmost axes, visible or not.

    def height_at(self, width: int) -> int:
        """Return the height in pixels for a figure ``width`` pixels wide."""
        if width >= NARROW:
            return 600
        return 500 if len(self._charts) == 1 else 690

    def update(self, preview: Preview, view: View | None = None, largest_weight: float | None = None) -> bool:
        """Show ``preview``.

        Args:
            preview: The preview.
            view: What to show of it; None shows the mask and what the method ranks.
            largest_weight: Largest magnitude in the whole model, for a view with its colour range.

        Returns:
            Whether anything but the `animated` artists changed, so that the whole figure must be drawn again.
        """
        shown = preview, view or View(), largest_weight
        changed = self._shown is None or _still(*shown) != _still(*self._shown)
        if self._shown is not None and not _same_channels(self._shown, shown):
            self.place = None
        self._shown = shown
        if changed:
            self._draw_still(*shown)
        self._draw_moving(*shown)
        return changed

    def refresh(self) -> None:
        """Recompute the cells of the visible part, after a zoom."""
        if self._shown is not None:
            self._heat.update(*self._shown)
            self._animate()

    # Under the pointer.

    @property
    def shown(self) -> tuple[Preview, View] | None:
        """Return the preview and its view; None before the first `update`."""
        return None if self._shown is None else self._shown[:2]

    def place_at(self, axes: Axes | None, x: float, y: float) -> Place | None:
        """Return what is at the data coordinates ``(x, y)`` of ``axes``; None if nothing is."""
        if self._shown is None or axes is None:
            return None
        preview = self._shown[0]
        if axes is self.scores:
            return None
        if axes is self.bars:
            channel = self._norms.channel_at(x)
            return None if channel is None else Place(channel, None)
        index = self._heat.index_at(preview, x, y)
        return None if index is None else Place(index[preview.dim], index)

    def score_at(self, axes: Axes | None, x: float, y: float) -> float | None:
        """Return the score of a threshold through ``(x, y)`` of ``axes``; None if it has none."""
        chart = next((chart for chart in self._charts if chart.axes is axes), None)
        return None if chart is None or self._shown is None else chart.score_at(*self._shown[:2], x, y)

    def bar_at(self, axes: Axes | None, x: float, y: float) -> int | None:
        """Return the channel whose bar is at ``(x, y)`` of ``axes``; None if there is none."""
        if self._shown is None or axes is not self.bars:
            return None
        return self._norms.bar_at(x, y)

    def cursor_at(self, axes: Axes | None, x: float, y: float) -> Cursors:
        """Return the cursor for what a press at ``(x, y)`` of ``axes`` would do."""
        if self.bar_at(axes, x, y) is not None:
            return Cursors.HAND
        if self.score_at(axes, x, y) is None:
            return Cursors.POINTER
        return Cursors.RESIZE_VERTICAL if axes is self.bars else Cursors.RESIZE_HORIZONTAL

    def next_channel(self, step: int) -> int | None:
        """Return the channel ``step`` bars on from the one pointed at; None without bars of channels."""
        if not self.bars.get_visible():
            return None
        return self._norms.next_channel(None if self.place is None else self.place.channel, step)

    def point(self, place: Place | None) -> None:
        """Frame the channel at ``place`` in both axes and describe it above them; None clears both."""
        self.place = place
        if self._shown is not None:
            self._show_place(self._shown[0])

    def _show_place(self, preview: Preview) -> None:
        channel = None if self.place is None else self.place.channel
        self._heat.light(preview, channel)
        self._norms.light(channel)
        self._write_lines(preview)

    def reading(self) -> tuple[str, str]:
        """Describe what the pointer is on: the weight, and the channel with what a click does."""
        if self._shown is None or self.place is None:
            return "", ""
        preview = self._shown[0]
        channel, index = self.place.channel, self.place.index
        words = channel_reading(preview, channel)
        if index is None:
            return "", f"{words} · {click_reading(preview, channel)}"
        return weight_reading(preview, index), words

    def _draw_still(self, preview: Preview, view: View, largest_weight: float | None) -> None:
        self._lay_out()
        self._heat.fit(preview)
        for chart in self._charts:
            chart.fit(preview, view)
        self._write_titles(preview)
        self._draw_legend(preview, view, largest_weight)

    def _draw_moving(self, preview: Preview, view: View, largest_weight: float | None) -> None:
        self._heat.update(preview, view, largest_weight)
        for chart in self._charts:
            chart.update(preview, view)
        self._show_place(preview)
        self._animate()

    # Words.

    def _write_titles(self, preview: Preview) -> None:
        """Write the title of each axes."""
        tensor, name = preview.tensor, preview.tensor.name
        endings = (f"…{name[start:]}" for start in range(1, len(name)))  # Names differ at the end.
        heatmap, norms, histogram = self._headings
        heatmap.write_title(f"{name}  ({tensor.layer_type} {tensor.shape_text})", name, *endings)
        norms.write_title(self._norms.title(preview))
        histogram.write_title(self._histogram.title(preview))

    def _write_lines(self, preview: Preview) -> None:
        view = View() if self._shown is None else self._shown[1]
        usual = [self._mask_line(preview)], self._norms.lines(preview, view), self._histogram.lines(preview)
        readings = *self.reading(), ""
        for heading, words, reading in zip(self._headings, usual, readings, strict=True):
            without_hint = reading.partition(" · a click ")[0]
            heading.write_line(*((reading, without_hint) if reading else words))
            heading.line.set_color(self.theme.ink if reading else self.theme.faint)

    def _mask_line(self, preview: Preview) -> str:
        by_hand = ", and by hand" if preview.spec.by_hand else ""
        text = f"{preview.method.title}{by_hand} · {percent(preview.sparsity)} pruned"
        scores = preview.scores
        if preview.threshold is None or scores is None or scores.by_channel or self.scores.get_visible():
            return text
        return f"{text} · {scores.symbol} ≤ {number(preview.threshold)}"

    def _draw_legend(self, preview: Preview, view: View, largest_weight: float | None) -> None:
        for legend in self.figure.legends[:]:
            legend.remove()
        above = self._strip / 100 / self.figure.get_figheight()
        handles = legend_handles(preview, view, self.theme, largest_weight)
        columns = -(-len(handles) // self._legend_rows())
        in_rows = [handle for column in range(columns) for handle in handles[column::columns]]
        self.figure.legend(
            handles=in_rows, loc="lower left", ncols=columns, frameon=False, fontsize=9,
            labelcolor=self.theme.ink, bbox_to_anchor=(0.0, above), handlelength=2.1, columnspacing=1.2,
        )  # fmt: skip

    @property
    def _strip(self) -> int:
        """Return the pixels reserved for the toolbar below the legend of a narrow picture."""
        return 0 if self.figure.get_figwidth() * 100 >= NARROW else TOOLBAR

    def _legend_rows(self) -> int:
        """Return the number of legend rows; a narrow page needs one more."""
        count = 4 if self._shown is None else entries(*self._shown[:2])
        return -(-count // max(2, int(self.figure.get_figwidth() * 100 / _ENTRY)))


def _still(preview: Preview, view: View, largest_weight: float | None) -> tuple[object, ...]:
    """Return everything the static parts depend on; comparable while the preview lives."""
    spec, method = preview.spec, preview.method
    scores = None if preview.scores is None else (preview.scores.label, preview.scores.by_channel)
    ranked = scores, method.structured, method.groups, preview.unit_name
    by_hand = bool(spec.by_hand)
    return (id(preview.tensor), id(preview.norms), spec.n, spec.dim, *ranked, by_hand, view, largest_weight)


def _same_channels(one: tuple[Preview, View, object], other: tuple[Preview, View, object]) -> bool:
    (before, view, _), (after, other_view, _) = one, other
    return (before.tensor, before.dim, view) == (after.tensor, after.dim, other_view)
