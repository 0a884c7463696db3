"""A session with one model: its tensors, previews with cached rankings, and steps.

The user's model is read, never written: steps are masks stored separately. The metric of each state is
measured by `prunescope.measure` and cached here.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

from torch import Tensor

from prunescope.core.counting import count_true
from prunescope.core.criteria import WEIGHT
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview, make_preview
from prunescope.core.resolve import Resolved, resolve
from prunescope.core.spec import FIELDS, METHODS, PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.prune import Ranking, channel_norms
from prunescope.prune.masking import where_kept
from prunescope.session.criteria import Criteria
from prunescope.session.findings import Findings
from prunescope.session.history import History, Step, Variant
from prunescope.session.plans import Plans
from prunescope.session.rankings import Rankings
from prunescope.session.recovered import Recovered
from prunescope.session.residuals import Silence
from prunescope.session.together import Together
from prunescope.sources import Source

_IN_PASSING = 9
"""The cache slot for previews that are applied immediately, without being displayed."""


class Session:
    """A session with one model: previews, steps, plans and cached findings.

    Args:
        source: The model, and its held-out data if any.

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
        history: The steps, and how many of them are applied.
        plans: Histories saved under names.
        parameters: Total number of elements in the model's parameters.
        criteria: The importance scores that were computed or given.
        rankings: The cached rankings of what is shown and compared.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.history = History()
        self.plans = Plans()
        self._weights = source.weights()
        self.parameters = self._weights.parameters
        self._stepped: dict[str, tuple[object, PrunableTensor]] = {}
        self._findings = Findings(self._weights.state_of_all)
        self.criteria = Criteria(source, self._findings, self._pool)
        self.rankings = Rankings(self._key, self.criteria)

    @property
    def tensors(self) -> Mapping[str, PrunableTensor]:
        """Return the prunable tensors by full name, as in the model: without the steps."""
        return self._weights.tensors

    @property
    def not_prunable(self) -> Mapping[str, str]:
        """Return why each of the other tensors cannot be pruned, by full name."""
        return self._weights.not_prunable

    @property
    def first_spec(self) -> PruneSpec:
        """Return the spec that the explorer opens this model with."""
        return PruneSpec(layer=self.source.layer or next(iter(self.tensors)))

    def tensor(self, layer: object) -> PrunableTensor:
        """Return the tensor ``layer`` names, as it is in the model now and with the steps applied.

        Raises:
            RequestError: ``layer`` names nothing that can be pruned.
        """
        tensor = self._weights.current(layer)
        name, key = tensor.name, self._key(tensor.name)
        if name not in self._stepped or self._stepped[name][0] != key:
            self._stepped[name] = (key, _with_steps(tensor, self.history))
        return self._stepped[name][1]

    def tensor_after(self, layer: object, history: History) -> PrunableTensor:
        """Return the tensor ``layer`` names as it is with the steps of another history applied.

        Raises:
            RequestError: ``layer`` names nothing that can be pruned.
        """
        return _with_steps(self._weights.current(layer), history)

    def _key(self, name: str) -> tuple[object, ...]:
        """Return a key that changes whenever the tensor does: its state in the model, and its last step."""
        return (name, self._weights.state(name), self.history.last(name))

    def pool(self) -> list[PrunableTensor]:
        """Return the tensors that pooled methods rank together: all with two or more axes.

        Raises:
            RequestError: They are not in memory, and have too many weights to be read.
        """
        return [self.tensor(name) for name in self.check_in_memory("method")]

    def check_in_memory(self, blame: str) -> list[str]:
        """Check that all tensors with two or more axes can be ranked together, and return their names.

        Args:
            blame: The field of the request to name in the error.

        Raises:
            RequestError: They are not in memory, and have too many weights to be read.
        """
        names = [name for name, tensor in self.tensors.items() if len(tensor.shape) > 1] or list(self.tensors)
        too_many = self._too_many(names)
        if too_many:
            raise RequestError(
                blame,
                f"`{blame}` that ranks all weights together needs them in memory: {too_many}. Choose one "
                "that prunes a layer at a time.",
            )
        return names

    def largest_weight(self) -> float:
        """Return the largest magnitude in the model; computed once until the model changes.

        Raises:
            RequestError: All weights would have to be read, and there are too many.
        """
        too_many = self._too_many(self.tensors)
        if too_many:
            raise RequestError(
                "view", f"`view` with colours of the whole model reads all of its weights: {too_many}."
            )
        if "largest weight" not in self.findings:
            filled = (tensor for tensor in self.tensors.values() if math.prod(tensor.shape))
            self.findings["largest weight"] = max(map(_largest, filled))
        return cast(float, self.findings["largest weight"])

    def _too_many(self, names: Iterable[str]) -> str:
        """Return why the weights cannot all be read at once, or ""."""
        weights, most = sum(math.prod(self.tensors[name].shape) for name in names), self._weights.largest_pool
        if most is None or weights <= most:
            return ""
        return f"at most {most:,}, and this checkpoint has {weights:,}"

    def resolve(
        self,
        wanted: PruneSpec,
        asked: frozenset[str] = frozenset(),
        previous_units: int | None = None,
        pool_units: int | None = None,
    ) -> Resolved:
        """Resolve ``wanted`` against the model; see `prunescope.core.resolve.resolve`."""
        tensor = self.tensor(wanted.layer)
        wanted = replace(wanted, layer=tensor.name)
        method = METHODS.get(wanted.method) if isinstance(wanted.method, str) else None
        pooled = method is not None and method.pooled
        units = sum(each.units(None) for each in self.pool()) if pooled else pool_units
        resolved = resolve(wanted, tensor, asked=asked, previous_units=previous_units, pool_units=units)
        reason = self.criteria.why_not(resolved.spec)
        if not reason:
            return resolved
        if asked & {"criterion"}:
            raise RequestError("criterion", reason)
        notes = {**resolved.notes, "criterion": f"`criterion` was reset to weight. {reason}"}
        return replace(resolved, spec=replace(resolved.spec, criterion=WEIGHT), notes=notes)

    def preview(self, resolved: Resolved, place: int = 0) -> Preview:
        """Preview what ``resolved`` would do. If only ``amount`` changes, the last ranking is reused.

        Args:
            resolved: What `resolve` returned.
            place: Cache slot, for previews that are displayed together; each keeps its last ranking.

        Raises:
            RequestError: The tensor's scores are not finite.
        """
        spec = resolved.spec
        tensor, ranked = self.tensor(spec.layer), self._pool(spec)
        importance = self.criteria.importance(spec, ranked)
        try:
            ranking = self.rankings.ranking(spec, ranked, place)
            norms = self.rankings.norms(spec, tensor, place, importance.get(tensor.name))
            pool = ranked if METHODS[spec.method].pooled else []
            return make_preview(resolved, tensor, ranking, norms, pool, importance)
        except RequestError:  # Already a clear message, such as that the file has changed.
            raise
        except ValueError as error:
            reason = str(error).rstrip(".")
            raise RequestError("layer", f"`layer` {tensor.name} cannot be ranked: {reason}.") from error

    def units_up_to(self, preview: Preview, score: float) -> int:
        """Return how many units a threshold at ``score`` prunes; 0 for methods without one threshold."""
        ranking = self.rankings.ranking(preview.spec, self._pool(preview.spec))
        return ranking.units_up_to(score) if isinstance(ranking, Ranking) else 0

    def forget_rankings(self, place: int) -> None:
        """Free what `preview` caches for a slot that is no longer shown."""
        self.rankings.forget(place)

    def _pool(self, spec: PruneSpec) -> list[PrunableTensor]:
        """Return the tensors whose units ``spec`` ranks together."""
        return self.pool() if METHODS[spec.method].pooled else [self.tensor(spec.layer)]

    # Steps.

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Restore the history and the plans if the block raises."""
        before = self.history, self.plans
        try:
            yield
        except BaseException:
            self.history, self.plans = before
            raise

    def apply(self, preview: Preview) -> Step:
        """Apply ``preview`` as the next step; undone steps are dropped.

        Raises:
            RequestError: The model or the history has changed since ``preview`` was made.
        """
        if self.is_old(preview):
            raise RequestError("steps", "`steps`: the model has changed since this preview. Move a control.")
        step = Step.of(preview)
        worth = self.worth(preview)
        self.history = self.history.then(step)
        if worth is not None:
            self.keep_worth(self.applied, worth)
        return step

    def apply_together(self, asked: Together, shown: Preview | None = None) -> Step:
        """Apply a spec to each of several layers as one step; undone steps are dropped.

        Args:
            asked: The specs of the layers.
            shown: Its preview, if there was one: the step inherits what was measured of it.

        Raises:
            RequestError: A spec cannot be applied, or nothing is pruned; the session is left unchanged.
        """
        before, parts = self.history, []
        worth = None if shown is None else self.worth(shown)
        with self.all_or_nothing():
            for spec in asked.specs:
                preview = self.preview(self.resolve(spec, frozenset(FIELDS)), _IN_PASSING)
                parts.append(self.apply(preview))
        self.forget_rankings(_IN_PASSING)
        if not any(part.pruned_units for part in parts):
            self.history = before
            raise RequestError("steps", "`steps`: nothing is pruned by this allocation.")
        step = Step.together(asked, parts, before)
        self.history = before.then(step)
        if worth is not None:
            self.keep_worth(self.applied, worth)
        return step

    def silence(self, asked: Silence) -> Step:
        """Mask entries of biases, scales and shifts as the next step; undone steps are dropped.

        Raises:
            RequestError: The model has no such entries, or all of them are masked already.
        """
        step = Step.silencing(asked, [self._vector(name) for name in asked.channels])
        if step.pruned_units == 0:
            raise RequestError("steps", "`steps`: all that is to be masked is masked already.")
        self.history = self.history.then(step)
        return step

    def _vector(self, name: str) -> PrunableTensor:
        """Return the tensor with exactly that name."""
        if name not in self.tensors:
            raise RequestError("steps", f"`steps`: {name} is not in this model.")
        return self.tensor(name)

    def recover(self, asked: Recovered, values: Mapping[str, Tensor], worth: Any | None = None) -> Step:
        """Give the model new weights as the next step; the model itself is not written.

        Args:
            asked: The description of what was done.
            values: New parameters and buffers, by full name without ``_orig``; zero where the steps have
                pruned.
            worth: The metric measured with the new weights, if known.

        Raises:
            RequestError: There are no values, or some are not finite.
        """
        bad = next((name for name, value in values.items() if not bool(value.isfinite().all())), None)
        if bad is not None or not values:
            why = f"{bad} would hold NaN or infinity" if bad else "no weight has changed"
            raise RequestError("steps", f"`steps`: the new weights are not kept: {why}.")
        step = Step.recovered(asked, values)
        self.history = self.history.then(step)
        if worth is not None:
            self.keep_worth(self.applied, worth)
        return step

    def jump(self, position: int) -> None:
        """Move to the point in the history where its first ``position`` steps are applied.

        Raises:
            RequestError: ``position`` is not between 0 and the number of steps.
        """
        most = len(self.history.steps)
        if isinstance(position, bool) or not isinstance(position, int) or not 0 <= position <= most:
            raise RequestError("steps", f"`steps` must be a whole number from 0 to {most}, got {position!r}.")
        self.history = self.history.at(position)

    def undo(self) -> None:
        """Undo the last step.

        Raises:
            RequestError: There is no step to undo.
        """
        if self.history.position == 0:
            raise RequestError("steps", "`steps`: there is nothing to undo.")
        self.jump(self.history.position - 1)

    def redo(self) -> None:
        """Redo the last undone step.

        Raises:
            RequestError: No step was undone.
        """
        if self.history.position == len(self.history.steps):
            raise RequestError("steps", "`steps`: there is nothing to redo.")
        self.jump(self.history.position + 1)

    def reset(self) -> None:
        """Undo all steps; redo brings them back."""
        self.jump(0)

    # States of the model: as it was given, with the steps, with a preview on top.

    @property
    def applied(self) -> Variant:
        """Return the model with the steps applied."""
        return Variant(self.history.masks(), self.history.done, self.history.values())

    def with_preview(self, preview: Preview) -> Variant:
        """Return the model with the steps, and ``preview`` applied on top of them."""
        if not preview.prunes:
            return self.applied
        masks = {**self.history.masks(), **preview.masks}
        return Variant(masks, (*self.history.done, preview), self.history.values())

    def variant(self, what: Preview | Variant | None) -> Variant:
        """Return the state of the model that ``what`` stands for; None is the original model."""
        if isinstance(what, Preview):
            return self.with_preview(what)
        return Variant() if what is None else what

    def weights(self, variant: Variant) -> dict[str, Tensor]:
        """Return the masked weights that ``variant`` prunes, as new tensors, by full name without ``_orig``.

        Parameters and buffers with new values are included.
        """
        masked = {
            name: where_kept(
                mask.to(self.tensors[name].device), variant.values.get(name, self.tensors[name].weight)
            )
            for name, mask in variant.masks.items()
        }
        return {**variant.values, **masked}

    def masks(self, what: Preview | Variant | None = None) -> dict[str, Tensor]:
        """Return all masks of a state of the model, its own included, by full name without ``_orig``."""
        return {**self._weights.own_masks(), **self.variant(what).masks}

    def pruned_weights(self, what: Preview | Variant | None = None) -> int:
        """Return how many weights are pruned in a state of the model, its own earlier pruning included."""
        return sum(self.pruned_by_tensor(what).values())

    def pruned_by_tensor(self, what: Preview | Variant | None = None) -> dict[str, int]:
        """Return how many weights of each tensor are pruned in a state of the model, by full name."""
        return {name: mask.numel() - count_true(mask) for name, mask in self.masks(what).items()}

    def model_sparsity(self, what: Preview | Variant | None = None) -> float:
        """Return the sparsity of the whole model: the pruned fraction of all its parameters, in [0, 1].

        Args:
            what: A preview, counted as if applied after the steps; a variant; None counts only the model's
                own masks.
        """
        return self.pruned_weights(what) / self.parameters

    # Findings: cached here, measured by `prunescope.measure`, one layer above.

    @property
    def findings(self) -> dict[Hashable, Any]:
        """Return a cache of findings about the model, emptied once the model changes."""
        return self._findings.of_model

    def worth(self, what: Preview | Variant | None = None) -> Any | None:
        """Return what was measured of a state of the current model, or None."""
        return self._findings.of_states.get(self.variant(what).key)

    def worth_of_steps(self) -> dict[Step, Any]:
        """Return what was measured after each step, with all earlier ones applied."""
        steps, known = self.history.steps, self._findings.of_states
        found = ((step, known.get(steps[: number + 1])) for number, step in enumerate(steps))
        return {step: worth for step, worth in found if worth is not None}

    def keep_worth(self, what: Preview | Variant | None, worth: Any) -> None:
        """Cache what was measured of a state of the model, until the model changes."""
        self._findings.keep(self.variant(what).key, worth)

    def model_state(self) -> object:
        """Return a value that changes whenever anything that affects the model's output does."""
        return self._findings.state()

    def is_old(self, what: Preview | Variant | None) -> bool:
        """Return whether ``what`` is a preview of a tensor that has changed since."""
        return isinstance(what, Preview) and self.tensor(what.tensor.name) is not what.tensor


def _with_steps(tensor: PrunableTensor, history: History) -> PrunableTensor:
    value = history.values().get(tensor.name)
    if value is not None:
        tensor = replace(tensor, data=value)
    mask = history.masks().get(tensor.name)
    if mask is None:
        return tensor
    mask, own = mask.to(tensor.device), tensor.default_mask
    return replace(tensor, default_mask=mask if own is None else mask & own)


def _largest(tensor: PrunableTensor) -> float:
    """Return the largest magnitude in ``tensor``, reading it once without a copy."""
    return float(channel_norms(tensor.weight, n=math.inf, dim=0).max())
