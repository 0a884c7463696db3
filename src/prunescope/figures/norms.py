"""The bar chart of channel norms: what is kept and pruned of each channel, and the threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from torch import Tensor

from prunescope.core.preview import Preview
from prunescope.core.text import number
from prunescope.figures.columns import Columns
from prunescope.figures.heatmap import across_locator, frame, halo
from prunescope.figures.layout import label_across
from prunescope.figures.style import DASHES, LIGHT, Theme
from prunescope.figures.view import View

MAX_BARS = 512
"""Most bars; more channels are averaged into groups, and the axis says so."""

GRIP = 5
"""Tolerance in pixels for pointing at a line or a bar, at 100 dots per inch."""

MAX_APART = 96
"""Most bars drawn with gaps."""

_STEPS = (1, 2, 5, 10)
"""Between ticks, times a power of ten: their numbers are short."""


class NormChart:
    """The channel norms of a preview on ``axes``, updated in place.

    Args:
        axes: Where to draw.
        theme: The colours.

    Attributes:
        order: The channel at each position, left to right.
    """

    def __init__(self, axes: Axes, theme: Theme = LIGHT) -> None:
        self.axes = axes
        self.theme = theme
        self.order: NDArray[np.int64] = np.zeros(0, np.int64)
        self._columns = [Columns(axes, colour) for colour in (theme.kept, theme.pruned, theme.earlier)]
        self._overlay = [
            axes.plot([], [], color=theme.ink, linewidth=1.1, linestyle=style, visible=False)[0]
            for style in ("-", ":")
        ]
        (self._by_hand,) = axes.plot([], [], linestyle="none", zorder=4, visible=False, **by_hand_mark(theme))
        self._cut = 0.0
        self._threshold = axes.axhline(0.0, color=theme.threshold, linewidth=1.2, linestyle=DASHES)
        self._light = Rectangle((0, 0), 0, 0, fill=False, edgecolor=theme.ink, linewidth=1.6, visible=False)
        self._light.set_path_effects([halo(theme)])
        axes.add_patch(self._light)

    @property
    def animated(self) -> Sequence[Artist]:
        """Return the artists that change with ``amount``, in drawing order."""
        return [*self._columns, *self._overlay, self._threshold, self._by_hand, self._light]

    def fit(self, preview: Preview, view: View) -> None:
        """Set limits, ticks and labels, and put the bars in order."""
        norms = _shown(preview.norms.unpruned, preview, view)
        sort = view.order == "norm"
        self.order = np.argsort(_shown(preview.norms.now, preview, view), kind="stable") if sort else (
            np.arange(len(norms))
        )  # fmt: skip
        self._scale_heights(norms, view)
        self.axes.set_xlim(-0.5, len(norms) - 0.5)
        self.axes.xaxis.set_major_locator(across_locator(self.axes))
        self._label(preview, view)
        self._fit_overlay(preview, view, float(norms.max(initial=0.0)))

    def _scale_heights(self, norms: NDArray[np.float32], view: View) -> None:
        highest, positive = float(norms.max(initial=0.0)), norms[norms > 0]
        if view.scale == "log" and positive.size:
            self.axes.set_ylim(float(positive.min()) * 0.7, highest * 1.3)
            self.axes.set_yscale("log")
            self.axes.yaxis.set_major_locator(_log_locator(*self.axes.get_ylim()))
            self.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
            self.axes.yaxis.set_minor_formatter(NullFormatter())
            return
        self.axes.set_yscale("linear")
        self.axes.set_ylim(0, highest * 1.08 or 1.0)
        self.axes.yaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))
        self.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))

    def _label(self, preview: Preview, view: View) -> None:
        tensor, dim = preview.tensor, preview.dim
        group = _group(len(self.order))
        each = "" if group == 1 else f" (a bar is the mean of {group})"
        order = ", smallest norm first" if view.order == "norm" else ""
        theme = self.theme
        label_across(self.axes, f"{tensor.axis(dim)}, dim {dim}{order}{each}", theme)
        divided = " / size" if view.norms == "per_weight" else ""
        self.axes.set_ylabel(preview.norms.label + divided, color=theme.faint, fontsize=theme.text_size)

    def _fit_overlay(self, preview: Preview, view: View, highest: float) -> None:
        """Draw the L1 and the L2 norms, each stretched to the height of the highest bar."""
        shown = view.overlay == "l1_l2"
        for line, n in zip(self._overlay, (1, 2), strict=True):
            line.set_visible(shown)
            if shown:
                norms = finite(preview.channel_norms(n))
                heights = grouped(norms[self.order] * (highest / (norms.max(initial=0.0) or 1.0)))
                edges = self._edges()
                line.set_data((edges[:-1] + edges[1:]) / 2, heights)

    def update(self, preview: Preview, view: View) -> None:
        """Show ``preview``."""
        now, unpruned = (
            grouped(_shown(norms, preview, view)[self.order])
            for norms in (preview.norms.now, preview.norms.unpruned)
        )
        kept = grouped(preview.kept_fractions().float().cpu().numpy()[self.order])
        levels = [np.zeros_like(now), now * kept, now, np.maximum(now, unpruned)]
        edges = self._edges()
        gap = 0.12 * (edges[1] - edges[0]) if len(now) <= MAX_APART else 0.0
        for columns, low, high in zip(self._columns, levels, levels[1:], strict=False):
            columns.set_bars(edges[:-1] + gap, edges[1:] - gap, low, high)
        threshold = preview.threshold if _ranks_bars(preview) else None
        self._threshold.set_visible(threshold is not None)
        if threshold is not None:
            self._cut = threshold / _divisor(preview, view)
            self._threshold.set_ydata([self._cut, self._cut])
        self._mark_by_hand(preview)

    def _mark_by_hand(self, preview: Preview) -> None:
        channels = [*preview.spec.keep_channels, *preview.spec.prune_channels]
        self._by_hand.set_visible(bool(channels))
        if channels:
            bars = self._bars_of(np.flatnonzero(np.isin(self.order, channels)))
            edges = self._edges()
            self._by_hand.set_data((edges[bars] + edges[bars + 1]) / 2, self._columns[2].high[bars])

    def _bars_of(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bars of the channels at ``places``; many channels share bars."""
        return places // _group(len(self.order))

    def _edges(self) -> NDArray[np.float64]:
        channels = len(self.order)
        edges: NDArray[np.float64] = np.append(np.arange(0, channels, _group(channels)), channels) - 0.5
        return edges

    def channel_at(self, x: float) -> int | None:
        """Return the channel whose bar is at the data coordinate ``x``; None outside."""
        place = int(np.floor(x + 0.5))
        return int(self.order[place]) if 0 <= place < len(self.order) else None

    def next_channel(self, channel: int | None, step: int) -> int | None:
        """Return the channel ``step`` positions on, within bounds; the first one for None."""
        if not len(self.order):
            return None
        if channel is None:
            return int(self.order[0])
        place = int(np.flatnonzero(self.order == channel)[0]) + step
        return int(self.order[min(max(place, 0), len(self.order) - 1)])

    def score_at(self, preview: Preview, view: View, x: float, y: float) -> float | None:
        """Return the score of a threshold at the data coordinates ``(x, y)``."""
        return y * _divisor(preview, view) if _ranks_bars(preview) else None

    def bar_at(self, x: float, y: float) -> int | None:
        """Return the channel whose bar is at ``(x, y)``; None beside the bars and on the threshold line."""
        channel = self.channel_at(x)
        if channel is None:
            return None
        bar = int(self._bars_of(np.flatnonzero(self.order == channel))[0])
        heights = [y, max(float(self._columns[2].high[bar]), self.axes.get_ylim()[0])]
        if self._threshold.get_visible():
            heights.append(self._cut)
        pixels = self.axes.transData.transform([(0, height) for height in heights])[:, 1]
        pixels = pixels * 100 / self.axes.figure.dpi
        on_line = len(pixels) == 3 and abs(pixels[0] - pixels[2]) <= GRIP
        return None if on_line or pixels[0] > pixels[1] + GRIP else channel

    def light(self, channel: int | None) -> None:
        """Frame the bar of ``channel``; None removes the frame."""
        self._light.set_visible(channel is not None)
        if channel is not None:
            bar = int(self._bars_of(np.flatnonzero(self.order == channel))[0])
            edges = self._edges()
            bottom = self.axes.get_ylim()[0]
            top = max(float(self._columns[2].high[bar]), bottom)
            frame(self._light, self.axes, (edges[bar], edges[bar + 1]), (bottom, top))

    def title(self, preview: Preview) -> str:
        """Return the chart's title."""
        return f"{preview.norms.label} of the {preview.tensor.axis(preview.dim)}"

    def lines(self, preview: Preview, view: View) -> Sequence[str]:
        """Return what the step does, as a line and a shorter one; the threshold in the units of the bars."""
        if not preview.method.structured:
            return ["light part: fraction of its weights pruned", "light part: fraction pruned"]
        texts = [f"{preview.pruned_units:,} of {preview.units:,} pruned", f"{preview.pruned_units:,} pruned"]
        if preview.threshold is None or preview.scores is None:
            return texts
        name = preview.scores.symbol + ("" if view.norms == "raw" else " / size")
        return [f"{text} · {name} ≤ {number(preview.threshold / _divisor(preview, view))}" for text in texts]


def _log_locator(low: float, high: float) -> Locator:
    """Return a locator for a handful of ticks from ``low`` to ``high``."""
    decades = math.log10(high / low)
    if decades < 0.7:
        return MaxNLocator(4, steps=_STEPS)
    return LogLocator(subs=(1, 2, 5) if decades < 2 else (1,), numticks=6)


def short_number(value: float) -> str:
    """Format ``value`` short enough not to overlap an axis label, as powers of ten would.

    Example:
        >>> short_number(0.15), short_number(0.00025)
        ('0.15', '2.5e−4')
    """
    text = f"{value:g}"
    if len(text) <= 5 and "e" not in text:
        return text.replace("-", "−")
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}".replace("-", "−")


def by_hand_mark(theme: Theme) -> dict[str, Any]:
    """Return the marker of a channel kept or pruned by hand."""
    return {
        "marker": "D",
        "markersize": 5,
        "color": theme.ink,
        "markeredgecolor": theme.paper,
        "markeredgewidth": 0.8,
    }


def _ranks_bars(preview: Preview) -> bool:
    """Return whether the method ranks what the bars show."""
    return preview.scores is not None and preview.scores.by_channel


def _divisor(preview: Preview, view: View) -> int:
    """Return the divisor of the norms shown: 1, or the number of weights in a channel."""
    if view.norms == "raw":
        return 1
    return max(1, preview.mask.numel() // max(1, len(preview.norms.now)))


def _shown(norms: Tensor, preview: Preview, view: View) -> NDArray[Any]:
    shown: NDArray[Any] = finite(norms) / np.float32(_divisor(preview, view))
    return shown


def finite(norms: Tensor) -> NDArray[Any]:
    """Return ``norms`` in float32, with 0 where one is not finite."""
    values = norms.float().cpu().numpy()
    finite: NDArray[Any] = np.where(np.isfinite(values), values, 0)
    return finite


def _group(channels: int) -> int:
    """Return the number of channels per bar."""
    return max(1, -(-channels // MAX_BARS))


def grouped(values: NDArray[Any]) -> NDArray[Any]:
    """Return ``values``, or means of groups of neighbours if there are more than a screen shows."""
    if len(values) <= MAX_BARS:
        return values
    starts = np.arange(0, len(values), _group(len(values)))
    sizes = np.diff(starts, append=len(values)).astype(np.float32)
    means: NDArray[Any] = (np.add.reduceat(values, starts) / sizes).astype(np.float32)
    return means
