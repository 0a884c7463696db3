"""The masked tensor that a forward pass sees, and when the last one may be used again.

Masked means zero: ``where``, not a product, so that a masked NaN or infinity is gone too. In evaluation
without gradients the tensor is reused until something it came from has changed.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

# A tensor up to this size is compared whole, a larger one at _SAMPLES places.
_WHOLE = 4096
_SAMPLES = 64


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
    if orig.device.type == "cpu" and orig.dtype in _MULTIPLIED and _plain_memory(orig, mask):
        product = orig * mask.to(orig.dtype)
        if math.isfinite(product.detach().sum(dtype=_MULTIPLIED[orig.dtype]).item()):
            return product
    kept = torch.where(mask.to(torch.bool), orig, torch.zeros((), dtype=orig.dtype, device=orig.device))
    return kept * mask.to(orig.dtype) if soft else kept


# On a CPU a product is several times as fast as `where`, and its sum shows whether anything in it, masked or
# not, is NaN or infinite. On a GPU `where` is as fast, and looking at a sum would make the processor wait.
_MULTIPLIED = {
    torch.float64: torch.float64,
    torch.float32: torch.float32,
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
}


class Witness:
    """What one tensor was at some moment, to tell later whether it still is.

    The version counter sees every in-place edit that autograd sees; an alias of the memory, its layout and
    its type show moves and ``.data = ...``. In-place edits through ``.data`` leave no trace in either, so the
    content is compared as well: whole for a small tensor, at evenly spread places for a large one, where an
    edit of a few elements through ``.data`` can so go unseen. (Not on a GPU, where a comparison would make
    the processor wait.)
    """

    __slots__ = ("_alias", "_copy", "_dtype", "_id", "_version", "_view")

    def __init__(self, t: Tensor) -> None:
        """Take down the state of ``t``."""
        self._id, self._version, self._dtype = id(t), t._version, t.dtype
        # The alias keeps the memory, so that no other tensor can come to lie at the same address.
        self._alias = t.detach()
        self._view = _sample(self._alias)
        self._copy = None if self._view is None else self._view.clone()

    def holds(self, t: Tensor | None) -> bool:
        """Return whether ``t`` is the tensor seen, unchanged."""
        if t is None or id(t) != self._id or t._version != self._version:
            return False
        if t.dtype is not self._dtype or not t.is_set_to(self._alias):
            return False
        return self._view is None or self._copy is None or torch.equal(self._view, self._copy)


def _sample(t: Tensor) -> Tensor | None:
    if t.device.type != "cpu" or t.numel() == 0:
        return None
    span = min(t.numel(), t.untyped_storage().nbytes() // t.element_size() - t.storage_offset())
    if t.numel() <= _WHOLE or span < _SAMPLES:
        return t
    # Read the memory itself: the order of the elements does not matter, and any layout can be sampled.
    return t.as_strided((_SAMPLES,), (span // _SAMPLES,))


class Kept(NamedTuple):
    """A masked tensor that may be used again, and what it was made from."""

    product: Tensor
    version: int
    inference: bool
    orig: Witness
    mask: Witness

    def serves(self, orig: Tensor | None, mask: Tensor | None) -> bool:
        """Return whether the tensor is what masking ``orig`` by ``mask`` would give now.

        Every forward pass asks, so nothing is asked again that cannot have changed since :func:`keep`.
        """
        return (
            not torch.is_grad_enabled()
            and self.inference == torch.is_inference_mode_enabled()
            and (self.inference or self.version == self.product._version)
            and not torch._C._get_tracing_state()
            and self.orig.holds(orig)
            and self.mask.holds(mask)
        )


def keep(module: Module, product: Tensor, orig: Tensor, mask: Tensor) -> Kept | None:
    """Return a record of ``product`` if the next forward pass of ``module`` may use it again, or None."""
    if module.training or not reusable(orig, mask):
        return None
    # Tensors made for inference do not count their edits.
    inference = product.is_inference()
    return Kept(product, 0 if inference else product._version, inference, Witness(orig), Witness(mask))


def reusable(orig: Tensor, mask: Tensor) -> bool:
    """Return whether a product of these two can be trusted later: plain tensors, and no gradients."""
    if torch.is_grad_enabled() or orig.is_inference() or mask.is_inference():
        return False
    return _plain_memory(orig, mask)


_PLAIN = (Tensor, torch.nn.Parameter, torch.nn.Buffer)


def _plain_memory(*tensors: Tensor) -> bool:
    """Return whether one may look at the values: not while tracing, and not in batched or fake tensors."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state():
        return False
    return all(type(t) in _PLAIN and _addressable(t) for t in tensors)


def _addressable(t: Tensor) -> bool:
    try:
        return t.data_ptr() != 0
    except RuntimeError:
        return False
