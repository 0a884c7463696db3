"""The picture of one preview: mask heatmap above, channel norms below, on one figure.

Everything that depends on ``amount`` alone is an *animated* artist, updated in place: a canvas that can blit
draws the rest once (`PruningFigure.update` tells when it must) and then only those artists, step by step.
Computing stays in `prunescope.preview`; here numbers only become artists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from prunescope.figures.cellimage import CellImage
from prunescope.figures.cells import MatrixLayout, cell_fractions
from prunescope.figures.columns import Columns
from prunescope.figures.style import EARLIER, FAINT, GRID, INK, KEPT, PRUNED, THRESHOLD
from prunescope.percent import percent
from prunescope.preview import Preview
from prunescope.prune import Norm

MAX_BARS = 512
"""Bars drawn at the most; more channels are averaged into groups, and the axis says so."""

MAX_APART = 96
"""Bars with gaps between them at the most."""

_LEFT, _RIGHT, _TOP, _BETWEEN, _BOTTOM = 76, 14, 46, 98, 84
"""Pixels around and between the axes, at 100 dots an inch."""

_LEGEND_ROW, _LEGEND_INCHES = 20, 4.3
"""Pixels of a second row of the legend, and the width below which it needs one."""

_BOLD_PIXELS, _LETTER_PIXELS = 9.2, 6.9
"""How wide a letter of a title and of the line below it is, at the most and on the whole."""

_DASHES = (0, (5, 3))
_COLOURS = np.array([to_rgba(colour) for colour in (PRUNED, KEPT, EARLIER)], dtype=np.float32) * 255
_SHADES = np.rint(np.linspace(_COLOURS[0], _COLOURS[1], 256)).astype(np.uint8)


class PruningFigure:
    """The mask heatmap and the channel norms of a preview, updated in place.

    Args:
        figure: An empty figure to draw on; a new one of 9.6 × 6 inches if None.

    Attributes:
        figure: The figure.
        heatmap: Axes of the mask: one row and column per weight, or cells of many.
        bars: Axes of the channel norms along ``dim``.

    Example:
        >>> import torch
        >>> from prunescope.preview import preview_tensor
        >>> from prunescope.spec import PruneSpec, resolve
        >>> from prunescope.tensor import PrunableTensor
        >>> tensor = PrunableTensor("fc.weight", "Linear", torch.eye(3), ("outputs", "inputs"))
        >>> picture = PruningFigure()
        >>> picture.update(preview_tensor(resolve(PruneSpec("fc.weight", amount=0.5), tensor), tensor))
        True
        >>> picture.bars.get_xlabel()
        'outputs, dim 0'
    """

    def __init__(self, figure: Figure | None = None) -> None:
        self.figure = Figure(figsize=(9.6, 6.0), dpi=100) if figure is None else figure
        self.figure.set_facecolor("white")
        grid = self.figure.add_gridspec(2, 1, height_ratios=(1.35, 1))
        self.heatmap: Axes = self.figure.add_subplot(grid[0])
        self.bars: Axes = self.figure.add_subplot(grid[1])
        self._shown: Preview | None = None
        self._make_artists()
        self.fit()

    def _make_artists(self) -> None:
        for axes in (self.heatmap, self.bars):
            axes.tick_params(colors=FAINT, labelsize=9, length=3)
            for spine in axes.spines.values():
                spine.set_color(GRID)
        self._image = CellImage(self.heatmap)
        self._names = [_title(axes, 20, INK, 10, "bold") for axes in (self.heatmap, self.bars)]
        self._lines = [_title(axes, 6, FAINT, 9, "normal") for axes in (self.heatmap, self.bars)]
        self.bars.grid(axis="y", color=GRID, linewidth=0.8)
        self.bars.set_axisbelow(True)
        for side in ("top", "right"):
            self.bars.spines[side].set_visible(False)
        self._columns = [Columns(self.bars, colour) for colour in (KEPT, PRUNED, EARLIER)]
        self._threshold = self.bars.axhline(0.0, color=THRESHOLD, linewidth=1.2, linestyle=_DASHES)
        for artist in self.animated:
            artist.set_animated(True)

    @property
    def animated(self) -> Sequence[Artist]:
        """Return the artists that change with ``amount``, in drawing order."""
        return [self._image, *self._columns, self._threshold, *self._lines]

    def axes_of(self, artist: Artist) -> Axes:
        """Return the axes that draw ``artist``."""
        return self.bars if artist.axes is self.bars else self.heatmap

    def fit(self) -> None:
        """Lay the axes out for the figure's present size, with margins in pixels that text needs."""
        width, height = self.figure.get_size_inches() * 100
        bottom = _BOTTOM if self._legend_columns() == 4 else _BOTTOM + _LEGEND_ROW
        mean_axes_height = (height - _TOP - _BETWEEN - bottom) / 2
        self.figure.subplots_adjust(
            left=_LEFT / width,
            right=1 - _RIGHT / width,
            top=1 - _TOP / height,
            bottom=bottom / height,
            hspace=_BETWEEN / mean_axes_height,
        )
        for axes in (self.heatmap, self.bars):
            beside = blended_transform_factory(self.figure.transFigure, axes.transAxes)
            axes.yaxis.set_label_coords(20 / width, 0.5, beside)
        if self._shown is not None:
            self._draw_still(self._shown)
            self._write_lines(self._shown)

    def _room(self, letter: float) -> int:
        """Return how many letters of ``letter`` pixels each stand over the axes, at 100 dots an inch."""
        return int(self.heatmap.bbox.width * 100 / self.figure.dpi / letter)

    def _write_titles(self, preview: Preview) -> None:
        """Write what is shown over each axes, as far as there is room for it."""
        tensor, spec = preview.tensor, preview.spec
        room = self._room(_BOLD_PIXELS)
        full = f"{tensor.name}  ({tensor.layer_type} {tensor.shape_text})"
        self._names[0].set_text(full if len(full) <= room else _ending(tensor.name, room))
        self._names[1].set_text(_beginning(f"{norm_name(spec.n)} of the {tensor.axis(spec.dim)}", room))

    def _write_lines(self, preview: Preview) -> None:
        room = self._room(_LETTER_PIXELS)
        for line, text in zip(self._lines, (_mask_line(preview), _bars_line(preview)), strict=True):
            line.set_text(_beginning(text, room))

    def update(self, preview: Preview) -> bool:
        """Show ``preview``.

        Returns:
            Whether anything but the `animated` artists changed, so that the whole figure must be drawn again.
        """
        changed = self._shown is None or _still(preview) != _still(self._shown)
        self._shown = preview
        if changed:
            self._draw_still(preview)
        self._update_heatmap(preview)
        self._write_lines(preview)
        self._update_bars(preview)
        return changed

    def _draw_still(self, preview: Preview) -> None:
        self._write_titles(preview)
        self._scale_heatmap(preview)
        self._scale_bars(preview)
        self._draw_legend(preview)

    def _scale_heatmap(self, preview: Preview) -> None:
        tensor = preview.tensor
        layout = MatrixLayout.of(tensor.shape, preview.spec.dim)
        rows, columns = layout.size
        across = columns / layout.column_width
        self.heatmap.set_xlim(-0.5, across - 0.5)
        self.heatmap.set_ylim(rows - 0.5, -0.5)
        self.heatmap.set_xlabel(_across_label(preview, layout), color=FAINT, fontsize=9)
        self.heatmap.set_ylabel(
            "" if layout.rows is None else tensor.axis(layout.rows), color=FAINT, fontsize=9
        )
        self.heatmap.xaxis.set_major_locator(self._across_locator())
        self.heatmap.yaxis.set_major_locator(NullLocator() if rows == 1 else MaxNLocator(6, integer=True))

    def _across_locator(self) -> MaxNLocator:
        """Return what places whole numbers along the horizontal axes, about one in a hundred pixels."""
        return MaxNLocator(max(3, round(self.heatmap.bbox.width / self.figure.dpi)), integer=True)

    def _scale_bars(self, preview: Preview) -> None:
        norms = preview.norms.unpruned.float().cpu().numpy()
        finite = norms[np.isfinite(norms)]
        highest = float(finite.max()) if finite.size else 0.0
        self.bars.set_xlim(-0.5, len(norms) - 0.5)
        self.bars.set_ylim(0, highest * 1.08 or 1.0)
        self.bars.xaxis.set_major_locator(self._across_locator())
        self.bars.yaxis.set_major_locator(MaxNLocator(5))
        self.bars.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        group = -(-len(norms) // MAX_BARS)
        each = "" if group == 1 else f" (a bar is the mean of {group})"
        self.bars.set_xlabel(
            f"{preview.tensor.axis(preview.spec.dim)}, dim {preview.spec.dim}{each}", color=FAINT
        )
        self.bars.xaxis.label.set_fontsize(9)
        self.bars.set_ylabel(norm_name(preview.spec.n), color=FAINT, fontsize=9)

    def _draw_legend(self, preview: Preview) -> None:
        for legend in self.figure.legends[:]:
            legend.remove()
        entries = {"kept": KEPT, "pruned": PRUNED}
        if preview.tensor.default_mask is not None:
            entries["pruned earlier"] = EARLIER
        handles: list[Any] = [Patch(color=colour, label=label) for label, colour in entries.items()]
        if preview.method.norm_scores:
            handles.append(Line2D([], [], color=THRESHOLD, linestyle=_DASHES, label="threshold"))
        self.figure.legend(
            handles=handles, loc="lower left", ncols=self._legend_columns(), frameon=False, fontsize=9,
            labelcolor=INK, bbox_to_anchor=(0.0, 0.0), handlelength=2.1, columnspacing=1.2,
        )  # fmt: skip

    def _legend_columns(self) -> int:
        """Return how many entries of the legend stand side by side; a narrow page needs a second row."""
        return 4 if self.figure.get_figwidth() >= _LEGEND_INCHES else 2

    def _update_heatmap(self, preview: Preview) -> None:
        layout = MatrixLayout.of(preview.tensor.shape, preview.spec.dim)
        rows, columns = layout.size
        extent = (-0.5, columns / layout.column_width - 0.5, rows - 0.5, -0.5)
        self._image.set_cells(_pixels(preview, layout), extent)

    def _update_bars(self, preview: Preview) -> None:
        now, unpruned, kept = (
            _grouped(values.float().cpu().numpy())
            for values in (preview.norms.now, preview.norms.unpruned, preview.kept_fractions())
        )
        levels = [np.zeros_like(now), now * kept, now, np.maximum(now, unpruned)]
        edges = np.linspace(-0.5, len(preview.norms.now) - 0.5, len(now) + 1)
        gap = 0.12 * (edges[1] - edges[0]) if len(now) <= MAX_APART else 0.0
        for columns, low, high in zip(self._columns, levels, levels[1:], strict=False):
            columns.set_bars(edges[:-1] + gap, edges[1:] - gap, low, high)
        threshold = preview.threshold if preview.method.norm_scores else None
        self._threshold.set_visible(threshold is not None)
        if threshold is not None:
            self._threshold.set_ydata([threshold, threshold])


def _title(axes: Axes, points: float, colour: str, size: float, weight: str) -> Any:
    return axes.annotate(
        "", (0, 1), xytext=(0, points), xycoords="axes fraction", textcoords="offset points", color=colour,
        fontsize=size, fontweight=weight, va="baseline", ha="left", annotation_clip=False,
    )  # fmt: skip


def _ending(text: str, room: int) -> str:
    """Return the end of ``text`` that fits into ``room`` letters: names differ there."""
    return text if len(text) <= room else "…" + text[1 - room :]


def _beginning(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _still(preview: Preview) -> tuple[object, ...]:
    """Return all that the parts drawn once depend on; comparable while the preview lives."""
    spec = preview.spec
    return (id(preview.tensor), id(preview.norms), spec.n, spec.dim, preview.method.norm_scores)


def _pixels(preview: Preview, layout: MatrixLayout) -> NDArray[np.uint8]:
    kept = np.rint(cell_fractions(layout.matrix(preview.mask)) * 255).astype(np.uint8)
    if preview.pruned_earlier is None:
        return _SHADES[kept]
    earlier = cell_fractions(layout.matrix(preview.pruned_earlier))[..., np.newaxis]
    towards = _COLOURS[2] - _COLOURS[0]
    pixels: NDArray[np.uint8] = np.rint(_SHADES[kept] + earlier * towards).astype(np.uint8)
    return pixels


def _grouped(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``values``, or the means of groups of neighbours where there are more than a screen shows."""
    if len(values) <= MAX_BARS:
        return values
    starts = np.arange(0, len(values), -(-len(values) // MAX_BARS))
    sizes = np.diff(starts, append=len(values)).astype(np.float32)
    means: NDArray[np.float32] = (np.add.reduceat(values, starts) / sizes).astype(np.float32)
    return means


def norm_name(n: Norm) -> str:
    """Return what a norm of order ``n`` is called.

    Example:
        >>> norm_name(2), norm_name(float("inf")), norm_name("fro")
        ('L2 norm', 'L∞ norm', 'Frobenius norm')
    """
    names: dict[Norm, str] = {
        "fro": "Frobenius norm",
        "nuc": "nuclear norm",
        float("inf"): "L∞ norm",
        float("-inf"): "L−∞ norm",
    }
    return names.get(n) or f"L{n:g} norm"


def _across_label(preview: Preview, layout: MatrixLayout) -> str:
    axes = preview.tensor.axes
    if layout.column_axis is None:
        return " × ".join(name for axis, name in enumerate(axes) if axis != layout.rows)
    label = axes[layout.column_axis]
    if layout.column_width == 1:
        return label
    kernel = "×".join(str(size) for size in layout.shape[2:])
    return f"{label}, each {kernel} wide" if len(layout.shape) == 3 else f"{label}, each a {kernel} kernel"


def _mask_line(preview: Preview) -> str:
    text = f"{preview.method.title} · {percent(preview.sparsity)} pruned"
    if preview.threshold is not None and not preview.method.structured:
        text += f" · |w| ≤ {preview.threshold:.3g}"
    return text


def _bars_line(preview: Preview) -> str:
    if not preview.method.structured:
        return "light part: share of its weights pruned"
    text = f"{preview.pruned_units:,} of {preview.units:,} pruned"
    return text if preview.threshold is None else f"{text} · norm ≤ {preview.threshold:.3g}"
