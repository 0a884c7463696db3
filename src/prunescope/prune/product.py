"""The masked tensor that a forward pass sees, and when the last one may be used again.

Masked means zero: ``where``, not a product, so that a masked NaN or infinity is gone too. In evaluation
without gradients the tensor is reused until something it came from has changed.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim.optimizer import register_optimizer_step_post_hook

# A tensor up to this size is compared whole; a larger one is seen as _ROWS rows, and no less than _BAND
# elements of it are compared.
_WHOLE = 4096
_ROWS = 64
_BAND = 1024
# Comparing all weights is a few per cent of a forward pass that uses each of them so many times.
_VECTORS = 8192
# Elements compared at a time.
_BLOCK = 1 << 17


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
    if orig.device.type == "cpu" and orig.dtype in _MULTIPLIED and readable(orig, mask):
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

    The version counter sees every in-place edit that autograd sees; an alias of the memory, its address, its
    layout and its type show moves and ``.data = ...``.
    """

    __slots__ = ("_address", "_alias", "_dtype", "_id", "_version")

    def __init__(self, t: Tensor) -> None:
        """Take down the state of ``t``."""
        self._id, self._version, self._dtype = id(t), t._version, t.dtype
        # The alias keeps the memory, so that no other tensor can come to lie at the same address.
        self._alias, self._address = t.detach(), t.data_ptr()

    def holds(self, t: Tensor | None) -> bool:
        """Return whether ``t`` is the tensor seen, and no edit of it has been counted."""
        return (
            t is not None
            and id(t) == self._id
            and t._version == self._version
            and t.dtype is self._dtype
            and t.data_ptr() == self._address
            and t.is_set_to(self._alias)
        )


class Contents:
    """What masking gave, to be compared with what it would give: for edits that nothing counts.

    In-place edits through ``.data``, numpy or another view of the memory leave no trace but the values. A
    small tensor is compared whole. Of a large one, seen as long rows, a band of columns is compared, which
    shows an edit of everything, and moves on each time. The more work a forward pass does for each weight,
    the broader the band, so that it costs a few per cent of the pass: from ``_VECTORS`` vectors of input on
    it is the whole tensor.
    """

    __slots__ = ("_parts", "_place")

    def __init__(self, product: Tensor, orig: Tensor, mask: Tensor) -> None:
        """Look at the memory of three tensors of one shape; all are on the CPU."""
        parts = [t.detach() for t in (orig, mask, product)]
        if all(t.is_contiguous() for t in parts):
            parts = [_rows(t) for t in parts]
        elif orig.dim() < 2:
            parts = [t.unsqueeze(0) for t in parts]
        self._parts, self._place = parts, 0

    def hold(self, inputs: object) -> bool:
        """Return whether no difference is seen before a forward pass on ``inputs``."""
        orig, mask, product = self._parts
        size, length = orig.numel(), orig.shape[1]
        if size <= _WHOLE:
            return torch.equal(orig * mask.to(orig.dtype), product)
        width = int(length * max(_BAND / size, _vectors(inputs) / _VECTORS)) + 1
        start, stop, step = self._place, min(self._place + width, length), length * _BLOCK // size + 1
        self._place = stop % length
        while start < stop:
            end = min(start + step, stop)
            kept = orig[:, start:end] * mask[:, start:end].to(orig.dtype)
            if not torch.equal(kept, product[:, start:end]):
                return False
            start = end
        return True


def _rows(t: Tensor) -> Tensor:
    """Return a view of contiguous ``t`` as long rows, all of it; each runs a little into the next."""
    count = _ROWS if t.numel() > _WHOLE else 1
    step = t.numel() // count
    return t.as_strided((count, t.numel() - (count - 1) * step), (step, 1))


def _vectors(inputs: object) -> int:
    """Return about how many vectors ``inputs`` has, each of which meets every weight."""
    first = inputs[0] if isinstance(inputs, tuple) and inputs else None
    if not isinstance(first, Tensor) or first.dim() < 2:
        return 1
    # Images have their channels in front of their pixels; a sequence has them behind its steps.
    return first.numel() // max(first.shape[1 if first.dim() > 3 else -1], 1)


class Kept(NamedTuple):
    """A masked tensor that may be used again, and what it was made from."""

    product: Tensor
    version: int
    inference: bool
    steps: int
    orig: Witness
    mask: Witness
    contents: Contents | None

    def serves(self, orig: Tensor | None, mask: Tensor | None, inputs: object) -> bool:
        """Return whether the tensor is what masking ``orig`` by ``mask`` would give now.

        Every forward pass asks, so nothing is asked again that cannot have changed since :func:`keep`.

        Args:
            orig: The original as the module has it now.
            mask: The mask as the module has it now.
            inputs: Inputs of the coming forward pass: the larger, the more is compared.
        """
        return (
            not torch.is_grad_enabled()
            and self.steps == _steps[0]
            and self.inference == torch.is_inference_mode_enabled()
            and (self.inference or self.version == self.product._version)
            and not torch._C._get_tracing_state()
            and self.orig.holds(orig)
            and self.mask.holds(mask)
            and (self.contents is None or self.contents.hold(inputs))
        )


def keep(module: Module, product: Tensor, orig: Tensor, mask: Tensor) -> Kept | None:
    """Return a record of ``product`` if the next forward pass of ``module`` may use it again, or None."""
    if module.training or not reusable(orig, mask):
        return None
    # Tensors made for inference do not count their edits.
    inference = product.is_inference()
    version = 0 if inference else product._version
    # On a GPU a comparison would make the processor wait.
    contents = Contents(product, orig, mask) if orig.device.type == "cpu" else None
    return Kept(product, version, inference, _steps[0], Witness(orig), Witness(mask), contents)


# Optimizers that are fused, or that write through ``.data``, are not counted by the tensors they change.
_steps = [0]


def _count_step(*_: object) -> None:
    _steps[0] += 1


register_optimizer_step_post_hook(_count_step)


def reusable(orig: Tensor, mask: Tensor) -> bool:
    """Return whether a product of these two can be trusted later: plain tensors, and no gradients."""
    if torch.is_grad_enabled() or orig.is_inference() or mask.is_inference():
        return False
    if not readable(orig, mask):
        return False
    if orig.device.type != "cpu":
        return True
    # Only what can be compared, and is not shared with processes that may change it at any time.
    return orig.dtype in _MULTIPLIED and not _shared(orig) and not _shared(mask)


def _shared(t: Tensor) -> bool:
    return bool(t.untyped_storage().is_shared())


_PLAIN = (Tensor, torch.nn.Parameter, torch.nn.Buffer)


def readable(*tensors: Tensor) -> bool:
    """Return whether ``tensors`` have values to look at: not while tracing, nor if fake or batched."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state():
        return False
    return all(type(t) in _PLAIN and _addressable(t) for t in tensors)


def _addressable(t: Tensor) -> bool:
    try:
        return t.data_ptr() != 0
    except RuntimeError:
        return False
