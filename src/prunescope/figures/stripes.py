"""Cells of plain colour, some of them striped, so that they are not told apart by colour alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from prunescope.figures.cellimage import CellImage

PLAIN, RISING, FALLING = 0, 1, 2
"""What a cell can be: without stripes, or with stripes that rise or fall from left to right."""

_PERIOD, _WIDTH = 7.0, 1.6
"""Pixels from stripe to stripe along a line, and of each, at 100 dots an inch."""

HATCHES = {RISING: "////", FALLING: "\\\\\\\\"}
"""Matplotlib's hatch for patches that stand beside such cells."""


class StripedCells(CellImage):
    """Cells along the axes, in plain colours, with stripes over some.

    Args:
        axes: Where to draw; the image is added to them.

    Example:
        >>> from matplotlib.figure import Figure
        >>> image = StripedCells(Figure().add_subplot())
        >>> cells, stripes = np.zeros((1, 2, 4), np.uint8), np.array([[PLAIN, RISING]])
        >>> image.set_striped(cells, (-0.5, 1.5, 0.5, -0.5), stripes)
        >>> image.stripes.tolist()
        [[0, 1]]
    """

    def __init__(self, axes: Axes) -> None:
        super().__init__(axes)
        self.stripes: NDArray[np.int64] = np.zeros((1, 1), np.int64)
        self._inks = np.zeros((1, 1), np.uint32)

    def set_striped(
        self,
        cells: NDArray[np.uint8],
        extent: tuple[float, float, float, float],
        stripes: NDArray[np.int64],
    ) -> None:
        """Show ``cells``, striped.

        Args:
            cells: Colours of shape ``(R, C, 4)``; the first row is the top one.
            extent: Left, right, bottom and top of all cells, in the axes' data coordinates.
            stripes: `PLAIN`, `RISING` or `FALLING` for each, of shape ``(R, C)``.
        """
        self.set_cells(cells, extent)
        self.stripes = stripes
        self._inks = np.ascontiguousarray(ink_on(cells)).view(np.uint32)[..., 0]

    def _pixels(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], magnification: float
    ) -> NDArray[np.uint32]:
        pixels = super()._pixels(rows, columns, magnification)
        if not self.stripes.any():
            return pixels
        dot = self.axes.figure.dpi / 100 * magnification
        up, along = np.arange(len(rows))[:, np.newaxis], np.arange(len(columns))
        stripes = self.stripes[np.ix_(rows, columns)]
        place = np.where(stripes == RISING, along - up, along + up) % (_PERIOD * dot)
        on_stripe = (stripes != PLAIN) & (place < _WIDTH * dot)
        inked: NDArray[np.uint32] = np.where(on_stripe, self._inks[np.ix_(rows, columns)], pixels)
        return inked


def ink_on(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return colours that show up on ``colours``: darker on light ones, lighter on dark ones.

    Args:
        colours: Of shape ``(..., 4)``: red, green, blue, opacity.
    """
    light = (colours[..., :3] / 255.0) ** 2.2 @ np.array([0.2126, 0.7152, 0.0722]) > 0.25
    toward: NDArray[Any] = np.where(light, 0.0, 255.0)[..., np.newaxis]
    inks = colours.copy()
    inks[..., :3] = np.rint(colours[..., :3] * 0.35 + toward * 0.65)
    return inks
