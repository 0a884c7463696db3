"""Protocols of a pruning method: what attaching and combining rely on.

Methods implement these, so that code that attaches a method need not know the classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor
from torch.nn import Module


class PruningMethod(Protocol):
    """A pruning method, torch's or ours; as a hook it keeps a module's tensor pruned."""

    PRUNING_TYPE: ClassVar[str]

    def __call__(self, module: Module, inputs: Any) -> None:
        """Set the module's masked tensor."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask of ``t``, given the mask from earlier pruning."""
        ...

    def remove(self, module: Module) -> None:
        """Make the pruning of the module's tensor permanent."""


@dataclass(frozen=True)
class Attachment:
    """How a method is attached to a module.

    Attributes:
        after: Names of the parameters that followed the pruned one.
        soft: Whether the mask has values other than 0 and 1.
    """

    after: tuple[str, ...] = ()
    soft: bool = False


class Hook(PruningMethod, Protocol):
    """A pruning method of ours."""

    attachment: Attachment

    def joined_to(self, earlier: PruningMethod) -> Hook:
        """Return one hook for the earlier methods and this one."""
        ...

    def give(self, module: Module) -> None:
        """Set the module's masked tensor, and remember the module."""

    def settle(self) -> None:
        """Drop what is needed to compute a mask but not to keep it."""


class Selecting(PruningMethod, Protocol):
    """A method that prunes the lowest of a ranking and can write the mask directly."""

    def selected(self, t: Tensor, default_mask: Tensor | None) -> Tensor:
        """Return the mask after pruning the lowest of the units that ``default_mask`` leaves."""
        ...
