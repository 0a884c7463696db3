"""An interactive visual explorer of neural-network pruning: masks and channel norms, live.

``from prunescope import explore`` shows a model under the hand; ``import prunescope.prune as prune`` is the
engine alone, a drop-in for ``torch.nn.utils.prune`` that loads no widgets and no matplotlib. ``sensitivity``
and ``allocate`` are about the whole network, and load none either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunescope.explorer import Explorer, explore
    from prunescope.network import allocate, sensitivity

__all__ = ["Explorer", "allocate", "explore", "sensitivity"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded on first use: the engine must not bring the widgets along.
    if name in ("Explorer", "explore"):
        from prunescope import explorer

        return getattr(explorer, name)
    if name in ("allocate", "sensitivity"):
        from prunescope import network

        return getattr(network, name)
    raise AttributeError(f"module 'prunescope' has no attribute {name!r}")
