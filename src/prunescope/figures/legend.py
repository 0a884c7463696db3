"""The legend: the states of weights and their colours, the threshold, the lines."""

from __future__ import annotations

from typing import Any

from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from prunescope.core.preview import Preview
from prunescope.figures.heatmap import PALEST, rgba
from prunescope.figures.norms import by_hand_mark
from prunescope.figures.style import DASHES, LIGHT, Theme
from prunescope.figures.view import View


def state_handles(
    preview: Preview, view: View, theme: Theme, largest_weight: float | None = None
) -> list[Artist]:
    """Return the legend entries of the heatmap: the states of weights, and their colours."""
    handles: list[Artist] = []
    if view.heatmap == "weights":
        limits = preview.colour_limits(view.heatmap, view.colour_range, largest_weight)
        one = len(limits) == 1
        low, high = (f"−{limits[0]:.2g}", f"{limits[0]:.2g}") if one else ("negative", "positive")
        handles = [
            Patch(color=theme.negative, label=low),
            Patch(facecolor=theme.zero, edgecolor=theme.faint, linewidth=0.6, label="0"),
            Patch(color=theme.positive, label=high),
        ]
    if view.heatmap == "scores" and preview.scores is not None:
        highest = float(preview.colour_limits(view.heatmap))
        pale = tuple(rgba(theme.paper) + PALEST * (rgba(theme.kept) - rgba(theme.paper)))
        handles = [
            Patch(facecolor=pale, label=f"{preview.scores.symbol} 0"),
            Patch(facecolor=theme.kept, label=f"{highest:.2g}"),
        ]
    handles += [Patch(color=theme.kept, label="kept")] if view.heatmap != "weights" else []
    handles.append(Patch(color=theme.pruned, label="pruned"))
    if preview.tensor.default_mask is not None:
        handles.append(Patch(color=theme.earlier, label="pruned earlier"))
    return handles


def legend_handles(
    preview: Preview, view: View, theme: Theme, largest_weight: float | None = None
) -> list[Artist]:
    """Return all legend entries: the states, the threshold, the lines."""
    handles = state_handles(preview, view, theme, largest_weight)
    if view.heatmap == "weights":
        handles.insert(3, Patch(color=theme.kept, label="kept"))
    charts = view.charts(preview)
    by_channel = preview.scores is not None and preview.scores.by_channel
    if by_channel or ("histogram" in charts and not preview.method.groups):
        handles.append(Line2D([], [], color=theme.threshold, linestyle=DASHES, label="threshold"))
    if preview.spec.by_hand and "norms" in charts:
        handles.append(Line2D([], [], linestyle="none", label="by hand", **by_hand_mark(theme)))
    if view.overlay == "l1_l2" and "norms" in charts:
        line: Any = {"color": theme.ink, "linewidth": 1.1}
        handles.append(Line2D([], [], linestyle="-", label="L1, stretched", **line))
        handles.append(Line2D([], [], linestyle=":", label="L2, stretched", **line))
    return handles


def entries(preview: Preview, view: View) -> int:
    """Return the number of legend entries."""
    return len(legend_handles(preview, view, LIGHT))
