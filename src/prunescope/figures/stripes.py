"""Cells of plain colour, some striped, so that they differ by more than colour."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb, to_rgba
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from prunescope.figures.fast.cellimage import CellImage

PLAIN, RISING, FALLING = 0, 1, 2
"""Patterns of a cell: plain, or with stripes that rise or fall from left to right."""

_PERIOD, _WIDTH = 7.0, 1.6
"""Distance and width of stripes in pixels, at 100 dots per inch."""

HATCHES = {RISING: "////", FALLING: "\\\\\\\\"}
"""Matplotlib's matching hatch for legend patches."""


class StripedCells(CellImage):
    """Cells along the axes, in plain colours, with stripes over some.

    Args:
        axes: Where to draw; the image is added to them.
        inks: The colours of stripes that rise and of those that fall.

    Example:
        >>> from matplotlib.figure import Figure
        >>> image = StripedCells(Figure().add_subplot(), {RISING: "#000000"})
        >>> cells, stripes = np.zeros((1, 2, 4), np.uint8), np.array([[PLAIN, RISING]], np.uint8)
        >>> image.set_striped(cells, (-0.5, 1.5, 0.5, -0.5), stripes)
        >>> image.stripes.tolist()
        [[0, 1]]
    """

    def __init__(self, axes: Axes, inks: Mapping[int, str]) -> None:
        super().__init__(axes)
        colours = {way: np.rint(255 * np.array(to_rgba(ink))).astype(np.uint8) for way, ink in inks.items()}
        self._inks = {way: colour.view(np.uint32)[0] for way, colour in colours.items()}
        self.stripes: NDArray[np.uint8] = np.zeros((1, 1), np.uint8)

    def set_striped(
        self,
        cells: NDArray[np.uint8],
        extent: tuple[float, float, float, float],
        stripes: NDArray[np.uint8],
    ) -> None:
        """Show ``cells``, striped.

        Args:
            cells: Colours of shape ``(R, C, 4)``; the first row is the top one.
            extent: Left, right, bottom and top of all cells, in the axes' data coordinates.
            stripes: `PLAIN`, `RISING` or `FALLING` for each, of shape ``(R, C)``.
        """
        self.set_cells(cells, extent)
        self.stripes = stripes

    def _pixels(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], magnification: float
    ) -> NDArray[np.uint32]:
        pixels = super()._pixels(rows, columns, magnification)
        if not self.stripes.any():
            return pixels
        stripes = np.take(np.take(self.stripes, columns, axis=1), rows, axis=0)
        dot = self.axes.figure.dpi / 100 * magnification
        patterns = _patterns(len(rows), len(columns), dot)
        for way, ink in self._inks.items():
            pixels[(stripes == way) & patterns[way]] = ink
        return pixels


def _patterns(rows: int, columns: int, dot: float) -> dict[int, NDArray[np.bool_]]:
    """Return the masks of rising and of falling stripes, for pixels bottom up.

    Args:
        rows: Pixels up.
        columns: Pixels across.
        dot: Pixels per hundredth of an inch.
    """
    line = np.arange(rows + columns) % (_PERIOD * dot) < _WIDTH * dot
    shifted = sliding_window_view(line, columns)  # A line begins one pixel further on than the one before.
    return {RISING: shifted[rows - 1 :: -1] if rows else shifted[:0], FALLING: shifted[:rows]}


def ink_on(colour: str) -> str:
    """Return a colour for stripes on ``colour``: a darker one on a light one, a lighter one on a dark one.

    Example:
        >>> ink_on("#ffffff"), ink_on("#000000")
        ('#595959', '#a6a6a6')
    """
    rgb = np.array(to_rgb(colour))
    light = rgb**2.2 @ np.array([0.2126, 0.7152, 0.0722]) > 0.25
    red, green, blue = rgb * 0.35 + (0.0 if light else 0.65)
    return to_hex((red, green, blue))
