"""The histogram of the scores a method ranks by, split at the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from prunescope.core.preview import Preview
from prunescope.core.text import number
from prunescope.figures.columns import Columns
from prunescope.figures.layout import label_across
from prunescope.figures.style import DASHES, LIGHT, Theme
from prunescope.figures.view import View

BINS = 128
"""Number of bins; few scores get fewer."""


class ScoreHistogram:
    """The histogram of a preview's remaining scores on ``axes``, updated in place.

    Args:
        axes: Where to draw.
        theme: The colours.
    """

    def __init__(self, axes: Axes, theme: Theme = LIGHT) -> None:
        self.axes = axes
        self.theme = theme
        self._counts: NDArray[Any] = np.zeros(1)
        self._edges: NDArray[Any] = np.array([0.0, 1.0])
        self._bins: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._columns = [Columns(axes, colour) for colour in (theme.kept, theme.pruned)]
        self._threshold = axes.axvline(0.0, color=theme.threshold, linewidth=1.2, linestyle=DASHES)

    @property
    def animated(self) -> Sequence[Artist]:
        """Return the artists that change with ``amount``, in drawing order."""
        return [*self._columns, self._threshold]

    def fit(self, preview: Preview, view: View) -> None:
        """Count the scores; set limits, ticks and labels."""
        if preview.scores is not None:
            self._counts, self._edges = preview.scores.counts(BINS)
            groups = preview.method.groups
            self._bins = preview.scores.bins(self._edges) if groups else np.zeros(0, np.uint8)
        self.axes.set_xlim(self._edges[0], self._edges[-1])
        self.axes.xaxis.set_major_locator(MaxNLocator(6))
        highest = float(self._counts.max(initial=1))
        if view.scale == "log":
            self.axes.set_ylim(0.7, max(highest, 2.0) * 1.5)
            self.axes.set_yscale("log")
        else:
            self.axes.set_yscale("linear")
            self.axes.set_ylim(0, highest * 1.08)
            self.axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
            self.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        theme = self.theme
        label_across(self.axes, _label(preview), theme)
        units = preview.unit_name if preview.reach is None else preview.unit_name.partition(" of ")[0]
        self.axes.set_ylabel(units, color=theme.faint, fontsize=theme.text_size)

    def update(self, preview: Preview, view: View) -> None:
        """Show ``preview``; the bin of the threshold is cut there, so that no bar is mixed.

        Where each group has a threshold of its own, a bar is of both: what goes below, what stays above.
        """
        threshold = preview.threshold
        if preview.method.groups:
            edges, counts, pruned = self._edges, self._counts, self._pruned(preview)
        else:
            edges, counts, pruned = cut_at(threshold, self._edges, self._counts, preview.asked_units)
        self._columns[0].set_bars(edges[:-1], edges[1:], pruned, counts)
        self._columns[1].set_bars(edges[:-1], edges[1:], np.zeros_like(counts), pruned)
        self._threshold.set_visible(threshold is not None)
        if threshold is not None:
            self._threshold.set_xdata([threshold, threshold])

    def _pruned(self, preview: Preview) -> NDArray[Any]:
        """Return how many scores of each bin the method prunes."""
        gone = ~preview.chosen.reshape(-1).cpu().numpy()
        return np.bincount(self._bins[gone], minlength=256)[: len(self._counts)]

    def channel_at(self, x: float) -> int | None:
        """Return None: positions in a histogram are not channels."""
        return None

    def score_at(self, preview: Preview, view: View, x: float, y: float) -> float | None:
        """Return the score that a threshold at ``(x, y)`` stands for; None where groups have their own."""
        return None if preview.method.groups else x

    def light(self, channel: int | None) -> None:
        """Frame nothing: a histogram has no channels."""

    def title(self, preview: Preview) -> str:
        """Return the chart's title."""
        where = "in the model" if preview.pooled else f"of the {preview.unit_name}"
        return f"{_label(preview)} {where}"

    def lines(self, preview: Preview) -> Sequence[str]:
        """Return what the step does, as a line and a shorter one.

        The threshold comes first, since it is shown nowhere else.
        """
        texts = [f"{preview.pruned_units:,} of {preview.units:,} pruned", f"{preview.pruned_units:,} pruned"]
        if preview.method.groups:
            own = "each group has its own threshold"
            return [f"{own} · {texts[0]}", own, *texts]
        if preview.threshold is None or preview.scores is None:
            return texts
        return [f"{preview.scores.symbol} ≤ {number(preview.threshold)} · {text}" for text in texts]


def cut_at(
    threshold: float | None, edges: NDArray[Any], counts: NDArray[Any], lowest: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Cut the bin with both pruned and kept scores at the threshold.

    Args:
        threshold: Highest pruned score; None cuts nothing.
        edges: Of shape ``(B + 1,)``, ascending.
        counts: Scores in each bin, of shape ``(B,)``.
        lowest: How many of the lowest scores are pruned.

    Returns:
        Edges, counts, and how many of each count are pruned; one longer if a bin was cut.

    Example:
        >>> edges, counts, pruned = cut_at(0.3, np.array([0.0, 0.5, 1.0]), np.array([4, 2]), 3)
        >>> edges.tolist(), counts.tolist(), pruned.tolist()
        ([0.0, 0.3, 0.5, 1.0], [3, 1, 2], [3, 0, 0])
    """
    pruned = np.clip(lowest - (counts.cumsum() - counts), 0, counts)
    mixed = np.flatnonzero((pruned > 0) & (pruned < counts))
    if threshold is None or not mixed.size or not edges[mixed[0]] < threshold < edges[mixed[0] + 1]:
        return edges, counts, pruned
    (place,) = mixed
    goes = pruned[place]
    edges = np.insert(edges, place + 1, threshold)
    counts = np.insert(counts, place, goes)
    counts[place + 1] -= goes
    pruned = np.insert(pruned, place + 1, 0)
    return edges, counts, pruned


def _label(preview: Preview) -> str:
    """Return the name of what the method ranks by."""
    return "" if preview.scores is None else preview.scores.label
