"""Prune within groups: the same fraction, or the same number, of each, lowest scores first.

N:M pruning keeps n of every m consecutive weights; Wanda compares weights within a row.
"""

from __future__ import annotations

import math
import numbers
from typing import ClassVar, TypeVar

import torch
from torch import Tensor
from torch.nn import Module

from prunescope.prune._kernels.groups import (
    SHORT,
    WORDS,
    Groups,
    ranks_in_rows,
    rows_with_more,
    write_without_lowest,
)
from prunescope.prune._kernels.memory import fresh
from prunescope.prune._kernels.units import refuse_nan
from prunescope.prune.base import BasePruningMethod
from prunescope.prune.errors import ShapeError
from prunescope.prune.masking import masked
from prunescope.prune.scores import magnitudes, scores_for, validate_dim
from prunescope.prune.selection import units_to_prune, validate_amount

M = TypeVar("M", bound=Module)
Axes = int | tuple[int, ...]


def validate_group(group: object) -> None:
    """Check that ``group`` is a number of elements, or None.

    Raises:
        TypeError: ``group`` is neither an integer nor None.
        ValueError: ``group`` is below 1.

    Example:
        >>> validate_group(0)
        Traceback (most recent call last):
        ValueError: `group` must be a number of elements ≥ 1, or None for the whole of `dim`, got 0
    """
    if group is None:
        return
    sentence = f"`group` must be a number of elements ≥ 1, or None for the whole of `dim`, got {group!r}"
    if isinstance(group, bool) or not isinstance(group, numbers.Integral):
        raise TypeError(sentence)
    if group < 1:
        raise ValueError(sentence)


def groups_of(shape: tuple[int, ...], group: int | None = None, dim: Axes = -1) -> Groups:
    """Return how a tensor of ``shape`` is divided into groups.

    Args:
        shape: Shape of the tensor.
        group: Elements of a group, consecutive along ``dim``; None: all of them.
        dim: Axis that groups run along, or a tuple of axes, flattened in that order.

    Raises:
        IndexError: ``dim`` is not an axis of the tensor.
        ValueError: An axis is named twice, none is, or ``group`` does not divide the length along ``dim``.

    Example:
        >>> groups_of((8, 6), 4)
        Traceback (most recent call last):
        ValueError: `group` must divide the 6 elements along `dim` -1 of a tensor of shape (8, 6), got 4
    """
    validate_group(group)
    axes = tuple(validate_dim(d, shape) for d in (dim if isinstance(dim, tuple) else (dim,)))
    if not axes or len(set(axes)) < len(axes):
        raise ValueError(f"`dim` must name one or several different axes, got {dim!r}")
    length = math.prod(shape[axis] for axis in axes)
    if group is not None and length % group:
        raise ValueError(
            f"`group` must divide the {length} elements along `dim` {dim} of a tensor of shape "
            f"{tuple(shape)}, got {group}"
        )
    return Groups(tuple(shape), axes, length if group is None else int(group))


class GroupRanking:
    """The elements of each group in the order in which they would be pruned.

    Ranked once; every amount is one comparison from then on.

    Args:
        scores: Scores in the shape of the weight, float32 or wider. Low goes first.
        groups: How the weight is divided.
        default_mask: Mask from earlier pruning, nonzero where kept, or None. What it pruned takes no part.

    Raises:
        ValueError: A score is NaN.

    Example:
        >>> ranking = GroupedUnstructured(0.5, group=4).rank_groups(torch.tensor([4.0, 1.0, -3.0, 2.0]))
        >>> ranking.mask(0.5).tolist(), ranking.mask(1).tolist()
        ([True, False, True, False], [True, False, True, True])
    """

    def __init__(self, scores: Tensor, groups: Groups, default_mask: Tensor | None = None) -> None:
        self.groups = groups
        self.default_mask = None if default_mask is None else default_mask.detach() != 0
        self.scores = scores
        rows = groups.rows(scores)
        candidates = None if self.default_mask is None else groups.rows(self.default_mask)
        refuse_nan(rows.reshape(-1), None if candidates is None else candidates.reshape(-1))
        self._ranks = ranks_in_rows(rows, candidates)
        self._left = None if candidates is None else candidates.sum(1)

    @property
    def units(self) -> int:
        """Number of elements that earlier pruning has left, in all groups together."""
        return self.scores.numel() if self._left is None else int(self._left.sum())

    def pruned(self, amount: int | float) -> int:
        """Return how many elements ``amount`` prunes, in all groups together.

        Args:
            amount: Share of what is left of each group, in [0, 1], or a count of elements of each.
        """
        counts = self._counts(amount)
        return int(counts.sum()) if isinstance(counts, Tensor) else counts * len(self._ranks)

    def mask(self, amount: int | float) -> Tensor:
        """Return the boolean mask, in the shape of the weight, that is left at ``amount``: True where kept.

        Args:
            amount: Share of what is left of each group, in [0, 1], or a count of elements of each.

        Raises:
            TypeError: ``amount`` is not a number.
            ValueError: ``amount`` is out of range, or counts more than is left of a group.
        """
        counts = self._counts(amount)
        kept = self._ranks >= (counts.unsqueeze(1) if isinstance(counts, Tensor) else counts)
        return self.groups.placed(kept).contiguous()

    def _counts(self, amount: int | float) -> int | Tensor:
        """Return how many elements of each group go: one number, or one a group."""
        if self._left is None:
            return units_to_prune(amount, self.groups.size)
        sizes, which = torch.unique(self._left, return_inverse=True)
        counts = [units_to_prune(amount, int(size)) for size in sizes]
        return torch.tensor(counts, dtype=self._ranks.dtype, device=which.device)[which]


class GroupedUnstructured(BasePruningMethod):
    """Prune the same fraction of each group of elements, lowest magnitudes first.

    Args:
        amount: Fraction of the elements left of each group, a float in [0, 1], or an int ≥ 0.
        group: Elements of a group, consecutive along ``dim``; None: everything along ``dim`` is one group.
        dim: Axis that groups run along, or a tuple of axes, flattened in that order: ``(1, 2, 3)`` with
            ``group=None`` makes a group of each output channel of a convolution.

    Raises:
        TypeError, ValueError: ``amount`` is neither a fraction nor a count, or ``group`` is not a number of
            elements.

    Example:
        >>> GroupedUnstructured(2, group=4).prune(torch.tensor([[1.0, -4.0, 3.0, 2.0, 9.0, 8.0, 7.0, 6.0]]))
        tensor([[ 0., -4.,  3.,  0.,  9.,  8.,  0.,  0.]])
    """

    # Not "unstructured": a container would hand over what is left as one flat tensor, without its groups.
    PRUNING_TYPE: ClassVar[str] = "global"

    def __init__(self, amount: int | float, group: int | None = None, dim: Axes = -1) -> None:
        validate_amount(amount)
        validate_group(group)
        self.amount = amount
        self.group = group
        self.dim = tuple(dim) if isinstance(dim, list) else dim

    def rank_groups(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> GroupRanking:
        """Return the elements of each group of ``t`` in order; ``amount`` plays no part.

        Args:
            t: Tensor to prune, of any shape.
            default_mask: Mask of the same shape from earlier pruning; what it pruned takes no part.
            importance_scores: Tensor of the same shape whose magnitudes are the scores instead.

        Raises:
            IndexError: ``dim`` is not an axis of ``t``.
            ShapeError: A mask or score has another shape than ``t``.
            ValueError: A score is NaN, or ``group`` does not divide the length along ``dim``.
        """
        scores = scores_for("tensor t", t, importance_scores)
        if default_mask is not None and default_mask.shape != t.shape:
            raise ShapeError(
                f"`default_mask` must have the shape {tuple(t.shape)}, got {tuple(default_mask.shape)}"
            )
        groups = groups_of(tuple(t.shape), self.group, self.dim)
        everything = default_mask is None or bool((default_mask != 0).all())
        return GroupRanking(magnitudes(scores).view(t.shape), groups, None if everything else default_mask)

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return ``default_mask`` without the lowest of what it leaves of each group of ``t``.

        Args:
            t: Scores or weights, of any shape.
            default_mask: Mask of the same shape. Read, never written.

        Raises:
            IndexError: ``dim`` is not an axis of ``t``.
            ValueError: ``amount`` counts more than is left of a group, or a score is NaN.
        """
        return self.selected(t, default_mask)

    # The mark by which combine.selects_by_rank sees that no subclass has replaced compute_mask.
    lowest_of_ranking = compute_mask

    def selected(self, t: Tensor, default_mask: Tensor | None) -> Tensor:
        """Return the mask after pruning the lowest of what ``default_mask`` leaves of each group.

        Args:
            t: Scores or weights, of any shape.
            default_mask: Mask of the same shape from earlier pruning, or None.

        Returns:
            New contiguous mask of the shape of ``t``, in the mask's dtype, or else that of ``t``.
        """
        groups = groups_of(tuple(t.shape), self.group, self.dim)
        like = t if default_mask is None else default_mask
        out = fresh(t.shape, like.dtype, t.device)
        if t.is_meta:
            return out
        if t.numel() == 0:
            return out.fill_(1)
        if default_mask is None and self._written_at_once(t, groups, out):
            return out
        kept = self.rank_groups(t, default_mask).mask(self.amount)
        return out.copy_(kept if default_mask is None else masked(default_mask, kept))

    def _written_at_once(self, t: Tensor, groups: Groups, out: Tensor) -> bool:
        """Return whether the mask could be written straight from the weights as they lie in memory."""
        k = units_to_prune(self.amount, groups.size)
        lies = t.device.type == "cpu" and groups.lies_in_rows(t) and groups.size <= SHORT
        if not lies or t.dtype not in (torch.float32, torch.float64):
            return False
        return write_without_lowest(groups.rows(t.detach()), k, groups.rows(out))

    @classmethod
    def apply(  # type: ignore[override]
        cls,
        module: Module,
        name: str,
        amount: int | float,
        group: int | None = None,
        dim: Axes = -1,
        importance_scores: Tensor | None = None,
    ) -> BasePruningMethod:
        """Return the hook after pruning ``module.name``: see :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, amount, group, dim, importance_scores=importance_scores)


def grouped_unstructured(
    module: M,
    name: str,
    amount: int | float,
    group: int | None = None,
    dim: Axes = -1,
    importance_scores: Tensor | None = None,
) -> M:
    """Prune the same fraction of each group of ``name``, lowest magnitudes first; return ``module``.

    Args:
        module: Module that has the parameter.
        name: Name of the parameter.
        amount: Fraction of the elements left of each group, a float in [0, 1], or an int ≥ 0.
        group: Elements of a group, consecutive along ``dim``; None: everything along ``dim`` is one group.
        dim: Axis that groups run along, or a tuple of axes, flattened in that order.
        importance_scores: Tensor of the parameter's shape whose magnitudes decide instead.

    Raises:
        IndexError: ``dim`` is not an axis of the parameter.
        ParameterError: The module has no such parameter.
        ShapeError: ``importance_scores`` has another shape.
        TypeError, ValueError: ``amount`` or ``group`` is out of range, or does not divide the length.

    Example:
        >>> layer = grouped_unstructured(torch.nn.Linear(8, 3), "weight", amount=0.5, group=4)
        >>> layer.weight_mask.view(3, 2, 4).sum(-1)
        tensor([[2., 2.],
                [2., 2.],
                [2., 2.]])
    """
    GroupedUnstructured.apply(module, name, amount, group, dim, importance_scores=importance_scores)
    return module


def pattern_breaks(mask: Tensor, n: int, m: int, dim: Axes = -1) -> int:
    """Return in how many groups of ``m`` consecutive elements ``mask`` keeps more than ``n``.

    Args:
        mask: Mask of any shape and dtype, nonzero where kept.
        n: Elements that the pattern allows a group to keep, at least 0.
        m: Elements of a group, at least 1.
        dim: Axis that groups run along, or a tuple of axes, flattened in that order.

    Raises:
        IndexError: ``dim`` is not an axis of ``mask``.
        ValueError: ``m`` does not divide the length along ``dim``.

    Example:
        >>> pattern_breaks(torch.tensor([1, 1, 0, 0, 1, 1, 1, 0]), 2, 4)
        1
    """
    kept = groups_of(tuple(mask.shape), m, dim).rows(mask if mask.dtype == torch.bool else mask != 0)
    if m in WORDS and n < m and kept.device.type == "cpu":
        return rows_with_more(kept, n)
    return int((kept.sum(1) > n).sum())
