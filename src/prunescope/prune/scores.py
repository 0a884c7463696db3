"""Scores of the units of a tensor: magnitudes of elements, norms of channels.

Scores are float32 or wider whatever the weight's dtype, so that half-precision norms do not overflow
and float8 or integer weights can be ranked.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from prunescope.prune._kernels.blocks import row_blocks
from prunescope.prune._kernels.memory import fresh
from prunescope.prune.errors import NormError, ShapeError
from prunescope.prune.masking import where_kept

Norm: TypeAlias = int | float | str

_NORM_NAMES = ("fro", "nuc")
# From here on a tensor is not widened, or masked, in one piece; a piece has so many rows that torch takes
# each row's norm in one go, as it does in the whole.
_WHOLE_BELOW = 1 << 20
_ROWS_AT_LEAST = 64
_WIDE = (torch.float32, torch.float64)
# Norms that are quicker without torch's own function for norms, by their order.
_REDUCED = {1.0: np.add, math.inf: np.maximum, -math.inf: np.minimum}
# Blocks whose results are held before they are combined.
_PARTS_HELD = 64


def validate_norm(n: object, *, shape: Sequence[int] | None = None, dim: int | None = None) -> None:
    """Check that ``n`` is the order of a norm.

    Args:
        n: Order of the norm: any number but NaN, ``inf``, ``-inf``, ``"fro"`` or ``"nuc"``.
        shape: Shape of the weight, if known; together with ``dim`` it lets ``"nuc"`` be checked.
        dim: Channel axis, if known.

    Raises:
        TypeError: ``n`` is neither a number nor a string (a bool or None, say).
        NormError: ``n`` is NaN, an unknown name, or ``"nuc"`` for channels that are not matrices.

    Example:
        >>> validate_norm("abc")
        Traceback (most recent call last):
        prunescope.prune.errors.NormError: `n` must be a number, inf, -inf, 'fro' or 'nuc', got 'abc'
    """
    sentence = f"`n` must be a number, inf, -inf, 'fro' or 'nuc', got {n!r}"
    if isinstance(n, bool) or not isinstance(n, numbers.Real | str):
        raise TypeError(sentence)
    if n not in _NORM_NAMES if isinstance(n, str) else math.isnan(float(n)):
        raise NormError(sentence)
    if n == "nuc" and shape is not None and dim is not None and len(shape) < 3:
        raise NormError(
            f"`n` = 'nuc' needs channels that are matrices, but one channel of a tensor of shape "
            f"{tuple(shape)} along `dim` {dim} has {max(len(shape) - 1, 0)} axes; use 'fro' or a number"
        )


def validate_dim(dim: object, shape: Sequence[int]) -> int:
    """Return ``dim`` as a non-negative axis number.

    Args:
        dim: Channel axis, ``-len(shape) <= dim < len(shape)``.
        shape: Shape of the weight.

    Raises:
        IndexError: ``dim`` is not an axis of that shape.
        TypeError: ``dim`` is not an integer.

    Example:
        >>> validate_dim(-1, (64, 32, 3, 3))
        3
    """
    # Asking for the plain type first: an abstract one takes longer than a small tensor's norm.
    if type(dim) is not int and (isinstance(dim, bool) or not isinstance(dim, numbers.Integral)):
        raise TypeError(f"`dim` must be an integer, got {dim!r}")
    axis, axes = int(dim), len(shape)
    if not -axes <= axis < axes:
        span = f"between {-axes} and {axes - 1}" if axes else "absent"
        raise IndexError(f"`dim` must be {span} for a tensor of shape {tuple(shape)}, got {axis}")
    return axis % axes


def widened(t: Tensor) -> Tensor:
    """Return ``t``, detached, in the narrowest of float32 and float64 that holds its values.

    Args:
        t: Any tensor: floating (float8 included), integer, boolean or complex.

    Returns:
        Tensor of the same shape; ``t``'s own memory when it is float32 or float64 already.

    Example:
        >>> widened(torch.tensor([-128], dtype=torch.int8)).dtype
        torch.float32
    """
    t = t.detach()
    if t.is_complex():
        t = t.abs()
    if t.dtype in _WIDE:
        return t
    return t.to(torch.float64 if t.dtype in (torch.int32, torch.int64) else torch.float32)


def scores_for(what: str, tensor: Tensor, importance_scores: Tensor | None) -> Tensor:
    """Return the scores of ``tensor``: its own values unless scores are given.

    Raises:
        ShapeError: the scores have another shape.
    """
    if importance_scores is None:
        return tensor
    if importance_scores.shape != tensor.shape:
        raise ShapeError(
            f"`importance_scores` must have the shape of {what}, {tuple(tensor.shape)}, "
            f"got {tuple(importance_scores.shape)}"
        )
    return importance_scores


def magnitudes(t: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return ``|t|`` as a flat tensor, elements in index order whatever the memory format.

    Args:
        t: Tensor of any shape and dtype.
        out: Flat tensor of ``t.numel()`` elements to write into, if given.

    Returns:
        New tensor of shape ``(t.numel(),)`` in float32 or wider.

    Example:
        >>> magnitudes(torch.tensor([[-2, 1], [0, -3]]))
        tensor([2., 1., 0., 3.], dtype=torch.float64)
    """
    wide = widened(t)
    if out is None:
        out = fresh((wide.numel(),), wide.dtype, wide.device)
    if wide.is_contiguous() and out.dtype == wide.dtype:
        torch.abs(wide.view(-1), out=out)
    else:
        out.view(wide.shape).copy_(wide.abs())
    return out


def channel_norms(weight: Tensor, *, n: Norm, dim: int, mask: Tensor | None = None) -> Tensor:
    """Return the Ln norm of every channel of ``weight``.

    A *channel* is one index along ``dim``; the norm runs over all other axes. ``"fro"`` is the 2-norm for
    every shape. ``"nuc"`` is the sum of the singular values of a channel that is a matrix; a channel with
    more axes is taken as a stack of matrices over its last two, and their nuclear norms are added.
    Definitions: https://docs.pytorch.org/docs/stable/generated/torch.norm.html

    Args:
        weight: Tensor of shape ``(s_0, ..., s_k)``. Read, never written.
        n: Order of the norm: a number, ``inf``, ``-inf``, ``"fro"`` or ``"nuc"``.
        dim: Channel axis, ``-ndim <= dim < ndim``.
        mask: Boolean tensor of the same shape; weights count as zero where it is False. None masks nothing.

    Returns:
        Tensor of shape ``(s_dim,)`` on the weight's device, in float32 or wider.

    Raises:
        IndexError: ``dim`` is not an axis of ``weight``.
        TypeError: ``n`` is neither a number nor a string.
        NormError: ``n`` is NaN, an unknown name, or ``"nuc"`` where a channel is not a matrix.

    Example:
        >>> channel_norms(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), n=2, dim=0)
        tensor([5., 1.])
    """
    axis = validate_dim(dim, weight.shape)
    validate_norm(n, shape=weight.shape, dim=dim)
    if weight.shape[axis] == 0 or weight.numel() == 0:
        return _effective(weight, mask).new_zeros(weight.shape[axis])
    if n == "nuc":
        singular_values: Tensor = torch.linalg.svdvals(_effective(weight, mask).movedim(axis, 0))
        return singular_values.flatten(1).sum(1)
    order = 2.0 if isinstance(n, str) else float(n)
    weight = weight.abs() if weight.is_complex() else weight
    flat = weight.is_contiguous() and weight.device.type == "cpu" and (mask is None or mask.is_contiguous())
    if flat and weight.dim() > 1:
        shape = (math.prod(weight.shape[:axis]) if axis else len(weight), -1)
        matrix, kept = weight.detach().view(shape), None if mask is None else mask.view(shape)
        if axis > 0:
            return _combined(_column_norms(matrix, kept, order).view(weight.shape[axis], -1), order, 1)
        if order in _REDUCED:
            return _row_reduced(matrix, kept, order)
        if weight.numel() >= _WHOLE_BELOW and not (mask is None and weight.dtype in _WIDE):
            return _row_norms(matrix, kept, order)
    return _norms(_effective(weight, mask), order, axis)


def _effective(weight: Tensor, mask: Tensor | None) -> Tensor:
    return widened(weight if mask is None else where_kept(mask, weight))


def _norms(wide: Tensor, n: float, axis: int) -> Tensor:
    others = [d for d in range(wide.dim()) if d != axis]
    if not others:
        return wide.abs() if n else (wide != 0).to(wide.dtype)
    norms: Tensor = torch.linalg.vector_norm(wide, n, dim=others)
    return norms


def _row_norms(matrix: Tensor, mask: Tensor | None, n: float) -> Tensor:
    """Return the norm of every row of a large matrix, widening some rows at a time."""
    rows = max(_ROWS_AT_LEAST, _WHOLE_BELOW // matrix.shape[1])
    norms, start = torch.empty(len(matrix), dtype=widened(matrix[:0]).dtype), 0
    for block in row_blocks(matrix, mask, rows=rows):
        norms[start : start + len(block)] = _norms(torch.from_numpy(block), n, 0)
        start += len(block)
    return norms


def _row_reduced(matrix: Tensor, mask: Tensor | None, n: float) -> Tensor:
    """Return the norm of every row if it is a plain sum, maximum or minimum of magnitudes."""
    norms, start = torch.empty(len(matrix), dtype=widened(matrix[:0]).dtype), 0
    for block in row_blocks(matrix, mask, absolute=True):
        _REDUCED[n].reduce(block, axis=1, out=norms[start : start + len(block)].numpy())
        start += len(block)
    return norms


def _column_norms(matrix: Tensor, mask: Tensor | None, n: float) -> Tensor:
    """Return the norm of every column, a block of whole rows at a time.

    A reduction over the slow axis strides through memory: torch takes 15 times as long over it as over
    the fast one. Combining the norms of blocks of rows reads memory in order.
    """
    blocks = row_blocks(matrix, mask, absolute=n in _REDUCED)
    if n == 2:
        squares = (torch.from_numpy(np.einsum("ij,ij->j", block, block)) for block in blocks)
        return _gathered(squares, 1.0).sqrt_()
    if n in _REDUCED:
        return _gathered((torch.from_numpy(_REDUCED[n].reduce(block, axis=0)) for block in blocks), n)
    return _gathered((torch.linalg.vector_norm(torch.from_numpy(block), n, dim=0) for block in blocks), n)


def _gathered(parts: Iterator[Tensor], n: float) -> Tensor:
    """Combine the norms of parts into norms of wholes, holding few at a time."""
    held: list[Tensor] = []
    for part in parts:
        held.append(part)
        if len(held) == _PARTS_HELD:
            held = [_combined(torch.stack(held), n, 0)]
    return held[0] if len(held) == 1 else _combined(torch.stack(held), n, 0)


def _combined(norms: Tensor, n: float, dim: int) -> Tensor:
    """Combine the ``norms`` of parts along ``dim``."""
    if norms.shape[dim] == 1:
        return norms.squeeze(dim)
    whole: Tensor = norms.sum(dim) if n in (0.0, 1.0) else torch.linalg.vector_norm(norms, n, dim=dim)
    return whole
