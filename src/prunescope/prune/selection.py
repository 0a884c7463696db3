"""The one selection that every pruning method shares: which units are pruned.

A method scores units; the k lowest are pruned, ties by lowest index. A *unit* is an element of a tensor, or a
channel: one index along ``dim``.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence

import torch
from torch import Tensor

from prunescope.prune._kernels.memory import fresh
from prunescope.prune._kernels.partition import (
    BlockScores,
    Cutoff,
    cut_at,
    cut_sorted,
    sorted_scores,
    write_kept,
)
from prunescope.prune._kernels.units import candidate_units, refuse_nan, spread, write_channels
from prunescope.prune.masking import is_float8
from prunescope.prune.scores import validate_dim, widened

# Below this many units a sort costs nothing to speak of, so it is made at the first selection.
_SORT_AT_ONCE = 1 << 12


def validate_amount(amount: object) -> None:
    """Check that ``amount`` is a fraction or a count.

    Args:
        amount: A float in [0, 1] (a fraction of the units) or an integer ≥ 0 (a count of units).

    Raises:
        TypeError: ``amount`` is not a real number, or is a bool.
        ValueError: ``amount`` is NaN, negative, or a float above 1.

    Example:
        >>> validate_amount(1.5)
        Traceback (most recent call last):
        ValueError: `amount` must be a float in [0, 1] or a count ≥ 0, got 1.5
    """
    # Asking for the plain type first: most amounts are, and an abstract one takes its time.
    if type(amount) is float and 0.0 <= amount <= 1.0:
        return
    sentence = f"`amount` must be a float in [0, 1] or a count ≥ 0, got {amount!r}"
    if isinstance(amount, bool) or not isinstance(amount, numbers.Real):
        raise TypeError(sentence)
    if not 0.0 <= float(amount) <= (math.inf if isinstance(amount, numbers.Integral) else 1.0):
        raise ValueError(sentence)


def units_to_prune(amount: int | float, units: int) -> int:
    """Return how many of ``units`` units ``amount`` asks for.

    A fraction is rounded half to even, as torch does: 0.5 of 5 is 2, and 0.05 of 8 is 0.

    Args:
        amount: A float in [0, 1] (a fraction) or an integer ≥ 0 (a count).
        units: Number of units there are to prune, ≥ 0.

    Returns:
        A count between 0 and ``units``.

    Raises:
        TypeError: ``amount`` is not a real number, or is a bool.
        ValueError: ``amount`` is out of range, or counts more than ``units``.

    Example:
        >>> units_to_prune(0.3, 4), units_to_prune(1, 4), units_to_prune(1.0, 4)
        (1, 1, 4)
    """
    validate_amount(amount)
    if not isinstance(amount, numbers.Integral):
        return round(amount * units)
    if amount > units:
        raise ValueError(f"`amount` must be at most the number of units to prune ({units}), got {amount}")
    return int(amount)


class Ranking:
    """The units of one tensor in the order in which a method would prune them.

    Immutable: the same ``k`` always gives the same mask. The first selection partitions the scores; the
    second sorts them once, and from then on a selection costs about one comparison over the tensor.

    Args:
        scores: 1-D tensor, one score for every candidate unit in index order. The lowest are pruned first.
        shape: Shape of the weight.
        dim: Channel axis, or None when units are elements.
        default_mask: Mask of ``shape`` from earlier pruning, nonzero where kept. Elements that are zero in
            it, and channels that are zero throughout, are not candidates. None: nothing is pruned yet.

    Raises:
        ValueError: a score is NaN, or ``scores`` does not have one entry for every candidate.

    Example:
        >>> ranking = Ranking(torch.tensor([3.0, 1.0, 2.0]), (3, 2), dim=0)
        >>> ranking.mask(2)
        tensor([[ True,  True],
                [False, False],
                [False, False]])
        >>> ranking.threshold(2)
        2.0
    """

    def __init__(
        self,
        scores: Tensor,
        shape: Sequence[int],
        dim: int | None = None,
        default_mask: Tensor | None = None,
    ) -> None:
        """Check the scores and scatter them over all units of the tensor."""
        mask = None if default_mask is None else default_mask.detach() != 0
        axis = None if dim is None else validate_dim(dim, tuple(shape))
        candidates = candidate_units(mask, axis)
        units = _count(shape, axis, candidates)
        scores = widened(scores).reshape(-1).clone()
        if len(scores) != units:
            raise ValueError(f"`scores` must have {units} entries, one for each unit, got {len(scores)}")
        refuse_nan(scores, None)
        self._hold(
            scores if candidates is None else spread(scores, candidates), shape, axis, mask, candidates
        )

    @classmethod
    def of_units(
        cls,
        values: Tensor,
        shape: Sequence[int],
        dim: int | None,
        mask: Tensor | None,
        candidates: Tensor | None,
    ) -> Ranking:
        """Return a ranking from a score for every unit, those already pruned included.

        Args:
            values: 1-D tensor in float32 or float64, one score for every unit; not copied.
            shape: Shape of the weight.
            dim: Channel axis, ≥ 0, or None when units are elements.
            mask: Boolean mask from earlier pruning, or None.
            candidates: What :func:`candidate_units` returns for ``mask`` and ``dim``.

        Raises:
            ValueError: a candidate's score is NaN.
        """
        ranking = cls.__new__(cls)
        if candidates is not None:
            values = values.masked_fill_(~candidates, -math.inf)
        refuse_nan(values, candidates)
        ranking._hold(values, shape, dim, mask, candidates)
        return ranking

    def _hold(
        self,
        values: Tensor,
        shape: Sequence[int],
        dim: int | None,
        mask: Tensor | None,
        candidates: Tensor | None,
    ) -> None:
        self._shape = tuple(int(s) for s in shape)
        self._dim = dim
        self._mask = mask
        self._candidates = candidates
        self._units = _count(self._shape, dim, candidates)
        self._values = values
        self._sorted: Tensor | None = None
        self._selections = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return self._shape

    @property
    def dim(self) -> int | None:
        """Channel axis, ≥ 0, or None when units are elements."""
        return self._dim

    @property
    def units(self) -> int:
        """Number of candidates: units that earlier pruning has left."""
        return self._units

    @property
    def scores(self) -> Tensor:
        """Scores of the candidates in index order, 1-D, float32 or wider. The lowest are pruned first."""
        return self._values if self._candidates is None else self._values[self._candidates]

    @property
    def default_mask(self) -> Tensor | None:
        """Boolean mask of ``shape`` that selections respect, True where kept, or None."""
        return self._mask

    def mask(self, k: int) -> Tensor:
        """Return the mask that prunes the ``k`` lowest candidates.

        Args:
            k: Number of units to prune, ``0 <= k <= units``.

        Returns:
            New boolean tensor of ``shape``, True where kept.

        Raises:
            ValueError: ``k`` is negative or above ``units``.
        """
        return self.write_mask(k, fresh(self._shape, torch.bool, self._values.device))

    def write_mask(self, k: int, out: Tensor) -> Tensor:
        """Write the mask for ``k`` into ``out``, 1 where kept and 0 where pruned, and return ``out``.

        Args:
            k: Number of units to prune, ``0 <= k <= units``.
            out: Contiguous tensor of ``shape``, of any dtype that holds 0 and 1.

        Raises:
            ValueError: ``k`` is negative or above ``units``.
        """
        if is_float8(out):
            return out.copy_(self.mask(k))
        cut = self._cut(k)
        if self._dim is None:
            self._write_units(cut, k, out.view(-1))
            return out
        keep = fresh(self._values.shape, torch.bool, out.device)
        self._write_units(cut, k, keep)
        write_channels(keep.to(out.dtype), self._dim, out)
        return out if self._mask is None else out.copy_(out.to(torch.bool) & self._mask)

    def threshold(self, k: int) -> float | None:
        """Return the score of the ``k``-th lowest candidate, the highest that is pruned; None if ``k`` is 0.

        Args:
            k: Number of units to prune, ``0 <= k <= units``.

        Raises:
            ValueError: ``k`` is negative or above ``units``.
        """
        cut = self._cut(k)
        return None if cut is None else cut.threshold

    def units_up_to(self, score: float) -> int:
        """Count the candidates that score at most ``score``, which a threshold there would prune.

        Example:
            >>> Ranking(torch.tensor([3.0, 1.0, 2.0]), (3,)).units_up_to(2.0)
            2
        """
        if self._sorted is None:
            self._sorted = sorted_scores(self._values)
        place = int(torch.searchsorted(self._sorted, score, right=True))
        return max(0, place - (self._values.numel() - self._units))

    def __repr__(self) -> str:
        """Describe what is ranked, in one line."""
        kind = "elements" if self._dim is None else f"channels along dim {self._dim}"
        return f"Ranking({self._units} {kind} of a tensor of shape {self._shape})"

    def _check(self, k: int) -> None:
        if isinstance(k, bool) or not isinstance(k, numbers.Integral) or not 0 <= k <= self._units:
            raise ValueError(f"`k` must be a count between 0 and {self._units}, got {k!r}")

    def _cut(self, k: int) -> Cutoff | None:
        self._check(k)
        if k == 0:
            return None
        position = int(k) + self._values.numel() - self._units
        self._selections += 1
        once = self._selections == 1 and self._values.numel() > _SORT_AT_ONCE
        if self._sorted is None and once and self._values.device.type == "cpu":
            return cut_at(BlockScores([self._values], checked=True), position)
        if self._sorted is None:
            self._sorted = sorted_scores(self._values)
        return cut_sorted(self._sorted, position)

    def _write_units(self, cut: Cutoff | None, k: int, out: Tensor) -> None:
        if cut is not None and not (self._candidates is not None and cut.threshold == -math.inf):
            write_kept(self._values, cut, out)
            return
        keep = (
            torch.ones_like(self._values, dtype=torch.bool) if self._candidates is None else self._candidates
        )
        out.copy_(keep)
        if cut is not None:
            # Scores of -inf among the candidates look like units that are gone: find the first k by name.
            lowest = (keep & (self._values == -math.inf)).nonzero().flatten()[:k]
            out[lowest] = 0


def _count(shape: Sequence[int], dim: int | None, candidates: Tensor | None) -> int:
    if candidates is not None:
        return int(torch.count_nonzero(candidates))
    return math.prod(shape) if dim is None else int(shape[dim])
