"""Stored numbers as numbers: half precision as it is, float8 and integers widened, with their scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from prunescope.sources.checkpoint.stored import StoredTensor

_SCALES = ("{}_scale", "{}_scale_inv", "{module}.scale", "{module}.scales", "{module}.SCB", "{}.scale")
_ZERO_POINTS = ("{}_zero_point", "{module}.zero_point", "{}.zero_point")
_NARROW = (torch.int8, torch.uint8, torch.int16)
_LONGEST_SCALE = 1 << 24


@dataclass(frozen=True)
class Reading:
    """How a stored tensor is read as weights.

    Attributes:
        problem: Why it cannot be pruned, or "".
        detail: How its numbers are stored, and what is made of them, such as ``"int8 × scale"``.
        scale: Name of the tensor that holds its scale, or None.
        zero_point: Name of the tensor that holds what is stored for zero, or None.
    """

    problem: str = ""
    detail: str = ""
    scale: str | None = None
    zero_point: str | None = None


def reading(stored: StoredTensor, all_stored: Mapping[str, StoredTensor]) -> Reading:
    """Return how ``stored`` is read; the other tensors of the checkpoint may hold its scale.

    Example:
        >>> bits = StoredTensor("fc.weight", (3, 4), torch.int8, "int8")
        >>> scale = StoredTensor("fc.weight_scale", (3, 1), torch.float32, "float32")
        >>> reading(bits, {each.name: each for each in (bits, scale)}).detail
        'int8 × scale'
    """
    problem = _problem(stored, all_stored)
    if problem:
        return Reading(problem, stored.dtype_name)
    assert stored.dtype is not None
    if stored.affine is not None:
        return Reading(detail=f"{stored.dtype_name} × scale")
    if stored.dtype.is_floating_point and stored.dtype.itemsize > 1:
        return Reading(detail=stored.dtype_name)
    scale = _companion(stored, all_stored, _SCALES)
    point = _companion(stored, all_stored, _ZERO_POINTS) if scale else None
    how = " × scale" if scale else " as numbers, no scale in the file"
    return Reading(detail=f"{stored.dtype_name}{how}", scale=scale, zero_point=point)


def _problem(stored: StoredTensor, all_stored: Mapping[str, StoredTensor]) -> str:
    name, dtype = stored.name, stored.dtype
    if dtype is None:
        return f"is stored as {stored.dtype_name}, which cannot be read as numbers"
    if math.prod(stored.shape) == 0:
        return "is empty"
    if not stored.shape:
        return "is a single number"
    if dtype.is_complex:
        return "holds complex numbers"
    if _is_companion(name, all_stored):
        return "is the scale or the zero point of another tensor"
    if dtype.is_floating_point or stored.affine is not None:
        return ""
    if name.endswith(("qweight", "qzeros")) or f"{name}.quant_map" in all_stored:
        return "packs several small integers into each number"
    if dtype not in _NARROW or len(stored.shape) < 2:
        return f"holds {stored.dtype_name} numbers: counts, indices or flags, not weights"
    return ""


def _is_companion(name: str, all_stored: Mapping[str, StoredTensor]) -> bool:
    for suffix in ("_scale", "_scale_inv", "_zero_point", ".scale", ".zero_point"):
        owner = all_stored.get(name.removesuffix(suffix))
        if name.endswith(suffix) and owner is not None and _is_narrow(owner):
            return True
    module, _, own = name.rpartition(".")
    weight = all_stored.get(f"{module}.weight")
    return own in ("scale", "scales", "SCB", "zero_point") and weight is not None and _is_narrow(weight)


def _is_narrow(stored: StoredTensor) -> bool:
    return stored.dtype in _NARROW or (stored.dtype is not None and stored.dtype.itemsize == 1)


def _companion(
    stored: StoredTensor, all_stored: Mapping[str, StoredTensor], patterns: tuple[str, ...]
) -> str | None:
    module = stored.name.rpartition(".")[0]
    for pattern in patterns:
        found = all_stored.get(pattern.format(stored.name, module=module))
        if found is None or found.dtype is None or found.dtype.is_complex:
            continue
        if _blocks(found.shape, stored.shape) is not None and math.prod(found.shape) <= _LONGEST_SCALE:
            return found.name
    return None


def as_numbers(stored: Tensor, scale: Tensor | None = None, zero_point: Tensor | None = None) -> Tensor:
    """Return the numbers that ``stored`` stands for.

    Args:
        stored: As it is in the file.
        scale: What a number is multiplied with: one number, one per row, or one per block; None is 1.
        zero_point: What is stored for zero, likewise; None is 0.

    Returns:
        ``stored`` itself where torch can calculate with it, else float32.

    Example:
        >>> as_numbers(torch.tensor([[2], [4]], dtype=torch.int8), torch.tensor([0.5, 0.25]))
        tensor([[1.],
                [1.]])
    """
    if stored.is_floating_point() and stored.element_size() > 1:
        return stored
    numbers = stored.to(torch.float32)
    if zero_point is not None:
        numbers -= spread(zero_point, stored.shape)
    if scale is not None:
        numbers *= spread(scale, stored.shape)
    return numbers


def spread(scale: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return ``scale`` as float32 that broadcasts to ``shape``: a number, one per row, or one per block.

    Example:
        >>> spread(torch.tensor([[1.0, 2.0]]), (2, 3))
        tensor([[1., 1., 2.]])
    """
    blocks = _blocks(tuple(scale.shape), shape)
    if blocks is None:
        raise ValueError(f"a scale of shape {tuple(scale.shape)} fits no weight of shape {tuple(shape)}")
    scale = scale.to(torch.float32)
    if scale.numel() == 1:
        return scale.reshape(())
    scale = scale.reshape(*scale.shape, *[1] * (len(shape) - scale.ndim))
    for axis, block in enumerate(blocks):
        if block > 1 and scale.shape[axis] > 1:
            scale = scale.repeat_interleave(block, axis).narrow(axis, 0, shape[axis])
    return scale


def _blocks(scale: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return how many numbers share a scale along each axis, or None if the scale does not fit."""
    if math.prod(scale) == 1:
        return (1,) * len(shape)
    if len(scale) not in (1, len(shape)):
        return None
    blocks = []
    for size, whole in zip(scale, shape, strict=False):
        if size == 0:
            return None
        block = -(-whole // size)
        if size != 1 and -(-whole // block) != size:
            return None
        blocks.append(block)
    return (*blocks, *[1] * (len(shape) - len(scale)))
