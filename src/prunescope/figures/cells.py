"""Lay a tensor out as a matrix, and reduce it to as many cells as a screen can show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

MAX_ROWS, MAX_COLUMNS = 256, 640
"""Most cells of a heatmap; a screen shows no more."""

_AT_ONCE = 1 << 18
"""Values processed at a time: a matrix may be as large as memory."""

_UINT8_MAX = 255


@dataclass(frozen=True)
class MatrixLayout:
    """How a tensor's axes map to the rows and columns of a picture.

    A channel is always a visible band: axis 0 runs down and all others run across in order, so channels along
        axis 0
    are rows and channels along axis 1 are adjacent columns; for any later ``dim``, that axis runs down.

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
        """Return the layout for a tensor of ``shape`` with channels along ``dim``."""
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
        """Return the axis whose index changes slowest from left to right; None if there are several."""
        if self.rows is None:
            return 0
        return 1 if self.rows == 0 else None

    @property
    def column_width(self) -> int:
        """Return the columns per index of `column_axis`: the kernel's size for a convolution."""
        if self.column_axis is None:
            return 1
        return self.size[1] // self.shape[self.column_axis]

    def matrix(self, tensor: Tensor) -> NDArray[Any]:
        """Return a tensor of ``self.shape`` as the matrix of this layout, on the CPU."""
        return self.part(tensor, 0, self.size[0]).cpu().numpy()

    def part(self, tensor: Tensor, first: int, last: int) -> Tensor:
        """Return rows of the matrix of this layout, from ``first`` to before ``last``."""
        moved = tensor.unsqueeze(0) if self.rows is None else tensor.movedim(self.rows, 0)
        return moved[first:last].reshape(last - first, -1)

    def index(self, row: int, column: int) -> tuple[int, ...]:
        """Return the tensor index of the matrix entry at ``row`` and ``column``.

        Example:
            >>> MatrixLayout.of((4, 3, 2, 2), dim=0).index(1, 7)
            (1, 1, 1, 1)
        """
        if self.rows is None:
            return (column,)
        others = [size for axis, size in enumerate(self.shape) if axis != self.rows]
        index = [int(place) for place in np.unravel_index(column, others)]
        index.insert(self.rows, row)
        return tuple(index)


def cell_fractions(
    matrix: NDArray[np.bool_], rows: int = MAX_ROWS, columns: int = MAX_COLUMNS
) -> NDArray[np.float32]:
    """Compute the fraction of True values in each cell of a grid over ``matrix``.

    Args:
        matrix: Boolean matrix of shape ``(R, C)``.
        rows: Most cells down.
        columns: Most cells across.

    Returns:
        Array of shape ``(min(R, rows), min(C, columns))``, in [0, 1]. Cell sizes differ by at most one value.

    Example:
        >>> cell_fractions(np.array([[True, False, True, True]]), columns=2)
        array([[0.5, 1. ]], dtype=float32)
    """
    counts, heights = _sum_rows(matrix.view(np.uint8), rows)
    counts, widths = _sum_columns(counts, columns)
    fractions: NDArray[np.float32] = np.divide(counts, np.multiply.outer(heights, widths), dtype=np.float32)
    return fractions


def cell_extremes(
    rows_of: Callable[[int, int], NDArray[np.float32]],
    size: tuple[int, int],
    rows: int = MAX_ROWS,
    columns: int = MAX_COLUMNS,
) -> NDArray[np.float32]:
    """Compute the value farthest from zero in each cell of a grid over a matrix.

    A mean of weights of both signs would be near zero everywhere.

    Args:
        rows_of: Returns the rows ``[first, last)`` of the matrix on demand.
        size: Rows and columns of the matrix, ``(R, C)``.
        rows: Most cells down.
        columns: Most cells across.

    Returns:
        Array of shape ``(min(R, rows), min(C, columns))``.

    Example:
        >>> matrix = np.array([[0.5, -2.0, 1.0, 0.0]], np.float32)
        >>> cell_extremes(lambda first, last: matrix[first:last], (1, 4), columns=2)
        array([[-2.,  1.]], dtype=float32)
    """
    across = group_starts(size[1], columns)
    down = group_starts(size[0], rows)
    ends = np.append(down[1:], size[0])
    extremes = np.empty((len(down), len(across)), np.float32)
    groups = max(1, _AT_ONCE * len(down) // (size[0] * size[1]))
    for first in range(0, len(down), groups):
        starts = down[first : first + groups]
        block = rows_of(int(starts[0]), int(ends[min(first + groups, len(down)) - 1]))
        high, low = (
            _reduced(block, reduce, starts - starts[0], across) for reduce in (np.maximum, np.minimum)
        )
        extremes[first : first + groups] = np.where(high >= -low, high, low)
    return extremes


def _reduced(
    block: NDArray[np.float32], reduce: np.ufunc, down: NDArray[np.int64], across: NDArray[np.int64]
) -> NDArray[np.float32]:
    for axis, starts in ((0, down), (1, across)):
        if len(starts) < block.shape[axis]:
            block = reduce.reduceat(block, starts, axis=axis)
    return block


def group_starts(length: int, groups: int) -> NDArray[np.int64]:
    """Return the start of each of ``groups`` groups of nearly equal size among ``length`` positions.

    Example:
        >>> group_starts(5, 2)
        array([0, 2])
    """
    groups = min(length, groups)
    starts: NDArray[np.int64] = np.arange(groups) * length // groups
    return starts


def _sum_rows(counts: NDArray[np.uint8], groups: int) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    """Return the sums of groups of rows, and the number of rows in each.

    Whole rows are added in their own dtype: about ten times as fast as ``reduceat`` over wide numbers.
    """
    starts = group_starts(len(counts), groups)
    if len(starts) == len(counts):
        return counts, np.ones(len(starts), dtype=np.int64)
    sums = np.zeros((len(starts), counts.shape[1]), np.uint32)
    ends = [*starts[1:], len(counts)]
    for total, start, end in zip(sums, starts, ends, strict=True):
        for first in range(start, end, _UINT8_MAX):
            total += np.add.reduce(counts[first : min(first + _UINT8_MAX, end)], axis=0, dtype=np.uint8)
    return sums, np.diff(starts, append=len(counts))


def _sum_columns(
    counts: NDArray[np.integer[Any]], groups: int
) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    length = counts.shape[1]
    starts = group_starts(length, groups)
    if len(starts) == length:
        return counts, np.ones(length, dtype=np.int64)
    return np.add.reduceat(counts, starts, axis=1, dtype=np.uint32), np.diff(starts, append=length)
