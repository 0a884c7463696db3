"""One exploration of one model: its tensors, previews with cached rankings, steps, and held-out accuracy.

The user's model is read, never written: steps are masks beside it, accuracy is measured on a copy with the
pruned tensors passed in.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from prunescope.analysis import Accuracy, Twin
from prunescope.errors import RequestError
from prunescope.history import History, Step, Variant
from prunescope.plans import Plans
from prunescope.preview import (
    ChannelNorms,
    Preview,
    count_true,
    make_preview,
    rank_tensor,
    rank_together,
    tensor_norms,
)
from prunescope.prune import Ranking
from prunescope.sources import Source
from prunescope.spec import METHODS, PruneSpec, Resolved, resolve
from prunescope.tensor import PrunableTensor

MOST_PREVIEWS = 3
"""Previews whose accuracy is remembered: what is shown, and the two that may be compared beside it."""


class Session:
    """One exploration of one model.

    Args:
        source: The model, and its held-out data if it has any.

    Raises:
        RequestError: The model has nothing to prune, or lazy parameters.

    Example:
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> session = Session(module_source(nn.Linear(4, 3)))
        >>> session.preview(session.resolve(session.first_spec)).pruned_units
        4

    Attributes:
        source: The model and its data.
        history: The steps, and how many of them are carried out.
        plans: Histories kept under names.
        parameters: How many numbers the model's parameters hold.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.history = History()
        self.plans = Plans()
        self._weights = source.weights()
        self.parameters = self._weights.parameters
        self._stepped: dict[str, tuple[object, PrunableTensor]] = {}
        self._rankings: dict[int, tuple[object, Ranking]] = {}
        self._norms: dict[int, tuple[object, ChannelNorms]] = {}
        self._findings: tuple[object, dict[Hashable, Any]] = (None, {})
        self._twin: tuple[object, Twin] | None = None
        self._accuracies: dict[object, Accuracy] = {}
        self._measured_state: object = None

    @property
    def tensors(self) -> Mapping[str, PrunableTensor]:
        """Return what can be pruned, by full name, as the model holds it: without the steps."""
        return self._weights.tensors

    @property
    def first_spec(self) -> PruneSpec:
        """Return the spec an exploration of this model opens with."""
        return PruneSpec(layer=self.source.layer or next(iter(self.tensors)))

    def tensor(self, layer: object) -> PrunableTensor:
        """Return the tensor ``layer`` names, as it is in the model now and with the steps carried out.

        Raises:
            RequestError: ``layer`` names nothing that can be pruned.
        """
        tensor = self._weights.current(layer)
        name, key = tensor.name, self._key(tensor.name)
        if name not in self._stepped or self._stepped[name][0] != key:
            self._stepped[name] = (key, _with_steps(tensor, self.history))
        return self._stepped[name][1]

    def tensor_after(self, layer: object, history: History) -> PrunableTensor:
        """Return the tensor ``layer`` names as it is with the steps of another history carried out.

        Raises:
            RequestError: ``layer`` names nothing that can be pruned.
        """
        return _with_steps(self._weights.current(layer), history)

    def _key(self, name: str) -> tuple[object, ...]:
        """Return what tells the tensor as it is now from what it was: the model's own, and the last step."""
        return (name, self._weights.state(name), self.history.last(name))

    def pool(self) -> list[PrunableTensor]:
        """Return the tensors that pooled methods rank together: all of two axes and more.

        Raises:
            RequestError: They are not in memory, and too many to be read.
        """
        names = [name for name, tensor in self.tensors.items() if len(tensor.shape) > 1] or list(self.tensors)
        self._check_pool(names)
        return [self.tensor(name) for name in names]

    def _check_pool(self, names: list[str]) -> None:
        weights, most = sum(math.prod(self.tensors[name].shape) for name in names), self._weights.largest_pool
        if most is not None and weights > most:
            raise RequestError(
                "method",
                f"`method` that ranks all weights together needs them in memory: at most {most:,}, and this "
                f"checkpoint has {weights:,}. Choose one that prunes a layer at a time.",
            )

    def resolve(
        self, wanted: PruneSpec, asked: frozenset[str] = frozenset(), previous_units: int | None = None
    ) -> Resolved:
        """Return what the model allows of ``wanted``; see `prunescope.spec.resolve`."""
        tensor = self.tensor(wanted.layer)
        wanted = replace(wanted, layer=tensor.name)
        method = METHODS.get(wanted.method) if isinstance(wanted.method, str) else None
        pooled = method is not None and method.pooled
        units = sum(each.units(None) for each in self.pool()) if pooled else None
        return resolve(wanted, tensor, asked=asked, previous_units=previous_units, pool_units=units)

    def preview(self, resolved: Resolved, place: int = 0) -> Preview:
        """Return what ``resolved`` would do. Moving only ``amount`` re-selects from the last ranking.

        Args:
            resolved: What `resolve` returned.
            place: Which of several previews that are looked at together this is: each has a last ranking.

        Raises:
            RequestError: The tensor's scores are not finite.
        """
        spec = resolved.spec
        tensor = self.tensor(spec.layer)
        pool = self.pool() if METHODS[spec.method].pooled else []
        try:
            ranking = self._cached_ranking(spec, tensor, pool, place)
            norms = self._cached_norms(spec, tensor, place)
            return make_preview(resolved, tensor, ranking, norms, pool)
        except ValueError as error:
            reason = str(error).rstrip(".")
            raise RequestError("layer", f"`layer` {tensor.name} cannot be ranked: {reason}.") from error

    def units_up_to(self, preview: Preview, score: float) -> int:
        """Return how many units score at most ``score``: what a threshold there would prune."""
        spec = preview.spec
        pool = self.pool() if preview.method.pooled else []
        return self._cached_ranking(spec, self.tensor(spec.layer), pool).units_up_to(score)

    def forget_rankings(self, place: int) -> None:
        """Free what `preview` keeps for a place that is not looked at any more."""
        self._rankings.pop(place, None)
        self._norms.pop(place, None)

    def _cached_ranking(
        self, spec: PruneSpec, tensor: PrunableTensor, pool: list[PrunableTensor], place: int = 0
    ) -> Ranking:
        used = METHODS[spec.method].uses - {"amount"}
        ranked = tuple(self._key(each.name) for each in pool or [tensor])
        key = (ranked, spec.method, *(getattr(spec, name) for name in sorted(used)))
        if place not in self._rankings or self._rankings[place][0] != key:
            self._rankings.pop(place, None)  # Free the old one before the new one takes memory.
            self._rankings[place] = (key, rank_together(spec, pool) if pool else rank_tensor(spec, tensor))
        return self._rankings[place][1]

    def _cached_norms(self, spec: PruneSpec, tensor: PrunableTensor, place: int) -> ChannelNorms:
        key = (self._key(tensor.name), spec.n, spec.dim)
        if place not in self._norms or self._norms[place][0] != key:
            known = (norms for other, norms in self._norms.values() if other == key)
            self._norms[place] = (key, next(known, None) or tensor_norms(spec, tensor))
        return self._norms[place][1]

    # Steps.

    def apply(self, preview: Preview) -> Step:
        """Carry ``preview`` out: it becomes the next step. Steps that were undone are gone.

        Raises:
            RequestError: The model or the history has changed since ``preview`` was made.
        """
        if self.tensor(preview.tensor.name) is not preview.tensor:
            raise RequestError("steps", "`steps`: the model has changed since this preview. Move a control.")
        step = Step.of(preview)
        measured = self._known_accuracy(preview)
        self.history = self.history.then(step)
        if measured is not None:
            self._accuracies[self.applied.key] = measured
        return step

    def jump(self, position: int) -> None:
        """Go to the place in the history where its first ``position`` steps are carried out.

        Raises:
            RequestError: There are not so many steps.
        """
        most = len(self.history.steps)
        if isinstance(position, bool) or not isinstance(position, int) or not 0 <= position <= most:
            raise RequestError("steps", f"`steps` must be a whole number from 0 to {most}, got {position!r}.")
        self.history = self.history.at(position)

    def undo(self) -> None:
        """Take the last step back.

        Raises:
            RequestError: There is no step to undo.
        """
        if self.history.position == 0:
            raise RequestError("steps", "`steps`: there is nothing to undo.")
        self.jump(self.history.position - 1)

    def redo(self) -> None:
        """Carry the last step that was undone out again.

        Raises:
            RequestError: No step was undone.
        """
        if self.history.position == len(self.history.steps):
            raise RequestError("steps", "`steps`: there is nothing to redo.")
        self.jump(self.history.position + 1)

    def reset(self) -> None:
        """Go back to the model as it was given; redo brings the steps back."""
        self.jump(0)

    # States of the model: as it was given, with the steps, with a preview on top.

    @property
    def applied(self) -> Variant:
        """Return the model with the steps carried out."""
        return Variant(self.history.masks(), self.history.done)

    def with_preview(self, preview: Preview) -> Variant:
        """Return the model with the steps, and ``preview`` carried out on top of them."""
        if preview.pruned_units == 0:
            return self.applied
        return Variant({**self.history.masks(), **preview.masks}, (*self.history.done, preview))

    def variant(self, what: Preview | Variant | None) -> Variant:
        """Return the state of the model that ``what`` stands for; None is the model as it was given."""
        if isinstance(what, Preview):
            return self.with_preview(what)
        return Variant() if what is None else what

    def weights(self, variant: Variant) -> dict[str, Tensor]:
        """Return the masked weight of every tensor that ``variant`` prunes, by plain name; new tensors."""
        return {
            name: torch.where(mask.to(self.tensors[name].weight.device), self.tensors[name].weight, 0)
            for name, mask in variant.masks.items()
        }

    def masks(self, what: Preview | Variant | None = None) -> dict[str, Tensor]:
        """Return all masks of a state of the model by plain name, those it carries of its own included."""
        return {**self._weights.own_masks(), **self.variant(what).masks}

    def pruned_weights(self, what: Preview | Variant | None = None) -> int:
        """Return how many weights are pruned in a state of the model, its own earlier pruning included."""
        return sum(mask.numel() - count_true(mask) for mask in self.masks(what).values())

    def model_sparsity(self, what: Preview | Variant | None = None) -> float:
        """Return the fraction of all the model's parameters that is pruned, in [0, 1].

        Args:
            what: A preview, counted as if it were carried out after the steps; a variant; None counts what
                the model carries of its own.
        """
        return self.pruned_weights(what) / self.parameters

    def accuracy(self, what: Preview | Variant | None = None) -> Accuracy:
        """Return the held-out accuracy; measured once for as long as the model and the state are the same.

        Args:
            what: A preview, measured as if it were carried out after the steps; a variant; None measures
                the model as it was given.

        Raises:
            RequestError: There is no data, or the model cannot be run on it.
        """
        known = self._known_accuracy(what)
        if known is not None:
            return known
        for _ in self.evaluate(what):
            pass
        known = self._known_accuracy(what)
        if known is None:
            raise RequestError("data", "`data` must be given to measure accuracy.")
        return known

    def known_accuracy(self, what: Preview | Variant | None = None) -> Accuracy | None:
        """Return the accuracy of a state of the model if it has been measured, else None."""
        return self._known_accuracy(what)

    def step_accuracies(self) -> dict[Step, Accuracy]:
        """Return, for each step that was measured, the accuracy with it and all before it carried out."""
        if self._measured_state != self._state():
            return {}
        steps = self.history.steps
        known = ((step, self._accuracies.get(steps[: number + 1])) for number, step in enumerate(steps))
        return {step: accuracy for step, accuracy in known if accuracy is not None}

    def _known_accuracy(self, what: Preview | Variant | None) -> Accuracy | None:
        if self._measured_state != self._state():
            return None
        return self._accuracies.get(self.variant(what).key)

    @property
    def findings(self) -> dict[Hashable, Any]:
        """Return where to keep what was found out about the model; empty again once the model has changed."""
        state = self._state()
        if self._findings[0] != state:
            self._findings = (state, {})
        return self._findings[1]

    def _state(self) -> tuple[object, ...]:
        """Return what changes whenever the user's model does."""
        return self._weights.state_of_all()

    def evaluate(self, what: Preview | Variant | None = None) -> Iterator[Accuracy]:
        """Yield the held-out accuracy counted so far, batch by batch; the last one is the whole.

        Args:
            what: A preview, a variant, or None, as for `accuracy`.

        Raises:
            RequestError: The model cannot be run on the data, answers in another form, or changed meanwhile.
        """
        if self.source.data is None or self._known_accuracy(what) is not None:
            return
        if isinstance(what, Preview) and self.tensor(what.tensor.name) is not what.tensor:
            raise _changed()
        variant, start = self.variant(what), self._state()
        for counted in self.twin().evaluate(*self.source.data, self.weights(variant)):
            if self._state() != start:
                raise _changed()
            if counted.total == len(self.source.data[1]):
                self._remember(variant.key, start, counted)
            yield counted

    def _remember(self, key: object, state: object, accuracy: Accuracy) -> None:
        """Keep an accuracy: of every state made of steps, but of the latest previews only: they are large."""
        if self._measured_state != state:
            self._accuracies, self._measured_state = {}, state
        for other in [other for other in self._accuracies if _is_preview(other)][: 1 - MOST_PREVIEWS]:
            del self._accuracies[other]
        self._accuracies[key] = accuracy

    def twin(self) -> Twin:
        """Return a copy of the network as it is now, to run in its place.

        Raises:
            RequestError: The model is a checkpoint, or cannot be copied.
        """
        key = self._state()
        if self._twin is None or self._twin[0] != key:
            self._twin = None  # Free the old one before the new one takes memory.
            self._twin = (key, Twin(self.source.module))
        return self._twin[1]


def _with_steps(tensor: PrunableTensor, history: History) -> PrunableTensor:
    step = history.last(tensor.name)
    if step is None:
        return tensor
    mask = step.masks[tensor.name].to(tensor.weight.device)
    own = tensor.default_mask
    return replace(tensor, default_mask=mask if own is None else mask & own)


def _is_preview(key: object) -> bool:
    return isinstance(key, tuple) and any(isinstance(part, Preview) for part in key)


def _changed() -> RequestError:
    return RequestError("data", "`data` was not evaluated: the model has changed since. Move a control.")
