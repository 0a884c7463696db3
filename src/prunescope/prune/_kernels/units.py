"""Units: which remain, their scores, and writing a selection of them as a mask."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from torch import Tensor

from prunescope.prune._kernels.memory import for_one_thread


def candidate_units(mask: Tensor | None, dim: int | None) -> Tensor | None:
    """Return which units earlier pruning has left; None if all remain.

    Args:
        mask: Boolean mask of the weight's shape, True where kept, or None.
        dim: Channel axis (≥ 0), or None when units are elements.

    Returns:
        1-D boolean tensor with one entry per unit, True for a kept element or a channel with any element
        kept; None if every unit remains.

    Example:
        >>> candidate_units(torch.tensor([[True, False], [False, False]]), 0)
        tensor([ True, False])
    """
    if mask is None:
        return None
    left = mask.reshape(-1) if dim is None else mask.movedim(dim, 0).flatten(1).any(1)
    return None if bool(left.all()) else left


def write_channels(kept: Tensor, dim: int, out: Tensor, default_mask: Tensor | None = None) -> Tensor:
    """Write a value for every channel into all of its elements, and return ``out``.

    Args:
        kept: 1-D tensor with one entry per channel, in the dtype of ``out``.
        dim: Channel axis of ``out``, ≥ 0.
        out: Contiguous tensor to write into.
        default_mask: Contiguous tensor like ``out`` to multiply by, or None.

    Example:
        >>> write_channels(torch.tensor([1.0, 0.0]), 0, torch.empty(2, 3))
        tensor([[1., 1., 1.],
                [0., 0., 0.]])
    """
    if out.numel() == 0:
        return out
    # Seen as rows of memory: a broadcast whose inner axis is contiguous is several times as fast.
    row = kept.view(-1, 1)
    if dim > 0:
        row = row.expand(-1, math.prod(out.shape[dim + 1 :])).reshape(1, -1)
    shape = (-1, row.shape[1]) if dim > 0 else (len(kept), -1)
    rows, earlier = out.view(shape), None if default_mask is None else default_mask.view(shape)
    if for_one_thread(out) or (out.dtype == torch.bool and out.device.type == "cpu"):
        array = rows.numpy()
        np.copyto(array, row.numpy())
        if earlier is not None:
            np.multiply(array, earlier.numpy(), out=array)
    elif earlier is None:
        rows.copy_(row)
    else:
        torch.mul(earlier, row, out=rows)
    return out


def spread(scores: Tensor, candidates: Tensor) -> Tensor:
    """Scatter the candidates' scores to all units; the others get -inf.

    Units that are already pruned thus sort first, and never pass a comparison.

    Example:
        >>> spread(torch.tensor([1.0, 2.0]), torch.tensor([True, False, True]))
        tensor([1., -inf, 2.])
    """
    values = torch.full(candidates.shape, -math.inf, dtype=scores.dtype, device=scores.device)
    return values.masked_scatter_(candidates, scores)


def refuse_nan(values: Tensor, candidates: Tensor | None) -> None:
    """Refuse NaN and warn of infinity among scores, or among weights whose magnitudes are the scores.

    A finite sum proves that there is neither, in one fast pass.

    Args:
        values: 1-D tensor in float32 or float64.
        candidates: 1-D boolean tensor, True for the units to check; None checks all.

    Raises:
        ValueError: one is NaN.
    """
    if values.numel() == 0 or math.isfinite((values.sum() if candidates is None else values.max()).item()):
        return
    scores = values if candidates is None else values[candidates]
    refuse_counts(int(torch.isnan(scores).sum()), int(torch.isinf(scores).sum()), len(scores))


def refuse_counts(nans: int, infinite: int, scores: int) -> None:
    """Refuse NaN among ``scores`` scores, and warn of infinity.

    Raises:
        ValueError: there is NaN.
    """
    if nans:
        raise ValueError(f"`scores` must be numbers to be ranked, got {nans} NaN among {scores}")
    if infinite:
        warnings.warn(f"{infinite} of {scores} scores are infinite", UserWarning, stacklevel=3)
