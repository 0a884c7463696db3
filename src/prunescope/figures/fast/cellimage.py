"""Cells of plain colour on axes: matplotlib's image, drawn by looking up the cell of each pixel.

Matplotlib resamples an image by a general transformation, 8 ms for a heatmap of half a page. Cells along the
axes need only the cell's row for every line of pixels and its column for every pixel across.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray


class CellImage(AxesImage):
    """Cells of plain colour on axes with linear scales; the cell nearest to a pixel's middle colours it.

    Args:
        axes: Where to draw; the image is added to them.

    Example:
        >>> from matplotlib.figure import Figure
        >>> image = CellImage(Figure().add_subplot())
        >>> image.set_cells(np.zeros((2, 3, 4), np.uint8), (-0.5, 2.5, 1.5, -0.5))
        >>> image.get_extent()
        [-0.5, 2.5, 1.5, -0.5]
    """

    def __init__(self, axes: Axes) -> None:
        super().__init__(axes, interpolation="nearest", origin="upper", extent=(0, 1, 1, 0))
        self._cells = np.zeros((1, 1), np.uint32)
        self.set_data(np.zeros((1, 1, 4), np.uint8))
        axes.add_image(self)
        self.set_clip_path(axes.patch)

    def set_cells(self, cells: NDArray[np.uint8], extent: tuple[float, float, float, float]) -> None:
        """Show ``cells``.

        Args:
            cells: Colours of shape ``(R, C, 4)``: red, green, blue, opacity. The first row is the top one.
            extent: Left, right, bottom and top of all cells, in the axes' data coordinates.
        """
        cells = np.ascontiguousarray(cells)
        self._cells = cells.view(np.uint32)[..., 0]
        self.set_data(cells)
        if tuple(self.get_extent()) != extent:
            limits = self.axes.get_xlim(), self.axes.get_ylim()
            self.set_extent(extent)
            self.axes.set(xlim=limits[0], ylim=limits[1])

    def make_image(
        self, renderer: Any, magnification: float = 1.0, unsampled: bool = False
    ) -> tuple[Any, float, float, Affine2D]:
        """Return the pixels of the visible part, bottom up, and their position; see matplotlib."""
        assert self.axes is not None
        left, right, bottom, top = self.get_extent()
        place = self.axes.transData.transform([(left, bottom), (right, top)])
        box = self.axes.bbox
        across = _cells_at(place[:, 0], (box.x0, box.x1), magnification, self._cells.shape[1])
        down = _cells_at(place[::-1, 1], (box.y0, box.y1), magnification, self._cells.shape[0])
        if across is None or down is None:
            return None, 0, 0, Affine2D()
        pixels = self._pixels(down[1], across[1], magnification)
        image = pixels.view(np.uint8).reshape(*pixels.shape, 4)
        return image, across[0], down[0], Affine2D()

    def _pixels(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], magnification: float
    ) -> NDArray[np.uint32]:
        """Return the colours of pixels whose cells lie in ``rows``, from the bottom up, and ``columns``."""
        return np.take(np.take(self._cells, columns, axis=1), rows, axis=0)


def _cells_at(
    ends: NDArray[np.float64], seen: tuple[float, float], magnification: float, cells: int
) -> tuple[float, NDArray[np.int64]] | None:
    """Return the first pixel of the visible part of a row of cells, and the cell at each pixel of it.

    Args:
        ends: Where the first cell starts and the last one ends, in pixels.
        seen: First and last pixel of the axes.
        magnification: Pixels to make for one of the figure's.
        cells: How many cells there are.
    """
    low, high = max(min(ends), seen[0]), min(max(ends), seen[1])
    first, last = math.floor(low), math.ceil(high)
    if first >= last:
        return None
    count = round((last - first) * magnification)
    middles = first + (np.arange(count) + 0.5) / magnification
    index = np.floor((middles - ends[0]) / (ends[1] - ends[0]) * cells).astype(np.int64)
    return first, np.clip(index, 0, cells - 1)
