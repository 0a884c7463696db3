"""Methods as scores: subclasses define units and scores; the lowest are pruned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunescope.prune._kernels.memory import fresh
from prunescope.prune._kernels.partition import Array
from prunescope.prune._kernels.units import candidate_units, refuse_nan, write_channels
from prunescope.prune.base import BasePruningMethod
from prunescope.prune.errors import ShapeError
from prunescope.prune.masking import is_float8, masked
from prunescope.prune.scores import scores_for, validate_dim
from prunescope.prune.selection import Ranking, units_to_prune


class RankedMethod(BasePruningMethod):
    """A method that scores units and prunes the lowest; subclasses define unit and score."""

    amount: int | float

    def unit_axis(self, t: Tensor) -> int | None:
        """Return the channel axis of ``t``; None if units are elements.

        Raises:
            IndexError: ``dim`` is not an axis of ``t``.
            ValueError: ``t`` has no channels.
        """
        return None

    def unit_scores(self, tensors: Sequence[Tensor], candidates: Tensor | None) -> Tensor:
        """Score every unit of the concatenated ``tensors``, in float32 or wider.

        Args:
            tensors: What to rank; several only if units are elements.
            candidates: 1-D boolean tensor, True for a remaining unit; None: all remain.

        Returns:
            New 1-D tensor; units already pruned may have any score.
        """
        raise NotImplementedError

    def rank(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> Ranking:
        """Rank the units of ``t`` in the order in which they would be pruned; see the base class.

        Example:
            >>> from prunescope.prune import L1Unstructured
            >>> L1Unstructured(amount=1).rank(torch.tensor([3.0, -1.0, 2.0])).mask(1)
            tensor([ True, False,  True])
        """
        scores = scores_for("tensor t", t, importance_scores)
        if default_mask is not None and default_mask.shape != t.shape:
            raise ShapeError(
                f"`default_mask` must have the shape {tuple(t.shape)}, got {tuple(default_mask.shape)}"
            )
        dim = self.unit_axis(t)
        mask = None if default_mask is None else default_mask.detach() != 0
        candidates = candidate_units(mask, dim)
        values = self.unit_scores([scores], candidates)
        return Ranking.of_units(values, t.shape, dim, mask, candidates)

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return ``default_mask`` without the lowest units of the whole of ``t``.

        As in torch, units that ``default_mask`` has pruned take part here; it is
        :class:`PruningContainer` that lets a method see only what is left.

        Args:
            t: Scores or weights, of any shape.
            default_mask: Mask of the same shape. Read, never written.

        Returns:
            New mask of the shape of ``t``.

        Raises:
            IndexError: ``dim`` is not an axis of ``t``.
            ValueError: ``amount`` counts more units than there are, or a score is NaN.
        """
        dim = self.unit_axis(t)
        k = units_to_prune(self.amount, t.numel() if dim is None else t.shape[dim])
        if k == 0:
            return default_mask.clone(memory_format=torch.contiguous_format)
        return self.combined(t, k, default_mask)

    # Lets combine.selects_by_rank see that no subclass, and no test, has overridden compute_mask.
    lowest_of_ranking = compute_mask

    def selected(self, t: Tensor, default_mask: Tensor | None) -> Tensor:
        """Return the mask after pruning the lowest of the units that ``default_mask`` leaves.

        Args:
            t: Scores or weights, of any shape.
            default_mask: Mask of the same shape from earlier pruning, or None.

        Returns:
            New contiguous mask of the shape of ``t``, in the mask's dtype, or else that of ``t``. Of a meta
            tensor, which has no values, a mask that has none either.
        """
        like = t if default_mask is None else default_mask
        out = fresh(t.shape, like.dtype, t.device)
        k = units_to_prune(self.amount, self._units_left(t, None if t.is_meta else default_mask))
        if t.is_meta:
            return out
        if k == 0:
            return out.fill_(1) if default_mask is None else out.copy_(default_mask)
        if default_mask is None and self.select_at_once([t], k, [out]):
            return out
        return self.rank(t, default_mask).write_mask(k, out)

    def combined(self, t: Tensor, k: int, default_mask: Tensor) -> Tensor:
        """Return ``default_mask`` without the ``k`` lowest units of ``t``, ``k`` at least 1."""
        mask = fresh(t.shape, default_mask.dtype, t.device)
        if self.select_at_once([t], k, [mask], [default_mask]):
            return mask
        self.rank(t).write_mask(k, mask)
        return masked(mask, default_mask) if is_float8(mask) else mask.mul_(default_mask)

    def select_at_once(
        self, tensors: Sequence[Tensor], k: int, outs: Sequence[Tensor], earlier: Sequence[Tensor] = ()
    ) -> bool:
        """Write the masks of ``tensors`` without a ranking, if possible; return whether it was.

        Args:
            tensors: What to prune, ranked together; nothing is pruned yet.
            k: Number of units to prune, at least 1.
            outs: Contiguous tensors of the same shapes, to write the masks into.
            earlier: Masks of the same shapes to multiply by, if any; they do not affect the choice.

        Raises:
            ValueError: a score is NaN.
        """
        return False

    def _units_left(self, t: Tensor, default_mask: Tensor | None) -> int:
        dim = self.unit_axis(t)
        left = None if default_mask is None else candidate_units(default_mask != 0, dim)
        if left is not None:
            return int(torch.count_nonzero(left))
        return t.numel() if dim is None else t.shape[dim]


class StructuredMethod(RankedMethod):
    """A ranked method whose units are channels along ``dim``."""

    PRUNING_TYPE: ClassVar[str] = "structured"
    dim: int

    def unit_axis(self, t: Tensor) -> int:
        """Return ``dim`` as a non-negative axis of ``t``."""
        if t.dim() < 2:
            raise ValueError(
                f"structured pruning needs a tensor of at least two axes, got one of shape {tuple(t.shape)}"
            )
        return validate_dim(self.dim, t.shape)

    def select_at_once(
        self, tensors: Sequence[Tensor], k: int, outs: Sequence[Tensor], earlier: Sequence[Tensor] = ()
    ) -> bool:
        """Write the mask of one tensor."""
        t, out = tensors[0], outs[0]
        before = earlier[0].to(out.dtype).contiguous() if earlier else None
        write_channels(self._channel_mask(t, k).to(out.dtype), self.unit_axis(t), out, before)
        return True

    def combined(self, t: Tensor, k: int, default_mask: Tensor) -> Tensor:
        """Return ``default_mask``, in the dtype of ``t`` as in torch, without the ``k`` lowest channels."""
        default_mask = default_mask.to(t.dtype).contiguous()
        mask = fresh(t.shape, t.dtype, t.device)
        kept = self._channel_mask(t, k).to(t.dtype)
        if not is_float8(t):
            return write_channels(kept, self.unit_axis(t), mask, default_mask)
        return masked(write_channels(kept, self.unit_axis(t), mask), default_mask)

    def _channel_mask(self, t: Tensor, k: int) -> Tensor:
        """Return 0 for the ``k`` lowest channels and 1 for the others, in float32 or float64."""
        scores = self.unit_scores([t], None)
        refuse_nan(scores, None)
        if scores.device.type != "cpu":
            return torch.ones_like(scores).index_fill_(0, scores.argsort(stable=True)[:k], 0.0)
        return torch.from_numpy(_all_but_lowest(scores.numpy(), k))


def _all_but_lowest(scores: Array, k: int) -> NDArray[np.float32]:
    """Return 0 for the ``k`` lowest scores, ties by lowest index, and 1 for the others."""
    threshold = np.partition(scores, k - 1)[k - 1]
    kept: NDArray[np.float32] = (scores >= threshold).astype(np.float32)
    ties = k - (len(scores) - int(np.count_nonzero(kept)))
    kept[np.flatnonzero(scores == threshold)[:ties]] = 0.0
    return kept
