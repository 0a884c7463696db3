"""The heatmap of one tensor: its mask, weights or scores, reduced to the visible cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from prunescope.core.preview import Preview
from prunescope.core.tensor import PrunableTensor
from prunescope.figures.boxes import GroupBoxes
from prunescope.figures.cells import MAX_COLUMNS, MAX_ROWS, MatrixLayout, cell_extremes, cell_fractions
from prunescope.figures.fast.cellimage import CellImage
from prunescope.figures.fast.quicktext import QuickText
from prunescope.figures.layout import label_across
from prunescope.figures.style import LIGHT, Theme
from prunescope.figures.view import View

MAX_NUMBERS = 12
"""Most visible rows and columns in which the weights' values are written."""

PALEST = 0.35
"""The share of its colour that a score of zero has: kept and pruned stay apart on a white page."""


class Window(NamedTuple):
    """The visible rows and columns of the matrix, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def in_sight(cls, axes: Axes, layout: MatrixLayout) -> Window:
        """Return the window within the limits of ``axes``, in whole kernels across."""
        (left, right), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
        rows, columns = layout.size
        width = layout.column_width
        first_row, last_row = _whole(bottom, top, rows)
        first, last = _whole(left, right, columns // width)
        return cls(first_row, last_row, first * width, last * width)

    def extent(self, layout: MatrixLayout) -> tuple[float, float, float, float]:
        """Return left, right, bottom and top of the window in data coordinates."""
        width = layout.column_width
        return self.left / width - 0.5, self.right / width - 0.5, self.bottom - 0.5, self.top - 0.5

    def of(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Return that part of ``matrix``, which may have one row or column for all."""
        rows = slice(None) if len(matrix) == 1 else slice(self.top, self.bottom)
        columns = slice(None) if matrix.shape[1] == 1 else slice(self.left, self.right)
        return matrix[rows, columns]


class Heatmap:
    """The heatmap of a preview on ``axes``, updated in place.

    Args:
        axes: Where to draw.
        theme: The colours.

    Attributes:
        window: The visible part.
        boxes: Frames of the groups that the method compares, where they are large enough to be seen.
    """

    def __init__(self, axes: Axes, theme: Theme = LIGHT) -> None:
        self.axes = axes
        self.theme = theme
        self.window = Window(0, 1, 0, 1)
        self._shades = np.rint(np.linspace(rgba(theme.pruned), rgba(theme.kept), 256) * 255).astype(np.uint8)
        self._image = CellImage(axes)
        self.boxes = GroupBoxes(axes, theme)
        self._band = Rectangle((0, 0), 0, 0, fill=False, edgecolor=theme.ink, linewidth=1.6, visible=False)
        self._band.set_path_effects([halo(theme)])
        axes.add_patch(self._band)
        self._numbers: list[QuickText] = []
        self._values: tuple[object, NDArray[np.float32]] | None = None
        axes.set_facecolor(theme.paper)

    @property
    def animated(self) -> Sequence[Artist]:
        """Return the artists that change with ``amount``, in drawing order."""
        return [self._image, self.boxes, *self._numbers, self._band]

    def fit(self, preview: Preview) -> None:
        """Show all of the tensor, with ticks for its rows and columns."""
        fit_matrix(self.axes, preview.tensor, _layout(preview), self.theme)

    def update(self, preview: Preview, view: View, largest_weight: float | None = None) -> None:
        """Show ``preview``, as far as it is within the axes' limits."""
        layout = _layout(preview)
        self.window = Window.in_sight(self.axes, layout)
        cells = self._cells(preview, layout, view, largest_weight)
        self._image.set_cells(cells, self.window.extent(layout))
        self.boxes.fit(preview, layout, self.window)
        self._write_numbers(preview, layout, view, cells)

    def _cells(
        self, preview: Preview, layout: MatrixLayout, view: View, largest_weight: float | None
    ) -> NDArray[np.uint8]:
        """Return the colours of the visible cells, of shape (rows, columns, 4)."""
        theme, window = self.theme, self.window
        fractions = cell_fractions(window.of(layout.matrix(preview.mask)))
        if view.heatmap == "mask" and preview.tensor.default_mask is None:
            shaded: NDArray[np.uint8] = self._shades[np.rint(fractions * 255).astype(np.uint8)]
            return shaded
        kept = fractions[..., np.newaxis]
        keep: NDArray[Any] = rgba(theme.kept)
        prune: NDArray[Any] = rgba(theme.pruned)
        if view.heatmap == "weights":
            keep = self._diverging(self._scaled(preview, layout, view, largest_weight))
        elif view.heatmap == "scores" and preview.scores is not None:
            score: NDArray[Any] = self._scaled(preview, layout, view, largest_weight)[..., np.newaxis]
            share, paper = PALEST + (1 - PALEST) * score, rgba(theme.paper)
            keep, prune = paper + share * (keep - paper), paper + share * (prune - paper)
        cells: NDArray[Any] = prune + kept * (keep - prune)
        mask = preview.tensor.default_mask
        if mask is not None:
            earlier = 1 - cell_fractions(window.of(layout.matrix(mask)))[..., np.newaxis]
            cells = cells + earlier * (rgba(theme.earlier) - prune)
        coloured: NDArray[np.uint8] = np.rint(np.clip(cells, 0, 1) * 255).astype(np.uint8)
        return coloured

    def _diverging(self, values: NDArray[Any]) -> NDArray[np.float32]:
        zero, ends = rgba(self.theme.zero), (rgba(self.theme.negative), rgba(self.theme.positive))
        values = values[..., np.newaxis]
        colours: NDArray[np.float32] = zero + np.abs(values) * (np.where(values < 0, *ends) - zero)
        return colours

    def _scaled(
        self, preview: Preview, layout: MatrixLayout, view: View, largest_weight: float | None
    ) -> NDArray[np.float32]:
        """Return the visible weights or scores as fractions of the colour range, in [-1, 1]."""
        key = (
            preview.tensor, preview.norms, preview.method.key, view.heatmap, view.colour_range,
            largest_weight, self.window,
        )  # fmt: skip
        if self._values is None or not _same(self._values[0], key):
            limits = preview.colour_limits(view.heatmap, view.colour_range, largest_weight).clamp(min=1e-30)
            window = self.window
            if len(limits) > 1:  # one for each channel
                sizes = [-1 if axis == preview.dim else 1 for axis in range(len(layout.shape))]
                limits = limits.reshape(sizes).expand(layout.shape)

            def shares(first: int, last: int) -> NDArray[np.float32]:
                first, last = first + window.top, last + window.top
                shown = _rows(preview, view, layout, first, last)
                most = limits if limits.dim() == 1 else layout.part(limits, first, last)
                with np.errstate(over="ignore", invalid="ignore"):  # infinite weights
                    share: NDArray[np.float32] = shown.cpu().numpy() / most.to(shown).cpu().numpy()
                np.nan_to_num(np.clip(share, -1, 1, out=share), copy=False)
                return share[:, window.left : window.right]

            cells = cell_extremes(shares, (window.bottom - window.top, window.right - window.left))
            self._values = (key, np.ascontiguousarray(cells, np.float32))
        return self._values[1]

    # Numbers in the cells, and the band under the pointer.

    def _write_numbers(
        self, preview: Preview, layout: MatrixLayout, view: View, cells: NDArray[np.uint8]
    ) -> None:
        window = self.window
        rows, columns = window.bottom - window.top, window.right - window.left
        size = self._number_size(rows, columns)
        shown = max(rows, columns) <= MAX_NUMBERS and size > 0
        if shown and not self._numbers:
            self._numbers = [self._number() for _ in range((MAX_NUMBERS + 1) ** 2)]
        for number in self._numbers:
            number.set_visible(False)
        if not shown:
            return
        values = _rows(preview, view, layout, window.top, window.bottom)
        values = values[:, window.left : window.right]
        for number, (row, column) in zip(self._numbers, np.ndindex(rows, columns), strict=False):
            middle = (window.left + column + 0.5) / layout.column_width - 0.5
            number.set(
                position=(middle, window.top + row), text=_short(float(values[row, column])), visible=True
            )
            number.set_fontsize(size)
            number.set_color("#111417" if _lightness(cells[row, column]) > 0.2 else "#ffffff")

    def _number_size(self, rows: int, columns: int) -> float:
        """Return the font size in points at which numbers fit into the cells; 0 if they do not."""
        box, dot = self.axes.bbox, self.axes.figure.dpi / 100
        width, height = box.width / columns / dot, box.height / rows / dot
        fitting = (size for size, across in ((9.0, 46), (7.5, 36)) if width >= across and height >= 14)
        return next(fitting, 0.0)

    def _number(self) -> QuickText:
        number = QuickText(0, 0, "", ha="center", va="center", transform=self.axes.transData)
        number.set_animated(self._image.get_animated())
        self.axes.add_artist(number)
        number.set_clip_path(self.axes.patch)
        return number

    def light(self, preview: Preview, channel: int | None) -> None:
        """Frame the band of ``channel``; None removes the frame."""
        self._band.set_visible(channel is not None)
        if channel is None:
            return
        layout = _layout(preview)
        rows, columns = layout.size
        if layout.rows is None or preview.dim != layout.rows:
            frame(self._band, self.axes, (channel - 0.5, channel + 0.5), (-0.5, rows - 0.5))
        else:
            across = columns / layout.column_width
            frame(self._band, self.axes, (-0.5, across - 0.5), (channel - 0.5, channel + 0.5))

    def index_at(self, preview: Preview, x: float, y: float) -> tuple[int, ...] | None:
        """Return the index of the weight at the data coordinates ``(x, y)``; None outside the tensor."""
        layout = _layout(preview)
        rows, columns = layout.size
        row, column = int(np.floor(y + 0.5)), int(np.floor((x + 0.5) * layout.column_width))
        if not (0 <= row < rows and 0 <= column < columns):
            return None
        return layout.index(row, column)

    @property
    def weights_a_cell(self) -> int:
        """Return how many weights a cell stands for, at most."""
        window = self.window
        rows, columns = window.bottom - window.top, window.right - window.left
        return -(-rows // min(rows, MAX_ROWS)) * -(-columns // min(columns, MAX_COLUMNS))


def fit_matrix(axes: Axes, tensor: PrunableTensor, layout: MatrixLayout, theme: Theme) -> None:
    """Give ``axes`` the limits, ticks and labels that show all of ``tensor``."""
    rows, columns = layout.size
    axes.set_xlim(-0.5, columns / layout.column_width - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    label_across(axes, _across_label(tensor, layout), theme)
    down = "" if layout.rows is None else tensor.axis(layout.rows)
    axes.set_ylabel(down, color=theme.faint, fontsize=theme.text_size)
    axes.xaxis.set_major_locator(across_locator(axes))
    axes.yaxis.set_major_locator(NullLocator() if rows == 1 else MaxNLocator(6, integer=True))


def _rows(preview: Preview, view: View, layout: MatrixLayout, first: int, last: int) -> torch.Tensor:
    """Return the weights or the scores in some rows of the matrix, in float32, the last row excluded."""
    return preview.values(view.heatmap, lambda tensor: layout.part(tensor, first, last))


def across_locator(axes: Axes) -> MaxNLocator:
    """Return a locator of whole numbers on a horizontal axis, about one per hundred pixels."""
    return MaxNLocator(max(3, round(axes.bbox.width / axes.figure.dpi)), integer=True, min_n_ticks=1)


def frame(box: Rectangle, axes: Axes, across: tuple[float, float], down: tuple[float, float]) -> None:
    """Put ``box`` around the visible part of a range of ``axes``, a line's width away, to hide nothing.

    It may extend beyond the axes by as much, so that the first and last are framed whole.
    """
    corners = axes.transData.transform([(across[0], down[0]), (across[1], down[1])])
    low, high = np.maximum(corners.min(0), axes.bbox.min), np.minimum(corners.max(0), axes.bbox.max)
    if (low > high).any():
        box.set_visible(False)
        return
    gap = 2.5 * axes.figure.dpi / 100
    (x0, y0), (x1, y1) = axes.transData.inverted().transform([low - gap, high + gap])
    box.set_clip_on(False)
    box.set_bounds(x0, y0, x1 - x0, y1 - y0)


def halo(theme: Theme) -> withStroke:
    """Return the edge that makes a frame visible on any background."""
    return withStroke(linewidth=4, foreground=theme.paper)


def _layout(preview: Preview) -> MatrixLayout:
    return MatrixLayout.of(preview.tensor.shape, preview.dim)


def _same(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(a is b or a == b for a, b in zip(one, other, strict=True))


def _whole(low: float, high: float, count: int) -> tuple[int, int]:
    """Return the first visible position and the one after the last, at least one apart."""
    first = min(max(int(np.floor(low + 0.5)), 0), count - 1)
    return first, min(max(int(np.ceil(high + 0.5)), first + 1), count)


def rgba(colour: str) -> NDArray[np.float32]:
    """Return a colour as red, green, blue and opacity, each in [0, 1]."""
    return np.array(to_rgba(colour), np.float32)


def _lightness(colour: NDArray[np.uint8]) -> float:
    """Return the approximate relative luminance, in [0, 1]."""
    return float(((colour[:3] / 255) ** 2.2) @ np.array([0.2126, 0.7152, 0.0722]))


def _short(value: float) -> str:
    """Format ``value`` in about six characters: ``"0.19"``, ``"−0.003"``, ``"4e−5"``."""
    size = abs(value)
    form = ".2f" if size >= 0.005 or size == 0 else ".3f" if size >= 0.0005 else ".0e"
    return f"{value:{form}}".replace("e-0", "e-").replace("-", "−")


def _across_label(tensor: PrunableTensor, layout: MatrixLayout) -> str:
    axes = tensor.axes
    if layout.column_axis is None:
        return " × ".join(name for axis, name in enumerate(axes) if axis != layout.rows)
    label = axes[layout.column_axis]
    if layout.column_width == 1:
        return label
    kernel = "×".join(str(size) for size in layout.shape[2:])
    return f"{label}, each {kernel} wide" if len(layout.shape) == 3 else f"{label}, each a {kernel} kernel"
