"""Lays a tensor out as a matrix and reduces it to as many cells as a screen can show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

MAX_ROWS, MAX_COLUMNS = 256, 640
"""Cells a heatmap has at the most; a screen shows no more."""


@dataclass(frozen=True)
class MatrixLayout:
    """How a tensor's axes become the rows and columns of a picture.

    A channel is always a visible band: axis 0 runs down and all others run across in order, so channels
    along axis 0 are rows and channels along axis 1 are neighbouring columns; along any later axis, that axis
    runs down.

    Attributes:
        rows: The axis that runs down; None for a vector, which is one row.
        shape: The tensor's shape.

    Example:
        >>> MatrixLayout.of((64, 32, 3, 3), dim=1).size
        (64, 288)
    """

    rows: int | None
    shape: tuple[int, ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], dim: int) -> MatrixLayout:
        """Return the layout for a tensor of ``shape`` whose channels are numbered by ``dim``."""
        if len(shape) == 1:
            return cls(None, shape)
        return cls(dim if dim >= 2 else 0, shape)

    @property
    def size(self) -> tuple[int, int]:
        """Return the matrix's rows and columns."""
        rows = 1 if self.rows is None else self.shape[self.rows]
        return rows, int(np.prod(self.shape)) // rows

    @property
    def column_axis(self) -> int | None:
        """Return the axis whose index changes slowest from left to right; None where several share it."""
        if self.rows is None:
            return 0
        return 1 if self.rows == 0 else None

    @property
    def column_width(self) -> int:
        """Return how many columns one index of `column_axis` takes: the kernel's size for a convolution."""
        if self.column_axis is None:
            return 1
        return self.size[1] // self.shape[self.column_axis]

    def matrix(self, tensor: Tensor) -> NDArray[np.bool_]:
        """Return a boolean tensor of ``self.shape`` as the matrix of this layout, on the CPU."""
        if self.rows is not None:
            tensor = tensor.movedim(self.rows, 0)
        return tensor.reshape(self.size).cpu().numpy()


def cell_fractions(
    matrix: NDArray[np.bool_], rows: int = MAX_ROWS, columns: int = MAX_COLUMNS
) -> NDArray[np.float32]:
    """Return the fraction of True values in each cell of a grid laid over ``matrix``.

    Args:
        matrix: Boolean matrix of shape ``(R, C)``.
        rows: Cells down, at the most.
        columns: Cells across, at the most.

    Returns:
        Array of shape ``(min(R, rows), min(C, columns))``, in [0, 1]. Cells differ in size by one value at
        most.

    Example:
        >>> cell_fractions(np.array([[True, False, True, True]]), columns=2)
        array([[0.5, 1. ]], dtype=float32)
    """
    counts = matrix.view(np.uint8)
    across, widths = _sum_groups(counts, columns, axis=1)
    down, heights = _sum_groups(across, rows, axis=0)
    return (down / np.multiply.outer(heights, widths)).astype(np.float32)


def _sum_groups(
    counts: NDArray[np.integer], groups: int, axis: int
) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    length = counts.shape[axis]
    if length <= groups:
        return counts, np.ones(length, dtype=np.int64)
    starts = np.arange(groups) * length // groups
    return np.add.reduceat(counts, starts, axis=axis, dtype=np.uint32), np.diff(starts, append=length)
