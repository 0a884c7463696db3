"""Read stored values as numbers: half precision unchanged, float8 and integers dequantised by known rules.

A quantisation is read only if names, dtypes and shapes define it: one scale, one per row or one per block,
with or without a zero point. Any other is refused by name, since a wrong guess would look like weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prunescope.sources.checkpoint.roles import Neighbours, is_narrow
from prunescope.sources.checkpoint.stored import StoredTensor

_SCALES = ("{}_scale", "{}_scale_inv", "{module}.scale_{own}", "{}.scale")
_SCALES_OF_LAYERS = ("{module}.scale", "{module}.scales", "{module}.SCB")
_ZERO_POINTS = ("{}_zero_point", "{}.zero_point")
_ZERO_POINTS_OF_LAYERS = ("{module}.zero_point",)
_NARROW_INTEGERS = (torch.int8, torch.uint8, torch.int16)
_LONGEST_SCALE = 1 << 24
_INT8_SPAN = 127.0


@dataclass(frozen=True)
class Reading:
    """How a stored tensor is read as weights.

    Attributes:
        problem: Why it cannot be pruned, or "".
        detail: How its values are stored and read, such as ``"int8 × scale"``.
        scale: Name of the tensor that holds its scale, or None.
        zero_point: Name of the tensor that holds its zero point, or None.
        factor: Multiplier of the scale: bitsandbytes stores the value that 127 represents.
        block: How many rows and columns share a scale, if the file's configuration gives it.
    """

    problem: str = ""
    detail: str = ""
    scale: str | None = None
    zero_point: str | None = None
    factor: float = 1.0
    block: tuple[int, ...] = ()


def reading(stored: StoredTensor, near: Neighbours, block: tuple[int, ...] = ()) -> Reading:
    """Determine how to read ``stored``; other tensors of the checkpoint may hold its scale.

    Args:
        stored: The tensor.
        near: All tensors of the checkpoint.
        block: How many rows and columns share a scale, from the checkpoint's configuration.

    Example:
        >>> bits = StoredTensor("fc.weight", (3, 4), torch.int8, "int8")
        >>> scale = StoredTensor("fc.weight_scale", (3, 1), torch.float32, "float32")
        >>> reading(bits, Neighbours({each.name: each for each in (bits, scale)})).detail
        'int8 × scale'
    """
    problem = _problem(stored, near)
    if problem:
        return Reading(problem, stored.dtype_name)
    if stored.affine is not None:
        return Reading(detail=f"{stored.dtype_name} × scale")
    return _quantised(stored, near, block) if is_narrow(stored) else Reading(detail=stored.dtype_name)


def _problem(stored: StoredTensor, near: Neighbours) -> str:
    dtype = stored.dtype
    if dtype is None:
        return f"is stored as {stored.dtype_name}, which cannot be read as numbers"
    if math.prod(stored.shape) == 0:
        return "is empty"
    if not stored.shape:
        return "is a single number"
    if stored.repeated:
        return "repeats a few stored numbers (an expanded tensor): save it with `.contiguous()`"
    if dtype.is_complex:
        return "holds complex numbers"
    why = near.why_no_weight(stored.name)
    if why or dtype.is_floating_point or stored.affine is not None:
        return why
    if dtype not in _NARROW_INTEGERS or len(stored.shape) < 2:
        return f"holds {stored.dtype_name} numbers: counts, indices or flags, not weights"
    return ""


def _quantised(stored: StoredTensor, near: Neighbours, block: tuple[int, ...]) -> Reading:
    """Determine how to read float8 or small integers, or why no known rule applies."""
    name, is_weight = stored.name, stored.name.rpartition(".")[2] == "weight"
    scale = _named(name, near, _SCALES + (_SCALES_OF_LAYERS if is_weight else ()))
    point = _named(name, near, _ZERO_POINTS + (_ZERO_POINTS_OF_LAYERS if is_weight else ()))
    unknown = near.unknown_beside(name, [each.name for each in (scale, point) if each is not None])
    problem = f"is quantised in an unknown way: {unknown} is part of it" if unknown else ""
    problem = problem or _why_unfit(stored, scale, point, block)
    if problem:
        return Reading(problem, stored.dtype_name)
    if scale is None:
        return Reading(detail=f"{stored.dtype_name} as numbers, no scale in the file")
    factor = 1 / _INT8_SPAN if scale.name.endswith(".SCB") else 1.0
    zero = None if point is None else point.name
    return Reading("", f"{stored.dtype_name} × scale", scale.name, zero, factor, block)


def _named(name: str, near: Neighbours, patterns: Sequence[str]) -> StoredTensor | None:
    module, _, own = name.rpartition(".")
    names = (pattern.format(name, module=module, own=own).removeprefix(".") for pattern in patterns)
    return next((near.stored[each] for each in names if each in near.stored), None)


def _why_unfit(
    stored: StoredTensor, scale: StoredTensor | None, point: StoredTensor | None, block: tuple[int, ...]
) -> str:
    if scale is None:
        return "has a zero point and no scale" if point is not None else ""
    if stored.dtype == torch.uint8 and point is None:
        return f"is uint8 with a scale ({scale.name}) and no zero point, an unknown rule"
    if scale.dtype is None or not scale.dtype.is_floating_point:
        return f"has a scale ({scale.name}) stored as {scale.dtype_name}, an unknown rule"
    for each in (scale, point):
        if each is None:
            continue
        if _blocks(each.shape, stored.shape, block) is None or math.prod(each.shape) > _LONGEST_SCALE:
            return f"is quantised in blocks that {each.name} of shape {_shape(each.shape)} leaves open" + (
                "" if block else ": the `weight_block_size` of its config.json is missing"
            )
    return ""


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def as_numbers(
    stored: Tensor,
    scale: Tensor | None = None,
    zero_point: Tensor | None = None,
    block: tuple[int, ...] = (),
) -> Tensor:
    """Return the values that ``stored`` represents.

    Args:
        stored: The tensor as stored.
        scale: One scale, one per row, or one per block; None is 1.
        zero_point: Zero point, likewise; None is 0.
        block: How many values share a scale along each of the last axes, if known.

    Returns:
        ``stored`` itself if torch can compute with it, else float32.

    Example:
        >>> as_numbers(torch.tensor([[2], [4]], dtype=torch.int8), torch.tensor([0.5, 0.25]))
        tensor([[1.],
                [1.]])
    """
    if stored.is_floating_point() and stored.element_size() > 1:
        return stored
    numbers = stored.to(torch.float32)
    if zero_point is not None:
        numbers -= spread(zero_point, stored.shape, block)
    if scale is not None:
        numbers *= spread(scale, stored.shape, block)
    return numbers


def spread(scale: Tensor, shape: tuple[int, ...], block: tuple[int, ...] = ()) -> Tensor:
    """Return ``scale`` as float32 that broadcasts to ``shape``: a number, one per row, or one per block.

    Args:
        scale: The numbers.
        shape: Of the weight.
        block: How many numbers share one along each of the last axes; without it, blocks are all of one size.

    Example:
        >>> spread(torch.tensor([[1.0, 2.0]]), (2, 4))
        tensor([[1., 1., 2., 2.]])
        >>> spread(torch.tensor([[1.0, 2.0]]), (2, 4), (2, 3))
        tensor([[1., 1., 1., 2.]])
    """
    blocks = _blocks(tuple(scale.shape), tuple(shape), block)
    if blocks is None:
        raise ValueError(f"a scale of shape {tuple(scale.shape)} fits no weight of shape {tuple(shape)}")
    scale = scale.to(torch.float32)
    if scale.numel() == 1:
        return scale.reshape(())
    scale = scale.reshape(*scale.shape, *[1] * (len(shape) - scale.ndim))
    for axis, size in enumerate(blocks):
        if size > 1 and scale.shape[axis] > 1:
            scale = scale.repeat_interleave(size, axis).narrow(axis, 0, shape[axis])
    return scale


def _blocks(
    scale: tuple[int, ...], shape: tuple[int, ...], block: tuple[int, ...] = ()
) -> tuple[int, ...] | None:
    """Return how many values share a scale along each axis; None if unknown."""
    if math.prod(scale) == 1:
        return (1,) * len(shape)
    if len(scale) == 1 and scale[0] == shape[0]:
        return (1,) * len(shape)
    if len(scale) != len(shape):
        return None
    told = (0,) * (len(shape) - len(block)) + block
    blocks = [_block(*each) for each in zip(scale, shape, told, strict=True)]
    return None if None in blocks else tuple(size for size in blocks if size is not None)


def _block(count: int, whole: int, told: int) -> int | None:
    """Return how many of ``whole`` values share each of ``count`` scales; ``told`` is 0 if unknown."""
    if count == 1:
        return whole
    if count == whole:
        return 1
    if told:
        return told if -(-whole // told) == count else None
    return whole // count if count and whole % count == 0 else None
