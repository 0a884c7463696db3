"""Reuse of the masked tensor of the last forward pass: in evaluation, without gradients.

It is reused until its original or mask changes. Torch counts the edits of a tensor, and a tensor
that lies elsewhere has another address. Fused optimizers write without counting: so an original that has a
gradient, which a step would use, is not trusted, nor is what was kept before a pass with gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Module

from prunescope.prune.masking import is_tracing, readable
from prunescope.prune.parameters import MASK, ORIG


class TensorIdentity:
    """A tensor's identity at some moment, to check later whether it has changed.

    Args:
        t: The tensor, on any device.
    """

    __slots__ = ("_address", "_dtype", "_held", "_size", "_stride", "_tensor", "_version")

    def __init__(self, t: Tensor) -> None:
        # An alias keeps the storage, so that nothing else can come to lie at its address.
        self._tensor, self._held = t, t.detach()
        self._address, self._dtype = t.data_ptr(), t.dtype
        self._size, self._stride = t.size(), t.stride()
        # Tensors made for inference do not count their edits.
        self._version = None if t.is_inference() else t._version

    def holds(self, t: Tensor | None) -> bool:
        """Return whether ``t`` is the tensor seen, in the same storage, with no edit counted."""
        return (
            t is self._tensor
            and t.data_ptr() == self._address
            and (self._version is None or t._version == self._version)
            and t.dtype is self._dtype
            and t.stride() == self._stride
            and t.size() == self._size
        )


# How many passes with gradients pruned layers have had. A weight may be shared by several layers: those that
# a training step did not call have to learn of it too.
_passes_with_gradients = [0]


class CachedProduct:
    """A masked tensor that may be reused, and what it was made from.

    Args:
        name: Name of the masked tensor.
        product: The masked tensor.
        orig: Its original.
        mask: Its mask.
    """

    __slots__ = ("_inference", "_mask", "_names", "_orig", "_passes", "_product")

    def __init__(self, name: str, product: Tensor, orig: Tensor, mask: Tensor) -> None:
        self._names = name, name + ORIG, name + MASK
        self._product, self._orig, self._mask = (
            TensorIdentity(product),
            TensorIdentity(orig),
            TensorIdentity(mask),
        )
        self._inference, self._passes = product.is_inference(), _passes_with_gradients[0]

    def serves(self, module: Module) -> bool:
        """Return whether ``module`` has the tensor, and masking would give the same again.

        Every forward pass calls this, so it checks only what can have changed since :func:`keep`.

        Args:
            module: Module whose forward pass comes next.
        """
        name, orig, mask = self._names
        parameter = module._parameters.get(orig)
        return (
            not torch.is_grad_enabled()
            and self._product.holds(module.__dict__.get(name))
            and self._orig.holds(parameter)
            and parameter is not None
            and parameter.grad is None
            and self._mask.holds(module._buffers.get(mask))
            and self._passes == _passes_with_gradients[0]
            and self._inference == torch.is_inference_mode_enabled()
            and not is_tracing()
        )


def keep(module: Module, name: str) -> CachedProduct | None:
    """Return a record of ``module.name`` if the next forward pass may reuse it, or None.

    Args:
        module: Module that has been given its masked tensor.
        name: Name of the tensor.
    """
    if torch.is_grad_enabled():
        _passes_with_gradients[0] += 1
        return None
    orig, mask = module._parameters.get(name + ORIG), module._buffers.get(name + MASK)
    product = module.__dict__.get(name)
    if module.training or product is None or orig is None or mask is None or not _lasting(orig, mask):
        return None
    return CachedProduct(name, product, orig, mask)


def _lasting(orig: Tensor, mask: Tensor) -> bool:
    """Return whether changes of both would be noticed: plain tensors of this process, no pending step."""
    if orig.is_inference() or mask.is_inference() or not readable(orig, mask):
        return False
    if not orig.is_leaf or orig.grad is not None:
        return False
    # Other processes may write to shared memory at any time. CUDA's counts as shared, always.
    return orig.device.type != "cpu" or not (_shared(orig) or _shared(mask))


def _shared(t: Tensor) -> bool:
    return bool(t.untyped_storage().is_shared())
