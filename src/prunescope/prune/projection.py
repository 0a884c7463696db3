"""The output projection of attention: a layer whose ``forward`` is never called.

``nn.MultiheadAttention`` reads ``out_proj.weight`` itself, so no hook on ``out_proj`` ever fires. While
such a layer is pruned its class is :class:`MaskedProjection`, which computes the masked tensor each time
it is read: never stale, with gradients of its own each time.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import Module, Parameter
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from prunescope.prune.masking import masked
from prunescope.prune.parameters import MASK, ORIG


class MaskedProjection(NonDynamicallyQuantizableLinear):
    """A linear layer whose masked tensors are computed on access."""

    def __getattr__(self, name: str) -> Any:
        """Return the masked tensor for a pruned name; anything else as usual."""
        parameters = self.__dict__.get("_parameters", {})
        orig, mask = parameters.get(name + ORIG), self.__dict__.get("_buffers", {}).get(name + MASK)
        if orig is None or mask is None:
            return super().__getattr__(name)
        return masked(orig, mask)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; the masked tensor is computed, so a new value for it is not stored."""
        computed = isinstance(value, Tensor) and not isinstance(value, Parameter)
        if not (computed and name + ORIG in self._parameters):
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        """Delete an attribute; the masked tensor is not stored, so there is nothing to delete."""
        if name in self._parameters or name + ORIG not in self._parameters:
            super().__delattr__(name)


def make_effective(module: Module, name: str) -> None:
    """Make the pruned ``module.name`` computed on access if no hook would ever fire."""
    if type(module) is NonDynamicallyQuantizableLinear:
        module.__dict__.pop(name, None)
        module.__class__ = MaskedProjection


def make_plain(module: Module) -> None:
    """Restore the layer's class once nothing of it is pruned."""
    if type(module) is MaskedProjection and not any(n.endswith(ORIG) for n in module._parameters):
        module.__class__ = NonDynamicallyQuantizableLinear  # type: ignore[assignment]
