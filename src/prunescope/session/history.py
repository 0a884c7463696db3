"""The steps of an exploration: an immutable history and a position in it.

A step records what a spec did: the masks it left. Weights are never written, so undoing only moves the
position, and the original remains to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from prunescope.core.preview import Preview
from prunescope.core.spec import PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.session.recovered import Recovered
from prunescope.session.residuals import Silence, keep_all_but
from prunescope.session.together import Together

Asked = PruneSpec | Silence | Together | Recovered
"""The kinds of request a step can hold; all have call, where, told, values, again and apply_to."""


@dataclass(frozen=True, eq=False)
class Step:
    """One pruning that was applied.

    Attributes:
        spec: The request: a pruning, masked entries that silence pruned channels, prunings of many layers as
            one step, or new weights.
        masks: For each tensor it pruned, the boolean mask afterwards, True where it and all earlier steps
            keep.
        units: How many units there were to prune.
        pruned_units: How many of them the step pruned.
        unit_name: What a unit is, in the plural, such as ``"output channels"``.
        share_before: Fraction of those units' tensors that earlier steps had pruned, in [0, 1].
        share_after: The same after this step.
        importance: The importance scores it ranked, by tensor; empty if it ranked the weights.
        parts: The steps it consists of, one per layer; empty for a single step.
        values: New parameters and buffers, by full name without ``_orig``; empty if it gave none.
    """

    spec: Asked
    masks: Mapping[str, Tensor] = field(repr=False)
    units: int
    pruned_units: int
    unit_name: str
    share_before: float
    share_after: float
    importance: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    parts: tuple[Step, ...] = field(default=(), repr=False)
    values: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, preview: Preview) -> Step:
        """Return the step that applies ``preview``."""
        weights = sum(mask.numel() for mask in preview.masks.values())
        return cls(
            spec=preview.spec,
            masks=preview.masks,
            units=preview.units,
            pruned_units=preview.pruned_units,
            unit_name=preview.unit_name,
            share_before=preview.pruned_before / weights,
            share_after=sum(_pruned(mask) for mask in preview.masks.values()) / weights,
            importance=preview.importance,
        )

    @classmethod
    def silencing(cls, asked: Silence, tensors: Sequence[PrunableTensor]) -> Step:
        """Return the step that masks what ``asked`` lists of ``tensors``, in that order.

        Raises:
            RequestError: There are no such entries.
        """
        masks = {t.name: keep_all_but(t, asked.channels[t.name]) for t in tensors}
        entries = sum(mask.numel() for mask in masks.values())
        left = sum(tensor.units(None) for tensor in tensors)
        pruned = sum(_pruned(mask) for mask in masks.values())
        return cls(
            spec=asked,
            masks=masks,
            units=left,
            pruned_units=pruned - (entries - left),
            unit_name=f"entries of {_listed(list(masks))}",
            share_before=(entries - left) / entries,
            share_after=pruned / entries,
        )

    @classmethod
    def together(cls, asked: Together, parts: Sequence[Step], before: History) -> Step:
        """Return the step that applies all of ``parts`` at once, on top of ``before``."""
        masks = {name: mask for part in parts for name, mask in part.masks.items()}
        weights = sum(mask.numel() for mask in masks.values())
        earlier = {name: mask for name, mask in before.masks().items() if name in masks}
        return cls(
            spec=asked,
            masks=masks,
            units=sum(part.units for part in parts),
            pruned_units=sum(part.pruned_units for part in parts),
            unit_name=parts[0].unit_name,
            share_before=sum(map(_pruned, earlier.values())) / weights,
            share_after=sum(map(_pruned, masks.values())) / weights,
            importance={name: values for part in parts for name, values in part.importance.items()},
            parts=tuple(parts),
        )

    @classmethod
    def recovered(cls, asked: Recovered, values: Mapping[str, Tensor]) -> Step:
        """Return the step that gave the model ``values``, and pruned nothing."""
        return cls(asked, {}, 0, 0, "weights", 0.0, 0.0, values=values)

    @property
    def title(self) -> str:
        """What was done, as a function call, such as ``"ln_structured(amount=0.3, n=2, dim=0)"``."""
        return self.spec.call

    @property
    def where(self) -> str:
        """What was pruned: the tensor's name, or how many tensors."""
        return self.spec.where(self.masks)

    @property
    def effect(self) -> str:
        """What it did, in words."""
        return self.spec.told(self)


def _listed(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{len(names)} biases, scales and shifts"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _pruned(mask: Tensor) -> int:
    return mask.numel() - int(mask.count_nonzero())


@dataclass(frozen=True)
class History:
    """Steps, of which the first ``position`` are applied; the others can be redone.

    Immutable: every change returns another history.

    Attributes:
        steps: All steps, oldest first.
        position: How many of them are applied, ``0 <= position <= len(steps)``.

    Example:
        >>> History().at(0).done
        ()
    """

    steps: tuple[Step, ...] = ()
    position: int = 0

    @property
    def done(self) -> tuple[Step, ...]:
        """Return the steps that are applied, oldest first."""
        return self.steps[: self.position]

    def then(self, step: Step) -> History:
        """Return the history with ``step`` applied next; undone steps are dropped."""
        return History((*self.done, step), self.position + 1)

    def at(self, position: int) -> History:
        """Return the history with its first ``position`` steps applied."""
        return replace(self, position=position)

    def last(self, name: str) -> Step | None:
        """Return the last applied step that pruned the tensor ``name`` or gave it new values, or None."""
        return next((step for step in reversed(self.done) if name in step.masks or name in step.values), None)

    def masks(self) -> dict[str, Tensor]:
        """Return the mask of every tensor that the applied steps have pruned."""
        return {name: mask for step in self.done for name, mask in step.masks.items()}

    def values(self) -> dict[str, Tensor]:
        """Return the new value of every parameter and buffer that the applied steps gave one."""
        return {name: value for step in self.done for name, value in step.values.items()}


@dataclass(frozen=True, eq=False)
class Variant:
    """One state of the model, to be measured or exported: masks for some of its tensors.

    Attributes:
        masks: Boolean masks by tensor name, True where kept.
        key: Hashable value that identifies it.
        values: New parameters and buffers by full name without ``_orig``, in place of the model's own.
    """

    masks: Mapping[str, Tensor] = field(default_factory=dict)
    key: object = ()
    values: Mapping[str, Tensor] = field(default_factory=dict)
