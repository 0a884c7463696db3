"""When the masked tensor of the last forward pass may be used again: in evaluation, without gradients.

It is used until something it came from has changed, and the next pass must not miss that. Torch counts edits
of a tensor, but not those through ``.data``, which is how many write. It does see every write to memory that
is shared by a lazy copy: the writer then moves to memory of its own. So what the product was made from is
copied lazily, which takes neither time nor memory, and a tensor that lies where it lay has not been written
to. Where that cannot be had, values are compared. The product itself is not copied: some layers, such as
LSTMs, ask to write to what they only read, and two threads that do so at once end the process.
"""

import threading

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim.optimizer import register_optimizer_step_post_hook

from prunescope.prune.masking import MULTIPLIED, address, readable
from prunescope.prune.parameters import MASK, ORIG

# A tensor up to this size is compared whole; a larger one is seen as _ROWS rows, and no less than _BAND
# elements of it are compared.
_WHOLE = 4096
_ROWS = 64
_BAND = 1024
# Comparing all weights is a few per cent of a forward pass that uses each of them so many times.
_VECTORS = 8192
# Elements compared at a time.
_BLOCK = 1 << 17


class Seen:
    """A tensor as it was at some moment, to tell later whether it still is.

    Args:
        t: The tensor.
        watched: Whether to see every write to it, if can be.

    Attributes:
        certain: Whether every write is seen; otherwise only those that torch counts are.
    """

    __slots__ = ("_address", "_dtype", "_held", "_size", "_stride", "_tensor", "_version", "certain")

    def __init__(self, t: Tensor, *, watched: bool = True) -> None:
        """Take down the state of ``t``."""
        copied = _lazy_copy(t) if watched else None
        self.certain = copied is not None
        # What is held keeps the memory, so that no other tensor can come to lie at the same address.
        self._held = t.detach() if copied is None else copied
        self._tensor, self._address = t, address(t)
        self._dtype, self._size, self._stride = t.dtype, t.size(), t.stride()
        # Tensors made for inference do not count their edits.
        self._version = None if self.certain or t.is_inference() else t._version

    def holds(self, t: Tensor | None) -> bool:
        """Return whether ``t`` is the tensor seen, and no edit of it is known."""
        return (
            t is self._tensor
            and _address(t) == self._address
            and (self._version is None or t._version == self._version)
            and t.dtype is self._dtype
            and t.stride() == self._stride
            and t.size() == self._size
        )


# The binding itself: every forward pass asks.
_address = torch._C._data_address  # type: ignore[attr-defined]


def _users(t: Tensor) -> int:
    """Return how many know the memory of ``t``, counted in the way of this version of torch."""
    return int(torch._C._storage_Use_Count(t.untyped_storage()._cdata))


_ALONE = _users(torch.empty(1))

# Two threads must not make the first lazy copy of one tensor at the same time.
_copying = threading.Lock()


def _lazy_copy(t: Tensor) -> Tensor | None:
    """Return a copy of ``t`` that shares its memory until either is written to, or None if there is none.

    An array of numpy's that shares the memory would be parted from the tensor by that, so there is none if
    anything but ``t`` knows the memory; nor is there of memory that torch has not allocated.
    """
    if t.device.type != "cpu":
        return None
    with _copying:
        if _users(t) > _ALONE:
            return None
        try:
            return torch._lazy_clone(t)
        except RuntimeError:
            return None


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


class Kept:
    """A masked tensor that may be used again, and what it was made from.

    Args:
        name: Name of the masked tensor.
        product: The masked tensor.
        orig: Its original.
        mask: Its mask.
    """

    __slots__ = ("_contents", "_inference", "_mask", "_names", "_orig", "_product", "_sees_all", "_steps")

    def __init__(self, name: str, product: Tensor, orig: Tensor, mask: Tensor) -> None:
        """Look at all three."""
        self._names = name, name + ORIG, name + MASK
        self._product = Seen(product, watched=False)
        self._orig, self._mask = Seen(orig), Seen(mask)
        self._inference, self._steps = product.is_inference(), _steps[0]
        self._sees_all = self._orig.certain and self._mask.certain
        # On a GPU a comparison would make the processor wait.
        compared = not self._sees_all and orig.device.type == "cpu"
        self._contents = Contents(product, orig, mask) if compared else None

    def serves(self, module: Module, inputs: object) -> bool:
        """Return whether ``module`` has the tensor, and masking would give the same now.

        Every forward pass asks, so nothing is asked again that cannot have changed since :func:`keep`.

        Args:
            module: The module.
            inputs: Inputs of the coming forward pass: the larger, the more is compared where values are.
        """
        name, orig, mask = self._names
        return (
            not torch.is_grad_enabled()
            and self._product.holds(module.__dict__.get(name))
            and self._orig.holds(module._parameters.get(orig))
            and self._mask.holds(module._buffers.get(mask))
            and self._inference == torch.is_inference_mode_enabled()
            and not torch._C._get_tracing_state()
            and (self._sees_all or self._no_edit_seen(inputs))
        )

    def _no_edit_seen(self, inputs: object) -> bool:
        return self._steps == _steps[0] and (self._contents is None or self._contents.hold(inputs))


def keep(module: Module, name: str) -> Kept | None:
    """Return a record of ``module.name`` if the next forward pass may use it again, or None.

    Args:
        module: Module that has been given its masked tensor.
        name: Name of the tensor.
    """
    orig, mask = module._parameters.get(name + ORIG), module._buffers.get(name + MASK)
    product = module.__dict__.get(name)
    if module.training or product is None or orig is None or mask is None or not reusable(orig, mask):
        return None
    return Kept(name, product, orig, mask)


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
    return orig.dtype in MULTIPLIED and not _shared(orig) and not _shared(mask)


def _shared(t: Tensor) -> bool:
    return bool(t.untyped_storage().is_shared())
