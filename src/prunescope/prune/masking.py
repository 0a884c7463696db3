"""The masked tensor that a forward pass sees.

Masked means zero: ``where``, not a product, so that a masked NaN or infinity is zero too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from prunescope.prune._kernels.memory import for_one_thread


def masked(orig: Tensor, mask: Tensor, *, soft: bool = False) -> Tensor:
    """Return ``orig`` where ``mask`` is nonzero, and zero elsewhere.

    Args:
        orig: Tensor of any shape and dtype.
        mask: Mask that broadcasts to the shape of ``orig``.
        soft: Whether the mask has values other than 0 and 1, which then scale what is kept.

    Returns:
        Tensor in the dtype of ``orig``; gradients reach ``orig`` where it is kept.

    Example:
        >>> masked(torch.tensor([1.0, float("nan")]), torch.tensor([1.0, 0.0]))
        tensor([1., 0.])
    """
    if orig.device.type == "cpu" and orig.dtype in MULTIPLIED and readable(orig, mask):
        product = orig * mask.to(orig.dtype)
        if math.isfinite(_proof(product.detach())):
            return product
    kept = where_kept(mask.to(torch.bool), orig)
    return kept * mask.to(orig.dtype) if soft else kept


def where_kept(mask: Tensor, t: Tensor) -> Tensor:
    """Return ``t`` where the boolean ``mask`` is True, and zero elsewhere.

    Args:
        mask: Boolean tensor that broadcasts to the shape of ``t``, on its device.
        t: Tensor of any shape and dtype.

    Example:
        >>> where_kept(torch.tensor([True, False]), torch.tensor([1.0, 2.0]))
        tensor([1., 0.])
    """
    try:
        return torch.where(mask, t, torch.zeros((), dtype=t.dtype, device=t.device))
    except RuntimeError:  # Older versions of torch do without it for float8, and for unsigned integers.
        return torch.where(mask, t.detach().view(_BITS[t.itemsize]), 0).view(t.dtype)


_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


# On a CPU a product is several times as fast as `where`, and one number shows whether it may stand for that.
# On a GPU `where` is as fast, and reading a number would force a synchronisation.
MULTIPLIED = {
    torch.float64: torch.float64,
    torch.float32: torch.float32,
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
}


def _proof(product: Tensor) -> float:
    """Return a number that is not finite if NaN or infinity was masked, since that gave NaN.

    The maximum of anything with a NaN in it is NaN. Large tensors are summed instead, which torch does
    faster.
    """
    if for_one_thread(product) and product.is_contiguous():
        return float(product.view(-1).numpy().max(initial=0.0))
    return float(product.sum(dtype=MULTIPLIED[product.dtype]))


def is_soft(mask: Tensor) -> bool:
    """Return whether ``mask`` has values other than 0 and 1; False if its values cannot be read."""
    if mask.dtype == torch.bool or not readable(mask):
        return False
    if mask.device.type == "cpu" and mask.dtype.is_floating_point and not is_float8(mask):
        # Only 0, 1 and infinity are their own squares; a product is many times as fast as two comparisons.
        return not (torch.equal(mask, mask * mask) and math.isfinite(mask.max().item()))
    return not bool(((mask == 0) | (mask == 1)).all())


def is_float8(t: Tensor) -> bool:
    """Return whether ``t`` has a float8 dtype, which converts but has no arithmetic.

    Example:
        >>> is_float8(torch.empty(1, dtype=torch.float8_e5m2)), is_float8(torch.empty(1))
        (True, False)
    """
    return t.dtype.is_floating_point and t.dtype.itemsize == 1


def is_tracing() -> bool:
    """Return whether ``torch.jit.trace`` is recording."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


_PLAIN = (Tensor, torch.nn.Parameter, torch.nn.Buffer)


def readable(*tensors: Tensor) -> bool:
    """Return whether the values of ``tensors`` can be read: not while tracing, nor if fake or batched."""
    if torch.compiler.is_compiling() or is_tracing():
        return False
    return all(type(t) in _PLAIN and _addressable(t) for t in tensors)


def _addressable(t: Tensor) -> bool:
    try:
        return address(t) != 0
    except RuntimeError:
        return False


def address(t: Tensor) -> int:
    """Return the memory address of the values of ``t``.

    Raises:
        RuntimeError: ``t`` has no memory of its own.
    """
    return t.data_ptr()
