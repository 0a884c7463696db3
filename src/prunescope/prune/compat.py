"""Compatibility with ``torch.nn.utils.prune``: each module recognises the other's hooks.

Our classes are registered as virtual subclasses of torch's, so ``isinstance(hook, torch's class)`` holds
for ours: torch's ``is_pruned``, ``remove`` and further pruning work on a module that we pruned. No
function of torch's module is used and none of its classes is inherited from.
"""

from __future__ import annotations

from typing import TypeGuard, TypeVar, cast

from torch.nn.utils import prune as torch_prune

from prunescope.prune.protocols import PruningMethod

_Class = TypeVar("_Class", bound=type)

_COUNTERPARTS: dict[type, type] = {}


def known_to_torch(cls: _Class) -> _Class:
    """Register ``cls`` under torch's class of the same name, and return it."""
    theirs = getattr(torch_prune, cls.__name__)
    theirs.register(cls)
    _COUNTERPARTS[cls] = theirs
    return cls


def counts_as(subclass: type, cls: type) -> bool:
    """Return whether ``subclass`` inherits from torch's counterpart of our ``cls``."""
    return _COUNTERPARTS.get(cls) in subclass.__mro__


def is_method(hook: object) -> TypeGuard[PruningMethod]:
    """Return whether ``hook`` is a pruning method, torch's or ours."""
    return isinstance(hook, torch_prune.BasePruningMethod)


def tensor_name(method: object) -> str | None:
    """Return the name of the tensor that ``method`` has pruned; torch's functions ask by this attribute."""
    return cast("str | None", getattr(method, "_tensor_name", None))


def name_tensor(method: object, name: str) -> None:
    """Record in ``method`` which tensor it prunes, where torch's functions look for it."""
    method._tensor_name = name  # type: ignore[attr-defined]
