"""Rank within groups: a tensor seen as rows, one group each, and the rank of every element in its row.

In short rows every pair is compared, column against column, vectorised over many rows; sorting each row takes
about twenty times as long.
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
        size: Elements per group, consecutive along the flattened axes; it divides their number.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    size: int

    @property
    def _order(self) -> list[int]:
        return [axis for axis in range(len(self.shape)) if axis not in self.axes] + list(self.axes)

    def rows(self, t: Tensor) -> Tensor:
        """Return ``t`` with one group per row, of shape ``(groups, size)``; a view if possible."""
        return t.permute(self._order).reshape(-1, self.size)

    def placed(self, rows: Tensor) -> Tensor:
        """Return rows, one per group, as a tensor of ``shape`` again."""
        order = self._order
        back = sorted(range(len(order)), key=order.__getitem__)
        return rows.reshape([self.shape[axis] for axis in order]).permute(back)

    def lies_in_rows(self, t: Tensor) -> bool:
        """Return whether the groups are contiguous in memory."""
        return t.is_contiguous() and self._order == list(range(len(self.shape)))


def ranks_in_rows(scores: Tensor, candidates: Tensor | None = None) -> Tensor:
    """Return the rank of every score in its row, 0 for the lowest, ties by lowest index.

    Args:
        scores: Matrix of float32 or float64 without NaN.
        candidates: Boolean matrix of its shape; elements where it is False get -1. None ranks all.

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
            # Elements that are not candidates sort last and do not affect the order of the others.
            order = order.gather(1, (~candidates).gather(1, order).byte().argsort(dim=1, stable=True))
        numbers = torch.arange(scores.shape[1], dtype=torch.int32, device=scores.device)
        ranks = torch.empty(scores.shape, dtype=torch.int32, device=scores.device)
        ranks.scatter_(1, order, numbers.expand(scores.shape))
    return ranks if candidates is None else ranks.masked_fill_(~candidates, -1)


def write_without_lowest(weights: Tensor, k: int, out: Tensor) -> bool:
    """Write 0 for the ``k`` elements of lowest magnitude in each short row, and 1 for the others.

    Args:
        weights: Contiguous matrix of float32 or float64 on the CPU.
        k: How many elements of each row to prune.
        out: Contiguous matrix of its shape, of a dtype that numpy has.

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
    """Yield transposed blocks of ``rows``, with contiguous columns, and the first row of each.

    A block is valid until the next.
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
    """Return the rank of every number among those of the other columns at the same index.

    Args:
        columns: Numbers; NaN is not ranked.
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


WORDS = {4: np.uint32, 8: np.uint64}
"""Rows of so many booleans are one word each, of this dtype."""

_BLOCK = 1 << 16
"""Words that are looked at together: as many as stay near the processor."""


def rows_with_more(kept: Tensor, n: int) -> int:
    """Return how many rows have more than ``n`` True.

    A row is read as one word; times 0x0101…01, its highest byte is the sum of its bytes.

    Args:
        kept: Boolean matrix in memory, of a width in `WORDS`.
        n: At least 0, and less than the width.
    """
    width = kept.shape[1]
    word = WORDS[width]
    words = kept.contiguous().view(torch.uint8).numpy().reshape(-1).view(word)
    ones, high = word(sum(1 << 8 * byte for byte in range(width))), word(8 * (width - 1))
    count = 0
    for start in range(0, len(words), _BLOCK):
        sums = words[start : start + _BLOCK] * ones
        sums >>= high
        count += int(np.count_nonzero(sums > n))
    return count
