"""What a preview prunes besides the layer it shows, where a scope holds many layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prunescope.core.spec import PruneSpec

if TYPE_CHECKING:
    from prunescope.core.preview import Preview


@dataclass(frozen=True, eq=False)
class Reach:
    """What all layers of a scope are asked, and what that comes to.

    Attributes:
        scope: The scope as links and plans write it, such as ``"group:layer1"``.
        where: The scope in words, such as ``"9 layers alike"``.
        title: What it is called as a step.
        layers: Full names of all of them.
        specs: A spec for each layer of which anything goes, in the model's order.
        units: How many units there are in all of them.
        pruned_units: How many of them go.
        pooled: Whether they are ranked together, so that one threshold divides them.
        note: Which layers of the scope are left out since the method cannot prune them, and why; "" if none.
        alone: What the spec would do to the layer shown alone: that layer's part of it.
    """

    scope: str
    where: str
    title: str
    layers: tuple[str, ...]
    specs: tuple[PruneSpec, ...]
    units: int
    pruned_units: int
    pooled: bool
    note: str
    alone: Preview = field(repr=False)
