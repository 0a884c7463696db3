"""Finding the k-th lowest score and writing the mask, at the speed of memory.

On a CPU the k-th lowest is found by selection, not by a sort: a sample brackets it, one pass counts what lies
below the bracket and collects what lies inside, and ``numpy.partition`` settles the rest (Floyd and Rivest,
"Expected time bounds for selection", 1975, https://doi.org/10.1145/360680.360691). Elsewhere the device's own
sort is fastest. The mask is then one comparison.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array: TypeAlias = NDArray[np.floating[Any]]

# Large enough that Python's share is nothing, small enough for the processor's cache.
_BLOCK = 1 << 17
# Below this a plain selection is as fast as sampling first.
_SAMPLED_FROM = 1 << 14
# A sample of n scores has _DENSITY times the square root of n: it then costs as much as what it narrows down.
_DENSITY = 8
# Width of the bracket, in standard deviations: the first misses once in some hundred times.
_DEVIATIONS = (3.0, 12.0)


class Cut(NamedTuple):
    """Where a ranking is cut: everything below ``threshold`` goes, and some of what equals it."""

    threshold: float
    """Score of the last unit that goes."""
    ties: int | None
    """How many units with exactly that score go, lowest index first; None: all of them."""
    tied: Tensor | None = None
    """Their indices, if they are known."""


class Scores:
    """Scores laid end to end, read in blocks: given ones, or the magnitudes of weights.

    Magnitudes are computed a block at a time, in cache, and never held: half of what a large tensor costs is
    the first touch of new memory.

    Args:
        parts: Flat contiguous tensors on the CPU in float32 or float64. Read, never written.
        absolute: Whether their magnitudes are the scores.
    """

    def __init__(self, parts: Sequence[Tensor], *, absolute: bool = False) -> None:
        """Look at the tensors' memory."""
        self.arrays: list[Array] = [part.numpy() for part in parts]
        self.absolute = absolute

    def __len__(self) -> int:
        """Return the number of scores."""
        return sum(len(array) for array in self.arrays)

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Return the scores in blocks, each with the place of its first, and good until the next comes."""
        place, room = 0, np.empty(min(len(self), _BLOCK), self.arrays[0].dtype)
        for array in self.arrays:
            for start in range(0, len(array), _BLOCK):
                block = array[start : start + _BLOCK]
                yield place + start, np.abs(block, out=room[: len(block)]) if self.absolute else block
            place += len(array)

    def every(self, step: int) -> Array:
        """Return a copy of every ``step``-th score, each part from its start."""
        picked = np.concatenate([array[::step] for array in self.arrays])
        return np.abs(picked, out=picked) if self.absolute else picked


def cut_at(scores: Scores, k: int) -> Cut:
    """Return the cut below which exactly ``k`` scores lie.

    Args:
        scores: Scores, free of NaN.
        k: Number of scores to cut off, ``1 <= k <= len(scores)``.

    Example:
        >>> cut_at(Scores([torch.tensor([3.0, 1.0, 2.0, 2.0])]), 2)[:2]
        (2.0, 1)
    """
    if len(scores) >= _SAMPLED_FROM:
        sample = np.sort(scores.every(_step(len(scores))))
        for deviations in _DEVIATIONS:
            cut = _cut_between(scores, k, *_bracket(scores, k, sample, deviations))
            if cut is not None:
                return cut
    return _cut_whole(scores.every(1), k)


def _cut_whole(scratch: Array, k: int) -> Cut:
    """Return the cut of scores that are few, or that no sample gives a fair picture of."""
    scratch.partition(k - 1)
    threshold = scratch[k - 1]
    ties = k - int(np.count_nonzero(scratch[:k] < threshold))
    every = not (scratch[k:] == threshold).any()
    return Cut(float(threshold), None if every else ties)


def _step(count: int) -> int:
    """Return the step between the scores of a sample, odd so that it does not fall in with even rows."""
    return int(count**0.5 / _DENSITY) | 1


def _bracket(scores: Scores, k: int, sample: Array, deviations: float) -> tuple[float, float]:
    """Return two values between which the ``k``-th lowest lies, near certainly.

    The sample names a value of about that rank; counting what lies above it gives its true rank. From there
    it is a short way, on which the sample is off by the root of the number of its members passed.

    Args:
        scores: Scores, free of NaN.
        k: Number of scores to cut off.
        sample: Some of the scores, in rising order.
        deviations: Margin on either side, in standard deviations.
    """
    share = len(sample) / len(scores)
    guess = sample[min(int(k * share), len(sample) - 1)]
    above = sum(int(np.count_nonzero(block > guess)) for _, block in scores.blocks())
    way = (k - len(scores) + above) * share
    place = int(np.searchsorted(sample, guess, "right")) + way
    margin = deviations * abs(way) ** 0.5 + 2.0
    first, last = int(place - margin), int(place + margin)
    low = float(sample[min(first, len(sample) - 1)]) if first >= 0 else -np.inf
    high = float(sample[max(last, 0)]) if last < len(sample) else np.inf
    return low, high


def _cut_between(scores: Scores, k: int, low: float, high: float) -> Cut | None:
    """Return the cut if it lies between ``low`` and ``high`` or at one of them, or None.

    The ends are left out when scores are collected: half of all may equal one of them (zeros, say).
    """
    above, places, found = 0, [], []
    flags = np.empty((2, min(len(scores), _BLOCK)), np.bool_)
    for place, block in scores.blocks():
        inside = np.greater(block, low, out=flags[0, : len(block)])
        above += int(np.count_nonzero(inside))
        inside &= np.less(block, high, out=flags[1, : len(block)])
        index = np.flatnonzero(inside)
        places.append(index + place)
        found.append(block[index])
    candidates, below = np.concatenate(found), len(scores) - above
    if k <= below:
        return _cut_equal(scores, k, low)
    if k > below + len(candidates):
        return _cut_equal(scores, k, high)
    threshold, ties, _ = _cut_whole(candidates.copy(), k - below)
    if ties is None:
        return Cut(threshold, None)
    tied = np.concatenate(places)[np.flatnonzero(candidates == threshold)[:ties]]
    return Cut(threshold, ties, torch.from_numpy(tied))


def _cut_equal(scores: Scores, k: int, value: float) -> Cut | None:
    """Return the cut if it lies at the scores that equal ``value``, or None."""
    below = equal = 0
    for _, block in scores.blocks():
        below += int(np.count_nonzero(block < value))
        equal += int(np.count_nonzero(block == value))
    ties = k - below
    return Cut(value, None if ties == equal else ties) if 0 < ties <= equal else None


def sorted_scores(values: Tensor) -> Tensor:
    """Return the values in rising order, on their device.

    Example:
        >>> sorted_scores(torch.tensor([3.0, 1.0, 2.0]))
        tensor([1., 2., 3.])
    """
    if values.device.type != "cpu":
        return torch.sort(values).values
    return torch.from_numpy(np.sort(values.numpy()))


def cut_sorted(values: Tensor, k: int) -> Cut:
    """Return the cut below which exactly ``k`` values lie, from sorted values.

    Args:
        values: 1-D tensor in rising order.
        k: Number of values to cut off, ``1 <= k <= len(values)``.

    Example:
        >>> cut_sorted(torch.tensor([1.0, 2.0, 2.0, 3.0]), 3)[:2]
        (2.0, None)
    """
    last = values[k - 1]
    ties = k - int(torch.searchsorted(values, last))
    every = k == values.numel() or bool(values[k] > last)
    return Cut(float(last), None if every else ties)


def write_kept(values: Tensor, cut: Cut, out: Tensor) -> None:
    """Write 1 into ``out`` for every value that the cut keeps, 0 for every one that goes.

    Args:
        values: 1-D tensor of scores.
        cut: Where to cut.
        out: 1-D tensor of the same length, of any dtype that holds 0 and 1.
    """
    if cut.ties is None:
        torch.gt(values, cut.threshold, out=out)
        return
    torch.ge(values, cut.threshold, out=out)
    tied = cut.tied
    if tied is None and values.device.type == "cpu":
        tied = _first_equal(Scores([values]), cut.threshold, cut.ties)
    elif tied is None:
        tied = (values == cut.threshold).nonzero().flatten()[: cut.ties]
    out.index_fill_(0, tied, 0)


def write_magnitudes_kept(parts: Sequence[Tensor], cut: Cut, outs: Sequence[Tensor]) -> None:
    """Write the masks of several weights cut by one ranking of their magnitudes.

    Args:
        parts: Flat weights, as given to :class:`Scores`.
        cut: Where to cut.
        outs: Flat tensors of the same lengths, of any dtype that holds 0 and 1.
    """
    compare = torch.gt if cut.ties is None else torch.ge
    block = torch.empty(min(sum(map(len, parts)), 8 * _BLOCK), dtype=parts[0].dtype)
    for part, out in zip(parts, outs, strict=True):
        for start in range(0, len(part), len(block)):
            size = min(len(block), len(part) - start)
            magnitudes = torch.abs(part[start : start + size], out=block[:size])
            compare(magnitudes, cut.threshold, out=out[start : start + size])
    if cut.ties is None:
        return
    tied = cut.tied
    if tied is None:
        tied = _first_equal(Scores(parts, absolute=True), cut.threshold, cut.ties)
    place = 0
    for out in outs:
        own = tied[(tied >= place) & (tied < place + len(out))]
        out.index_fill_(0, own - place, 0)
        place += len(out)


def _first_equal(scores: Scores, threshold: float, count: int) -> Tensor:
    """Return the lowest ``count`` places at which a score equals ``threshold``.

    numpy looks, block by block, and stops as soon as it has seen enough: the ties are few, and a thread pool
    would cost more to wake for each block than the block takes.
    """
    found, left = [], count
    for place, block in scores.blocks():
        hits = np.flatnonzero(block == threshold)[:left]
        found.append(hits + place)
        left -= len(hits)
        if left == 0:
            break
    return torch.from_numpy(np.concatenate(found))
