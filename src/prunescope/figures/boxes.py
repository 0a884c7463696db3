"""A box around each group that a method compares, where the heatmap is zoomed in far enough to see them."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from prunescope.core.preview import Preview
from prunescope.figures.cells import MatrixLayout
from prunescope.figures.style import LIGHT, Theme

SMALLEST = 7
"""Pixels, at 100 dots an inch, that the shorter side of a box has at least to be drawn."""

MOST = 4000
"""Boxes that are drawn at most."""

_CODES = np.array([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], Path.code_type)


def box_size(preview: Preview, layout: MatrixLayout) -> tuple[int, int] | None:
    """Return how many rows and columns of the matrix a group covers; None where it is no rectangle of it.

    Args:
        preview: What is shown.
        layout: How its tensor is laid out.

    Example:
        >>> import torch
        >>> from prunescope.core.preview import preview_tensor
        >>> from prunescope.core.resolve import resolve
        >>> from prunescope.core.spec import PruneSpec
        >>> from prunescope.core.tensor import PrunableTensor
        >>> tensor = PrunableTensor("w", "Linear", torch.rand(4, 8), ("outputs", "inputs"))
        >>> spec = PruneSpec("w", "grouped_unstructured", amount=0.5, dim=1, group=4)
        >>> box_size(preview_tensor(resolve(spec, tensor), tensor), MatrixLayout.of((4, 8), 0))
        (1, 4)
    """
    axes = preview.spec.dim
    if not preview.method.groups or not isinstance(axes, tuple):
        return None
    size = preview.spec.group or math.prod(layout.shape[axis] for axis in axes)
    across = tuple(axis for axis in range(len(layout.shape)) if axis != layout.rows)
    if axes == across[len(across) - len(axes) :]:
        return 1, size
    return (size, 1) if axes == (layout.rows,) else None


class GroupBoxes(PathPatch):
    """The boxes of the groups in sight, updated in place.

    Args:
        axes: Where to draw; the boxes are added to them.
        theme: The colours.

    Attributes:
        corners: Left, bottom, right and top of each box in data coordinates, of shape ``(B, 4)``.
    """

    def __init__(self, axes: Axes, theme: Theme = LIGHT) -> None:
        super().__init__(Path(np.empty((0, 2))), fill=False, edgecolor=theme.ink, linewidth=0.8)
        self.set_path_effects([withStroke(linewidth=3, foreground=theme.paper)])  # On any colour of a cell.
        self.corners: NDArray[np.float64] = np.zeros((0, 4))
        self._on = axes
        axes.add_patch(self)

    def fit(self, preview: Preview, layout: MatrixLayout, sight: tuple[int, int, int, int]) -> None:
        """Draw the boxes of what is in sight.

        Args:
            preview: What is shown.
            layout: How its tensor is laid out.
            sight: First row, row behind the last, first column, column behind the last.
        """
        size = box_size(preview, layout)
        self.corners = np.zeros((0, 4)) if size is None else self._boxes(size, layout, sight)
        left, low, right, high = self.corners.T
        points = np.stack([left, low, left, high, right, high, right, low, left, low], -1).reshape(-1, 2)
        self.set_path(Path(points, np.tile(_CODES, len(self.corners)), readonly=True))
        self.set_visible(bool(len(self.corners)))

    def _boxes(
        self, size: tuple[int, int], layout: MatrixLayout, sight: tuple[int, int, int, int]
    ) -> NDArray[np.float64]:
        top, bottom, left, right = sight
        tall, wide = size
        down, across = np.arange(top // tall, -(-bottom // tall)), np.arange(left // wide, -(-right // wide))
        box, dot = self._on.bbox, self._on.figure.dpi / 100
        pixels = box.height / dot / (bottom - top) * tall, box.width / dot / (right - left) * wide
        if min(pixels) < SMALLEST or len(down) * len(across) > MOST:
            return np.zeros((0, 4))
        row, column = (each.reshape(-1) for each in np.meshgrid(down, across, indexing="ij"))
        edges = (
            column * wide / layout.column_width - 0.5,
            row * tall - 0.5,
            (column + 1) * wide / layout.column_width - 0.5,
            (row + 1) * tall - 0.5,
        )
        return np.stack(edges, -1)
