"""A ranking of elements that stores no scores, for tensors that fill the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunescope.prune._kernels.blocks import Array, memory_of, widened_into
from prunescope.prune._kernels.partition import Block, BlockScores, Cutoff, Masks, cut_at
from prunescope.prune._kernels.units import refuse_counts
from prunescope.prune.selection import Ranking

_BLOCK = 1 << 17


class NarrowScores(BlockScores):
    """The scores of one weight, which may be of half precision and pruned in part: widened block by block.

    Args:
        part: Flat contiguous tensor on the CPU, of a floating dtype of two bytes or more. Never written.
        absolute: Whether magnitudes are the scores.
        candidates: 1-D boolean tensor, False where a score counts as -inf; None ranks all.

    Raises:
        ValueError: a score is NaN.

    Example:
        >>> half = torch.tensor([3.0, -1.0], dtype=torch.bfloat16)
        >>> [block.scores.tolist() for block in NarrowScores(half, absolute=True).blocks()]
        [[3.0, 1.0]]
    """

    def __init__(self, part: Tensor, *, absolute: bool, candidates: Tensor | None = None) -> None:
        """Check the numbers once."""
        self.parts = [part]
        self._array = memory_of(part)
        self.absolute = absolute
        self._candidates = None if candidates is None else candidates.numpy()
        self._check_numbers()

    def _check_numbers(self) -> None:
        nans = infinite = gone = 0
        for block in self.blocks():
            gone += 0 if self._candidates is None else int(np.count_nonzero(block.scores == -np.inf))
            if not np.isfinite(block.scores.max()):  # NaN if there is one
                nans += int(np.count_nonzero(np.isnan(block.scores)))
                infinite += int(np.count_nonzero(block.scores == np.inf))
        refuse_counts(nans, infinite, len(self) - gone)
        self.checked = True

    def __len__(self) -> int:
        """Return the number of scores."""
        return len(self._array)

    def blocks(self) -> Iterator[Block]:
        """Return the scores in blocks."""
        wide = np.float64 if self._array.dtype == np.float64 else np.float32
        room: Array = np.empty(min(len(self), _BLOCK), wide)
        for start in range(0, len(self), _BLOCK):
            block = self._array[start : start + _BLOCK]
            yield Block(
                self._scored(block, room[: len(block)], slice(start, start + len(block))), start, 0, start
            )

    def every(self, step: int) -> Array:
        """Return a copy of every ``step``-th score."""
        picked = self._array[::step].copy()
        wide = np.float64 if picked.dtype == np.float64 else np.float32
        scores = self._scored(picked, np.empty(len(picked), wide), slice(None, None, step))
        return scores.copy() if scores is picked else scores

    def _scored(self, block: NDArray[Any], room: Array, places: slice) -> Array:
        numbers: Array = widened_into(room, block)
        if self.absolute:
            numbers = np.abs(numbers, out=room)
        if self._candidates is not None:
            np.copyto(numbers, -np.inf, where=~self._candidates[places])
        return numbers


class UnheldRanking(Ranking):
    """The elements of one tensor in the order a method would prune them, without storing scores.

    A `Ranking` takes the memory of its scores, and after two selections as much again. This one reads the
    weights again at each selection.

    Args:
        scores: Scores of all elements; their source must not change while the ranking is used.
        shape: Shape of the weight.
        default_mask: Boolean mask from earlier pruning, or None; elements that it prunes score -inf.

    Example:
        >>> weight = torch.tensor([3.0, -1.0, 2.0])
        >>> UnheldRanking(NarrowScores(weight, absolute=True), (3,)).mask(1)
        tensor([ True, False,  True])
    """

    def __init__(self, scores: BlockScores, shape: Sequence[int], default_mask: Tensor | None = None) -> None:
        """Count the candidates."""
        self._hold(torch.empty(0), shape, None, default_mask, None)
        self._blocks = scores
        self._gone = 0 if default_mask is None else default_mask.numel() - int(default_mask.count_nonzero())
        self._units = len(scores) - self._gone
        self._last: tuple[int, Cutoff] | None = None

    @property
    def scores(self) -> Tensor:
        """Scores of the candidates in index order, 1-D, float32 or wider; computed on access."""
        found = [block.scores[block.scores > -np.inf] for block in self._blocks.blocks()]
        return torch.from_numpy(np.concatenate(found))

    def write_mask(self, k: int, out: Tensor) -> Tensor:
        """Return ``out`` after writing the mask for ``k`` into it; see `Ranking.write_mask`."""
        if out.dtype != torch.bool:
            return out.copy_(self.mask(k))
        kept = out.view(-1).numpy()
        cut = self._cut(k, Masks([kept]))
        if cut is None:
            return out.fill_(1) if self._mask is None else out.copy_(self._mask)
        if cut.written:
            return out
        ties = cut.ties
        for block in self._blocks.blocks():
            own = kept[block.start : block.start + len(block.scores)]
            (np.greater if ties is None else np.greater_equal)(block.scores, cut.threshold, out=own)
            if ties:
                first = np.flatnonzero(block.scores == cut.threshold)[:ties]
                own[first] = False
                ties -= len(first)
        return out

    def units_up_to(self, score: float) -> int:
        """Return how many candidates score at most ``score``; see `Ranking.units_up_to`."""
        counts = (int(np.count_nonzero(block.scores <= score)) for block in self._blocks.blocks())
        return max(0, sum(counts) - self._gone)

    def _cut(self, k: int, masks: Masks | None = None) -> Cutoff | None:
        """Return the cut at ``k``; if it has to be searched, ``masks`` may be written in the same pass."""
        self._check(k)
        if k == 0:
            return None
        if self._last is not None and self._last[0] == k:
            return self._last[1]
        cut = cut_at(self._blocks, int(k) + self._gone, masks)
        self._last = (k, cut._replace(written=False))
        return cut
