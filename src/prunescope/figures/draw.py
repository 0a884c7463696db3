"""Each picture on its own, the matplotlib way: on ``ax`` or a new figure, in the style of rcParams."""

from __future__ import annotations

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.text import norm_name
from prunescope.figures.agreement import AgreementMap, NormPair, agreement_handles
from prunescope.figures.heatmap import Heatmap
from prunescope.figures.histogram import ScoreHistogram
from prunescope.figures.legend import legend_handles, state_handles
from prunescope.figures.norms import NormChart
from prunescope.figures.style import rc_theme
from prunescope.figures.view import View
from prunescope.measure import Comparison


def draw_heatmap(
    preview: Preview,
    ax: Axes | None = None,
    *,
    show: str = "mask",
    colour_range: str = "layer",
    largest_weight: float | None = None,
) -> Axes:
    """Draw the mask, the weights or the scores of ``preview``; return the axes.

    Args:
        preview: What to draw.
        ax: Empty axes; those of a new figure if None. ``ax.figure.savefig`` writes PNG, SVG, PDF.
        show: ``"mask"``, ``"weights"`` or ``"scores"``.
        colour_range: The colours reach the largest weight of the ``"layer"``, ``"channel"`` or ``"model"``.
        largest_weight: Largest weight of the model, for ``colour_range="model"``.

    Raises:
        RequestError: ``show`` or ``colour_range`` has another value, or ``largest_weight`` is missing.

    Example:
        >>> import torch
        >>> from prunescope.core.preview import preview_tensor
        >>> from prunescope.core.resolve import resolve
        >>> from prunescope.core.spec import PruneSpec
        >>> from prunescope.core.tensor import PrunableTensor
        >>> tensor = PrunableTensor("w", "Linear", torch.eye(3), ("outputs", "inputs"))
        >>> ax = draw_heatmap(preview_tensor(resolve(PruneSpec("w"), tensor), tensor), show="weights")
        >>> ax.get_title(), ax.get_xlabel()
        ('w', 'inputs')
    """
    view, theme = View(heatmap=show, colour_range=colour_range), rc_theme()
    if colour_range == "model" and largest_weight is None:
        raise RequestError("largest_weight", '`largest_weight` must be given with `colour_range="model"`.')
    ax = _axes(ax)
    heatmap = Heatmap(ax, theme)
    heatmap.fit(preview)
    heatmap.update(preview, view, largest_weight)
    ax.set_title(preview.tensor.name)
    _legend(ax, state_handles(preview, view, theme, largest_weight))
    return ax


def draw_norms(
    preview: Preview,
    ax: Axes | None = None,
    *,
    order: str = "index",
    scale: str = "linear",
    norms: str = "raw",
    overlay: str = "none",
) -> Axes:
    """Draw the channel norms of ``preview``, with the threshold if norms are ranked; return the axes.

    Args:
        preview: What to draw.
        ax: Empty axes; those of a new figure if None.
        order: Bars by ``"index"`` or by ``"norm"``.
        scale: ``"linear"`` or ``"log"``.
        norms: ``"raw"``, or ``"per_weight"``: divided by the number of weights in a channel.
        overlay: ``"none"``, or ``"l1_l2"``.

    Raises:
        RequestError: A keyword has another value.
    """
    view = View(chart="norms", order=order, scale=scale, norms=norms, overlay=overlay)
    ax = _axes(ax)
    return _drawn(NormChart(ax, rc_theme()), preview, view)


def draw_histogram(preview: Preview, ax: Axes | None = None, *, scale: str = "linear") -> Axes:
    """Draw the histogram of the scores of ``preview`` with the threshold; return the axes.

    Args:
        preview: What to draw; its method must rank by scores.
        ax: Empty axes; those of a new figure if None.
        scale: ``"linear"`` or ``"log"``.

    Raises:
        RequestError: The method draws at random, or ``scale`` has another value.
    """
    view = View(chart="histogram", scale=scale)
    if preview.scores is None:
        raise RequestError(
            "method", f"`method` must rank by scores to have a histogram, got {preview.spec.method!r}."
        )
    ax = _axes(ax)
    return _drawn(ScoreHistogram(ax, rc_theme()), preview, view)


def draw_agreement(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw what two states keep and prune together, and each alone; return the axes.

    Args:
        comparison: The comparison, such as ``explorer.compare("random_unstructured")``.
        ax: Empty axes; those of a new figure if None.
    """
    ax = _axes(ax)
    agreement = AgreementMap(ax, rc_theme())
    agreement.fit(comparison)
    agreement.update(comparison)
    ax.set_title(f"A · {comparison.a.title}, B · {comparison.b.title}")
    _legend(ax, agreement_handles(agreement.theme))
    return ax


def draw_both_norms(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw what two states keep of each channel norm, A upwards and B downwards; return the axes.

    Args:
        comparison: What is compared.
        ax: Empty axes; those of a new figure if None.
    """
    ax = _axes(ax)
    chart = NormPair(ax, rc_theme())
    chart.fit(comparison)
    chart.update(comparison)
    ax.set_title(f"{norm_name(comparison.n)} of the {comparison.tensor.axis(comparison.dim)}")
    _legend(ax, agreement_handles(chart.theme))
    return ax


def _drawn(chart: NormChart | ScoreHistogram, preview: Preview, view: View) -> Axes:
    chart.fit(preview, view)
    chart.update(preview, view)
    chart.axes.set_title(chart.title(preview))
    _legend(chart.axes, legend_handles(preview, view, chart.theme))
    return chart.axes


def _axes(ax: Axes | None) -> Axes:
    return Figure(layout="constrained").add_subplot() if ax is None else ax


def _legend(ax: Axes, handles: list[Artist]) -> None:
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
