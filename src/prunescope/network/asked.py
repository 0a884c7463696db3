"""The request for a sensitivity table: how each layer is pruned, by how much, and which layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from prunescope.core.criteria import WEIGHT
from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS, PruneSpec

AMOUNTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Default amounts of a table."""

HOW = ("method", "n", "dim", "seed", "criterion")
"""Fields that say how a layer is pruned; specs, goals and tables all have them."""


class HasMethod(Protocol):
    """Anything that says how layers are pruned."""

    @property
    def method(self) -> str:
        """Return a key of `prunescope.spec.METHODS`."""


def how(asked: HasMethod) -> dict[str, Any]:
    """Return the fields of a spec that say how layers are pruned, by name.

    Example:
        >>> how(PruneSpec("fc.weight", "ln_structured", n=1))
        {'method': 'ln_structured', 'n': 1, 'dim': 0, 'seed': 0, 'criterion': 'weight'}
    """
    return {name: getattr(asked, name) for name in HOW}


def alone(spec: PruneSpec) -> dict[str, Any]:
    """Return the fields that prune each layer on its own like ``spec``; by magnitude if its method cannot.

    Example:
        >>> alone(PruneSpec("fc.weight", "global_unstructured"))["method"]
        'l1_unstructured'
    """
    row = METHODS[spec.method]
    method = spec.method if row.ranks_a_layer else row.alone or "l1_unstructured"
    return {**how(spec), "method": method, "dim": max(spec.axis, 0)}


@dataclass(frozen=True)
class SensitivitySpec:
    """The request for a sensitivity table; immutable and comparable.

    Attributes:
        method, n, dim, seed, criterion: How each layer is pruned; the method must rank a single layer.
        amounts: Fractions of each layer's units, in (0, 1].
        layers: Full parameter names; None means all tensors with two or more axes.

    Example:
        >>> SensitivitySpec(amounts=[0.5, 0.25]).checked().amounts
        (0.25, 0.5)
    """

    method: str = "l1_unstructured"
    n: int | float | str = 2
    dim: int = 0
    seed: int = 0
    criterion: str = WEIGHT
    amounts: Sequence[float] = AMOUNTS
    layers: Sequence[str] | None = None

    @property
    def spec(self) -> PruneSpec:
        """Return the spec that says how each layer is pruned, without a layer or an amount."""
        return PruneSpec("", amount=0, **how(self))

    def checked(self) -> SensitivitySpec:
        """Return a copy with sorted amounts and with tuples for sequences.

        Raises:
            RequestError: There are no amounts, or one is not in (0, 1].
        """
        names = None if self.layers is None else tuple(self.layers)
        return replace(self, amounts=_checked_amounts(self.amounts), layers=names)


def _checked_amounts(amounts: Sequence[float]) -> tuple[float, ...]:
    try:
        found = sorted({float(amount) for amount in amounts})
    except (TypeError, ValueError):
        found = []
    if not found or not all(0 < amount <= 1 for amount in found):
        raise RequestError("amounts", f"`amounts` must be fractions above 0 and up to 1, got {amounts!r}.")
    return tuple(found)
