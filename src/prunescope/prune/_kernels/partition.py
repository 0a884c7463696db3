"""Find the k-th lowest score and write the mask, at memory speed.

On a CPU the k-th lowest is found by selection, not by a sort: a sample brackets it, one pass counts what lies
below the bracket and collects what lies inside, and ``numpy.partition`` settles the rest (Floyd and Rivest,
"Expected time bounds for selection", 1975, https://doi.org/10.1145/360680.360691). The same pass writes the
mask, except inside the bracket. On other devices their own sort is fastest, and the mask is one comparison.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunescope.prune._kernels.units import refuse_nan

Array: TypeAlias = NDArray[np.floating[Any]]

# Large enough that Python's share is nothing, small enough for the processor's cache.
_BLOCK = 1 << 17
# Below this a plain selection is as fast as sampling first.
_SAMPLED_FROM = 1 << 13
# The step between the scores of a sample, in cube roots of their number.
_SPARSITY = 0.7
# Width of the bracket, in standard deviations: the first misses once in some fifty times, and twice the time
# then costs less than always collecting more.
_DEVIATIONS = (2.3, 12.0)


class Cutoff(NamedTuple):
    """Where a ranking is cut: everything below ``threshold`` is pruned, and some of what equals it."""

    threshold: float
    """Score of the last pruned unit."""
    ties: int | None
    """How many units with exactly that score are pruned, lowest index first; None: all of them."""
    tied: Tensor | None = None
    """Their indices, if they are known."""
    written: bool = False
    """Whether the masks were written while the cut was looked for."""


class Block(NamedTuple):
    """Some of the scores of one part, valid until the next block."""

    scores: Array
    place: int
    """Place of the first among all scores."""
    part: int
    start: int
    """Place of the first in its part."""

    def within(self, outs: Sequence[Array]) -> Array:
        """Return the same positions of arrays laid out like the parts."""
        return outs[self.part][self.start : self.start + len(self.scores)]


class BlockScores:
    """Concatenated scores, read in blocks: given ones, or the magnitudes of weights.

    Magnitudes are computed a block at a time, in cache, and never held: half of what a large tensor costs is
    the first touch of new memory. NaN and infinity are checked on the first reading.

    Args:
        parts: Flat contiguous tensors on the CPU in float32 or float64. Read, never written.
        absolute: Whether their magnitudes are the scores.
        checked: Whether they are known to be free of NaN.
    """

    def __init__(self, parts: Sequence[Tensor], *, absolute: bool = False, checked: bool = False) -> None:
        """Look at the tensors' memory."""
        self.parts = parts
        self.arrays: list[Array] = [part.numpy() for part in parts]
        self.absolute = absolute
        self.checked = checked

    def __len__(self) -> int:
        """Return the number of scores."""
        return sum(len(array) for array in self.arrays)

    def blocks(self) -> Iterator[Block]:
        """Return the scores in blocks.

        Raises:
            ValueError: all blocks have been read for the first time, and a score is NaN.
        """
        place, room = 0, np.empty(min(len(self), _BLOCK), self.arrays[0].dtype)
        highest = []
        for part, array in enumerate(self.arrays):
            for start in range(0, len(array), _BLOCK):
                block = array[start : start + _BLOCK]
                block = np.abs(block, out=room[: len(block)]) if self.absolute else block
                if not self.checked:
                    highest.append(block.max())
                yield Block(block, place + start, part, start)
            place += len(array)
        self._check(highest)

    def every(self, step: int) -> Array:
        """Return a copy of every ``step``-th score, each part from its start."""
        picked = [np.abs(a[::step]) if self.absolute else a[::step].copy() for a in self.arrays]
        return picked[0] if len(picked) == 1 else np.concatenate(picked)

    def whole(self) -> Array:
        """Return a copy of all scores.

        Raises:
            ValueError: one is NaN.
        """
        scores = self.every(1)
        self._check([] if self.checked else [scores.max()])
        return scores

    def _check(self, highest: Sequence[np.floating[Any]]) -> None:
        # The maximum of anything with a NaN in it is NaN.
        if not all(map(math.isfinite, highest)):
            for part in self.parts:
                refuse_nan(part, None)
        self.checked = True


class Masks(NamedTuple):
    """Arrays laid out like the parts of the scores, to write masks into."""

    outs: Sequence[Array]
    earlier: Sequence[Array] = ()
    """Masks to multiply by, if any."""

    def write(self, block: Block, kept: NDArray[np.bool_]) -> None:
        """Write which scores of a block are kept."""
        out = block.within(self.outs)
        np.copyto(out, kept)
        if self.earlier:
            out *= block.within(self.earlier)

    def strike_out(self, places: NDArray[np.intp]) -> None:
        """Write 0 at the given positions, sorted, among all scores."""
        start = 0
        for out in self.outs:
            first, last = np.searchsorted(places, (start, start + len(out)))
            out[places[first:last] - start] = 0
            start += len(out)


def cut_at(scores: BlockScores, k: int, masks: Masks | None = None) -> Cutoff:
    """Return the cut below which exactly ``k`` scores lie.

    Args:
        scores: Scores to cut.
        k: Number of scores to cut off, ``1 <= k <= len(scores)``.
        masks: Where to write the masks, if that can be done in the same pass.

    Raises:
        ValueError: a score is NaN.

    Example:
        >>> cut_at(BlockScores([torch.tensor([3.0, 1.0, 2.0, 2.0])]), 2)[:2]
        (2.0, 1)
    """
    if len(scores) >= _SAMPLED_FROM:
        sample = scores.every(sample_step(len(scores)))
        for deviations in _DEVIATIONS:
            cut = _cut_between(scores, k, *_bracket(sample, k / len(scores), deviations), masks)
            if cut is not None:
                return cut
    return _cut_whole(scores.whole(), k)


def _cut_whole(scratch: Array, k: int) -> Cutoff:
    """Return the cut of scores that are too few, or too uneven, to sample."""
    scratch.partition(k - 1)
    threshold = scratch[k - 1]
    if k == len(scratch) or scratch[k:].min() > threshold:
        return Cutoff(float(threshold), None)
    return Cutoff(float(threshold), k - int(np.count_nonzero(scratch[:k] < threshold)))


def sample_step(count: int) -> int:
    """Return the stride of a sample of scores, odd so that it does not align with even rows.

    A longer stride means less to sort and a wider bracket: their sum is least at the cube root of the count.
    """
    return int(_SPARSITY * count ** (1 / 3)) | 1


def _bracket(sample: Array, share: float, deviations: float) -> tuple[float, float]:
    """Return two values that almost certainly bracket a quantile.

    Args:
        sample: Some of the scores; reordered in place.
        share: Fraction of the scores to cut off.
        deviations: Margin on either side, in standard deviations of a rank in the sample.
    """
    place = share * len(sample)
    margin = deviations * (place * (1 - share)) ** 0.5 + 2.0
    first, last = max(int(place - margin), 0), min(int(place + margin), len(sample) - 1)
    sample.partition((first, last))
    low = float(sample[first]) if place >= margin else -np.inf
    high = float(sample[last]) if place + margin < len(sample) else np.inf
    return low, high


def _cut_between(scores: BlockScores, k: int, low: float, high: float, masks: Masks | None) -> Cutoff | None:
    """Return the cut if it lies in ``[low, high]``, or None.

    Everything above ``low`` is kept at first; then the scores to prune between the two are zeroed. The ends
    are not collected: half of all scores may equal one of them (zeros, say).
    """
    above, places, found = 0, [], []
    flags = np.empty((2, min(len(scores), _BLOCK)), np.bool_)
    for block in scores.blocks():
        size = len(block.scores)
        inside = np.greater(block.scores, low, out=flags[0, :size])
        above += int(np.count_nonzero(inside))
        if masks:
            masks.write(block, inside)
        inside &= np.less(block.scores, high, out=flags[1, :size])
        index = np.flatnonzero(inside)
        places.append(index + block.place)
        found.append(block.scores[index])
    candidates, below = np.concatenate(found), len(scores) - above
    if k <= below:
        return _cut_equal(scores, k, low)
    if k > below + len(candidates):
        return _cut_equal(scores, k, high)
    threshold, ties, *_ = _cut_whole(candidates.copy(), k - below)
    where = np.concatenate(places)
    tied = np.flatnonzero(candidates == threshold)[:ties]
    if masks:
        goes = candidates < threshold
        goes[tied] = True
        masks.strike_out(where[goes])
    return Cutoff(threshold, ties, torch.from_numpy(where[tied]), written=masks is not None)


def _cut_equal(scores: BlockScores, k: int, value: float) -> Cutoff | None:
    """Return the cut if it falls on scores equal to ``value``, or None."""
    below = equal = 0
    for block in scores.blocks():
        below += int(np.count_nonzero(block.scores < value))
        equal += int(np.count_nonzero(block.scores == value))
    ties = k - below
    return Cutoff(value, None if ties == equal else ties) if 0 < ties <= equal else None


def sorted_scores(values: Tensor) -> Tensor:
    """Return the values in ascending order, on their device.

    Example:
        >>> sorted_scores(torch.tensor([3.0, 1.0, 2.0]))
        tensor([1., 2., 3.])
    """
    if values.device.type != "cpu":
        return torch.sort(values).values
    return torch.from_numpy(np.sort(values.numpy()))


def cut_sorted(values: Tensor, k: int) -> Cutoff:
    """Return the cut below which exactly ``k`` values lie, from sorted values.

    Args:
        values: 1-D tensor in ascending order.
        k: Number of values to cut off, ``1 <= k <= len(values)``.

    Example:
        >>> cut_sorted(torch.tensor([1.0, 2.0, 2.0, 3.0]), 3)[:2]
        (2.0, None)
    """
    last = values[k - 1]
    ties = k - int(torch.searchsorted(values, last))
    every = k == values.numel() or bool(values[k] > last)
    return Cutoff(float(last), None if every else ties)


def write_kept(values: Tensor, cut: Cutoff, out: Tensor) -> None:
    """Write 1 into ``out`` for every value that the cut keeps, 0 for every one it prunes.

    Args:
        values: 1-D tensor of scores.
        cut: Where to cut.
        out: 1-D tensor of the same length, of any dtype that holds 0 and 1.
    """
    on_cpu = values.device.type == "cpu"
    if on_cpu and out.dtype == torch.bool:
        # numpy compares five times as fast as torch when the answer is a bool.
        compare = np.greater if cut.ties is None else np.greater_equal
        compare(values.numpy(), cut.threshold, out=out.numpy())
    else:
        (torch.gt if cut.ties is None else torch.ge)(values, cut.threshold, out=out)
    if cut.ties is None:
        return
    tied = cut.tied
    if tied is None and on_cpu:
        tied = _first_equal(BlockScores([values], checked=True), cut.threshold, cut.ties)
    elif tied is None:
        tied = (values == cut.threshold).nonzero().flatten()[: cut.ties]
    out.index_fill_(0, tied, 0)


def write_lowest(scores: BlockScores, k: int, outs: Sequence[Tensor], earlier: Sequence[Tensor] = ()) -> None:
    """Write the masks that prune the ``k`` lowest scores, ties by lowest index.

    Args:
        scores: Scores to cut.
        k: Number of scores to prune, ``1 <= k <= len(scores)``.
        outs: Flat tensors of the lengths of the parts, of a type that numpy knows.
        earlier: Masks like ``outs`` to multiply by, if any.

    Raises:
        ValueError: a score is NaN.

    Example:
        >>> mask = torch.empty(4)
        >>> write_lowest(BlockScores([torch.tensor([3.0, -1.0, 2.0, -2.0])], absolute=True), 2, [mask])
        >>> mask
        tensor([1., 0., 0., 1.])
    """
    masks = Masks([out.numpy() for out in outs], [mask.numpy() for mask in earlier])
    cut = cut_at(scores, k, masks)
    if cut.written:
        return
    compare = np.greater if cut.ties is None else np.greater_equal
    for block in scores.blocks():
        masks.write(block, compare(block.scores, cut.threshold))
    if cut.ties is not None:
        tied = _first_equal(scores, cut.threshold, cut.ties) if cut.tied is None else cut.tied
        masks.strike_out(tied.numpy())


def _first_equal(scores: BlockScores, threshold: float, count: int) -> Tensor:
    """Return the first ``count`` indices at which a score equals ``threshold``.

    numpy searches block by block and stops once it has enough: ties are few, and waking a thread pool for
        each block
    would take longer than the block.
    """
    found, left = [], count
    for block in scores.blocks():
        hits = np.flatnonzero(block.scores == threshold)[:left]
        found.append(hits + block.place)
        left -= len(hits)
        if left == 0:
            break
    return torch.from_numpy(np.concatenate(found))
