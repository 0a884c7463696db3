"""Apply a method on top of an earlier mask: it acts on the remaining units.

The rule is torch's: a method of type ``"unstructured"`` sees the elements still kept, as a flat tensor; a
``"structured"`` one sees the channels with any element kept; a ``"global"`` one sees everything.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor

from prunescope.prune._kernels.units import candidate_units
from prunescope.prune.protocols import PruningMethod, Selecting
from prunescope.prune.scores import validate_dim

Index = tuple[slice | Tensor, ...]


def next_mask(method: PruningMethod, t: Tensor, default_mask: Tensor | None, *, soft: bool = False) -> Tensor:
    """Return the mask after ``method`` pruned what ``default_mask`` leaves of ``t``.

    Args:
        method: Pruning method; the engine's own select directly, others through ``compute_mask``.
        t: Scores or weights, of any shape.
        default_mask: Mask of the shape of ``t`` from earlier pruning, or None if there was none.
        soft: Whether ``default_mask`` has values other than 0 and 1, which stay as they are.

    Returns:
        New mask of the shape of ``t``; neither input is written to.
    """
    if selects_by_rank(method) and not soft:
        return method.selected(t, default_mask)
    if default_mask is None:
        return method.compute_mask(t, default_mask=torch.ones_like(t))
    return _through_slice(method, t, default_mask)


def selects_by_rank(method: PruningMethod) -> TypeGuard[Selecting]:
    """Return whether ``method`` prunes the lowest of its ranking, with ``compute_mask`` not overridden."""
    cls = type(method)
    return cls.compute_mask is getattr(cls, "lowest_of_ranking", None)


def _through_slice(method: PruningMethod, t: Tensor, default_mask: Tensor) -> Tensor:
    mask = default_mask.to(dtype=t.dtype, copy=True)
    units = left_over(method, t, default_mask)
    partial = method.compute_mask(t[units], default_mask=default_mask[units])
    mask[units] = partial.to(dtype=mask.dtype)
    return mask


def left_over(method: PruningMethod, t: Tensor, default_mask: Tensor) -> Index:
    """Return the index of the part of ``t`` that ``method`` may act on.

    Raises:
        AttributeError: a structured method has no ``dim``.
        IndexError: its ``dim`` is not an axis of ``t``.
        ValueError: ``PRUNING_TYPE`` is none of the three.
    """
    kind = method.PRUNING_TYPE
    if kind == "unstructured":
        return (default_mask == 1,)
    if kind == "global":
        return (slice(None),) * t.dim()
    if kind != "structured":
        raise ValueError(f"`PRUNING_TYPE` must be 'unstructured', 'structured' or 'global', got {kind!r}")
    if not hasattr(method, "dim"):
        raise AttributeError("a pruning method of `PRUNING_TYPE` 'structured' needs an attribute `dim`")
    dim = validate_dim(method.dim, t.shape)
    channels = candidate_units(default_mask != 0, dim)
    everything: Index = (slice(None),) * t.dim()
    return everything if channels is None else (*everything[:dim], channels, *everything[dim + 1 :])
