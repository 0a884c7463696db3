"""The steps of an exploration: an immutable history and a place in it.

A step is what a spec did: the masks it left behind. Weights are never written, so going back is looking at
another place of the history, and the original is there to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from prunescope.core.criteria import WEIGHT
from prunescope.core.preview import Preview
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.core.text import percent
from prunescope.session.residuals import Silence, keep_all_but


@dataclass(frozen=True, eq=False)
class Step:
    """One pruning that was carried out.

    Attributes:
        spec: What was asked: a pruning, or entries to be masked so that pruned channels are silent.
        masks: For each tensor it pruned, the boolean mask afterwards, True where kept by it and all before.
        units: How many units there were to prune.
        pruned_units: How many of them the step pruned.
        unit_name: What a unit is, in the plural, such as ``"output channels"``.
        share_before: Fraction of those units' tensors that earlier steps had pruned, in [0, 1].
        share_after: The same after this step.
        importance: The scores that it ranked, by tensor; empty where it ranked the weights.
    """

    spec: PruneSpec | Silence
    masks: Mapping[str, Tensor] = field(repr=False)
    units: int
    pruned_units: int
    unit_name: str
    share_before: float
    share_after: float
    importance: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, preview: Preview) -> Step:
        """Return the step that carries ``preview`` out."""
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

    @property
    def title(self) -> str:
        """Return what was done, as code says it, such as ``"ln_structured(amount=0.3, n=2, dim=0)"``."""
        return call_text(self.spec)

    @property
    def where(self) -> str:
        """Return what it was done to: the tensor's name, or how many tensors shared one ranking."""
        pooled = isinstance(self.spec, PruneSpec) and METHODS[self.spec.method].pooled
        return f"{len(self.masks)} tensors" if pooled else self.spec.layer

    @property
    def effect(self) -> str:
        """Return in words what it did; a repeated amount is explained as a share of what was left."""
        if isinstance(self.spec, Silence):
            masked = f"masked {self.pruned_units:,} of {self.units:,} {self.unit_name}"
            return f"{masked}, so that pruned channels put out nothing"
        text = f"pruned {self.pruned_units:,} of {self.units:,} {self.unit_name}"
        if self.share_before == 0:
            return f"{text}; sparsity {percent(self.share_after)}"
        if isinstance(self.spec.amount, float) and not self.spec.by_hand:
            text += f" still kept ({percent(self.spec.amount)} of what was left, not of all)"
        else:
            text += " still kept"
        return f"{text}; sparsity {percent(self.share_before)} → {percent(self.share_after)}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{len(names)} biases, scales and shifts"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def call_text(spec: PruneSpec | Silence) -> str:
    """Return what ``spec`` asks as code says it, without the layer.

    With channels by hand it is a custom mask, and the text says what it started from.

    Example:
        >>> call_text(PruneSpec("fc.weight", "ln_structured", amount=3))
        'ln_structured(amount=3, n=2, dim=0)'
    """
    if isinstance(spec, Silence):
        return "custom_from_mask(mask)"
    row = METHODS[spec.method]
    called = row.called(spec)
    fields = ("amount", *(knob.name for knob in row.knobs))
    values = ", ".join(f"{name}={getattr(called, name)!r}" for name in fields)
    if row.takes_scores and spec.criterion != WEIGHT:
        values += f", importance_scores={spec.criterion}"
    method = f"{spec.method}({values})"
    return f"custom_from_mask: {method}, by hand {spec.by_hand}" if spec.by_hand else method


def _pruned(mask: Tensor) -> int:
    return mask.numel() - int(mask.count_nonzero())


@dataclass(frozen=True)
class History:
    """Steps, of which the first ``position`` are carried out; the others can be redone.

    Immutable: every change returns another history.

    Attributes:
        steps: All steps, oldest first.
        position: How many of them are carried out, ``0 <= position <= len(steps)``.

    Example:
        >>> History().at(0).done
        ()
    """

    steps: tuple[Step, ...] = ()
    position: int = 0

    @property
    def done(self) -> tuple[Step, ...]:
        """Return the steps that are carried out, oldest first."""
        return self.steps[: self.position]

    def then(self, step: Step) -> History:
        """Return the history with ``step`` carried out next; steps that were undone are gone."""
        return History((*self.done, step), self.position + 1)

    def at(self, position: int) -> History:
        """Return the history with its first ``position`` steps carried out."""
        return replace(self, position=position)

    def last(self, name: str) -> Step | None:
        """Return the last step carried out that pruned the tensor ``name``, or None."""
        return next((step for step in reversed(self.done) if name in step.masks), None)

    def masks(self) -> dict[str, Tensor]:
        """Return the mask of every tensor that the steps carried out have pruned."""
        return {name: mask for step in self.done for name, mask in step.masks.items()}


@dataclass(frozen=True, eq=False)
class Variant:
    """One state of the model to be measured or taken home: a mask for some of its tensors.

    Attributes:
        masks: Boolean masks by tensor name, True where kept.
        key: What tells it from any other, hashable.
    """

    masks: Mapping[str, Tensor] = field(default_factory=dict)
    key: object = ()
