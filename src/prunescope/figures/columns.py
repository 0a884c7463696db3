"""Many bars as one path, a thousand times as fast as drawing them one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

_CODES = np.array([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], Path.code_type)


class Columns(PathPatch):
    """Upright bars of one colour, updated in place.

    Args:
        axes: Where to draw; the bars are added to them.
        colour: Their colour.

    Attributes:
        low, high: Bottom and top of each bar, of shape ``(C,)``.

    Example:
        >>> from matplotlib.figure import Figure
        >>> bars = Columns(Figure().add_subplot(), "black")
        >>> bars.set_bars(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.zeros(2), np.array([3.0, 4.0]))
        >>> bars.high
        array([3., 4.])
    """

    def __init__(self, axes: Axes, colour: str) -> None:
        super().__init__(Path(np.empty((0, 2))), facecolor=colour, edgecolor="none", linewidth=0)
        self.low: NDArray[Any] = np.zeros(0)
        self.high: NDArray[Any] = np.zeros(0)
        axes.add_patch(self)

    def set_bars(
        self,
        left: NDArray[Any],
        right: NDArray[Any],
        low: NDArray[Any],
        high: NDArray[Any],
    ) -> None:
        """Draw bars from ``left`` to ``right`` and ``low`` to ``high``, arrays of shape ``(C,)``."""
        self.low, self.high = low, high
        corners = np.empty((len(high), 5, 2))
        corners[:, 0, 0] = corners[:, 3, 0] = corners[:, 4, 0] = left
        corners[:, 1, 0] = corners[:, 2, 0] = right
        corners[:, 0, 1] = corners[:, 1, 1] = corners[:, 4, 1] = low
        corners[:, 2, 1] = corners[:, 3, 1] = high
        self.set_path(Path(corners.reshape(-1, 2), np.tile(_CODES, len(high)), readonly=True))
