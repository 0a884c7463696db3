"""Ranking within groups: a tensor seen as rows, each a group, and the place of every element in its row.

In a short row every pair is compared, column against column, which a processor does for many rows at once; a
sort of each row takes some twenty times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunescope.prune._kernels.blocks import Array

# Up to here comparing every pair is faster than a sort.
SHORT = 16
_BLOCK = 1 << 17


@dataclass(frozen=True)
class Groups:
    """How the elements of a tensor are divided into groups.

    Attributes:
        shape: Shape of the tensor.
        axes: Axes that a group runs along, flattened in this order.
        size: Elements of a group, consecutive along the flattened axes; it divides their number.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    size: int

    @property
    def _order(self) -> list[int]:
        return [axis for axis in range(len(self.shape)) if axis not in self.axes] + list(self.axes)

    def rows(self, t: Tensor) -> Tensor:
        """Return ``t`` with one group a row: of shape (groups, size), a view where it can be."""
        return t.permute(self._order).reshape(-1, self.size)

    def placed(self, rows: Tensor) -> Tensor:
        """Return rows, one a group, as a tensor of ``shape`` again."""
        order = self._order
        back = sorted(range(len(order)), key=order.__getitem__)
        return rows.reshape([self.shape[axis] for axis in order]).permute(back)

    def lies_in_rows(self, t: Tensor) -> bool:
        """Return whether the groups lie in memory one after the other."""
        return t.is_contiguous() and self._order == list(range(len(self.shape)))


def ranks_in_rows(scores: Tensor, candidates: Tensor | None = None) -> Tensor:
    """Return the place of every score in its row, from 0 for the lowest, ties by lowest index.

    Args:
        scores: Matrix of float32 or float64 without NaN.
        candidates: Boolean matrix of its shape, False for what takes no part and gets -1; None: all do.

    Example:
        >>> ranks_in_rows(torch.tensor([[3.0, 1.0, 1.0]])).tolist()
        [[2, 0, 1]]
    """
    if scores.device.type == "cpu" and scores.shape[1] <= SHORT:
        ranks = torch.empty(scores.shape, dtype=torch.int16)
        keys = scores if candidates is None else scores.masked_fill(~candidates, torch.nan)
        for start, columns in _columns(keys.contiguous().numpy(), absolute=False):
            places = _ranks(columns, ordered=candidates is None)
            np.copyto(ranks.numpy()[start : start + columns.shape[1]], _turned(places))
    else:
        order = scores.argsort(dim=1, stable=True)
        if candidates is not None:
            # Whatever takes no part goes to the end, and leaves the order of the others as it is.
            order = order.gather(1, (~candidates).gather(1, order).byte().argsort(dim=1, stable=True))
        numbers = torch.arange(scores.shape[1], dtype=torch.int32, device=scores.device)
        ranks = torch.empty(scores.shape, dtype=torch.int32, device=scores.device)
        ranks.scatter_(1, order, numbers.expand(scores.shape))
    return ranks if candidates is None else ranks.masked_fill_(~candidates, -1)


def write_without_lowest(weights: Tensor, k: int, out: Tensor) -> bool:
    """Write 0 for the ``k`` elements of lowest magnitude of each short row, and 1 for the others.

    Args:
        weights: Contiguous matrix of float32 or float64 on the CPU.
        k: How many elements of each row go.
        out: Contiguous matrix of its shape, of a type that numpy knows.

    Returns:
        Whether all weights are finite; otherwise what is written may be wrong.

    Example:
        >>> mask = torch.empty(1, 4)
        >>> write_without_lowest(torch.tensor([[1.0, -3.0, 2.0, 2.0]]), 2, mask), mask.tolist()
        (True, [[0.0, 1.0, 0.0, 1.0]])
    """
    written = out.numpy()
    for start, columns in _columns(weights.numpy(), absolute=True):
        # The maximum of anything with a NaN in it is NaN.
        if not np.isfinite(columns.max()):
            return False
        kept = _ranks(columns, ordered=True) >= k
        np.copyto(written[start : start + columns.shape[1]], _turned(kept.view(np.uint8)))
    return True


def _columns(rows: Array, *, absolute: bool) -> Iterator[tuple[int, Array]]:
    """Yield blocks of ``rows``, turned so that columns lie in memory, and the first row of each.

    A block is good until the next comes.
    """
    size = rows.shape[1]
    many = max(1, _BLOCK // size)
    room: Array = np.empty(size * min(many, len(rows)), rows.dtype)
    for start in range(0, len(rows), many):
        block = rows[start : start + many].T
        columns = room[: block.size].reshape(block.shape)
        if absolute:
            np.abs(block, out=columns)
        else:
            np.copyto(columns, block)
        yield start, columns


def _turned(columns: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return rows of ``columns``, one byte each: to turn wider numbers takes several times as long."""
    rows = np.empty(columns.shape[::-1], np.uint8)
    for place, column in enumerate(columns):
        rows[:, place] = column
    return rows


def _ranks(columns: Array, *, ordered: bool) -> NDArray[np.uint8]:
    """Return the place of every number among those of the other columns at the same index.

    Args:
        columns: Numbers; NaN takes no part: it is neither before nor behind another.
        ordered: Whether there is no NaN, so that of every two numbers one comes before the other.
    """
    ranks = np.zeros(columns.shape, np.uint8)
    flags = np.empty(columns.shape[1], np.bool_)
    ones = flags.view(np.uint8)
    if ordered:
        ranks += np.arange(len(columns) - 1, -1, -1, dtype=np.uint8)[:, None]
    for i, j in combinations(range(len(columns)), 2):
        np.less_equal(columns[i], columns[j], out=flags)
        ranks[j] += ones
        if ordered:
            ranks[i] -= ones
        else:
            ranks[i] += np.less(columns[j], columns[i], out=flags).view(np.uint8)
    return ranks
