"""An interactive visual explorer of neural-network pruning: masks and channel norms, live.

``from prunescope import explore`` opens a model in the explorer. ``import prunescope.prune as prune`` is the
engine alone: a drop-in for ``torch.nn.utils.prune`` that loads neither widgets nor matplotlib.
``sensitivity`` and ``allocate`` work on the whole network, and load neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunescope import figures, prune
    from prunescope.core.errors import RequestError
    from prunescope.explorer import Explorer, explore
    from prunescope.network import allocate, sensitivity
    from prunescope.session import Session

_PLACES = {
    "Explorer": "prunescope.explorer",
    "RequestError": "prunescope.core.errors",
    "Session": "prunescope.session",
    "allocate": "prunescope.network",
    "explore": "prunescope.explorer",
    "sensitivity": "prunescope.network",
}
_ROOMS = ("figures", "prune")

__all__ = ["Explorer", "RequestError", "Session", "allocate", "explore", "figures", "prune", "sensitivity"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded on first use: the engine must not bring the widgets along.
    if name in _ROOMS:
        return import_module(f"prunescope.{name}")
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'prunescope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
