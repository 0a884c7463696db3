"""One exploration of one model: its tensors, previews with cached rankings, steps, and held-out accuracy.

The user's model is read, never written: steps are masks beside it, accuracy is measured on a copy with the
pruned tensors passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from prunescope.core.counting import count_true
from prunescope.core.criteria import CRITERIA, WEIGHT, Importance
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview, make_preview, rank, tensor_norms
from prunescope.core.scores import ChannelNorms
from prunescope.core.spec import FIELDS, METHODS, PruneSpec, Resolved, resolve
from prunescope.core.tensor import PrunableTensor
from prunescope.measure import Accuracy, Effect, Known, Measure, Numbers, Twin, evaluated, pruned_copy
from prunescope.prune import Ranking, channel_norms
from prunescope.prune.masking import where_kept
from prunescope.session.history import History, Step, Variant
from prunescope.session.plans import Plans
from prunescope.session.recovered import Recovered
from prunescope.session.residuals import Silence
from prunescope.session.together import Together
from prunescope.sources import Source
from prunescope.sources.scoring import Scoring

_IN_PASSING = 9
"""The place of previews that are carried out at once, without being looked at."""


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
        self._known = Known(lambda: source.module, self._weights.state_of_all)

    @property
    def tensors(self) -> Mapping[str, PrunableTensor]:
        """Return what can be pruned, by full name, as the model holds it: without the steps."""
        return self._weights.tensors

    @property
    def not_prunable(self) -> Mapping[str, str]:
        """Return why each of the other tensors cannot be pruned, by full name."""
        return self._weights.not_prunable

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
        too_many = self._too_many(names)
        if too_many:
            raise RequestError(
                "method",
                f"`method` that ranks all weights together needs them in memory: {too_many}. Choose one that "
                "prunes a layer at a time.",
            )
        return [self.tensor(name) for name in names]

    def largest_weight(self) -> float:
        """Return the largest magnitude in the model; looked for once for as long as the model is the same.

        Raises:
            RequestError: All weights would have to be read, and are too many for that.
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
        """Return that there are too many weights to be read at once, or ""."""
        weights, most = sum(math.prod(self.tensors[name].shape) for name in names), self._weights.largest_pool
        if most is None or weights <= most:
            return ""
        return f"at most {most:,}, and this checkpoint has {weights:,}"

    def resolve(
        self, wanted: PruneSpec, asked: frozenset[str] = frozenset(), previous_units: int | None = None
    ) -> Resolved:
        """Return what the model allows of ``wanted``; see `prunescope.core.spec.resolve`."""
        tensor = self.tensor(wanted.layer)
        wanted = replace(wanted, layer=tensor.name)
        method = METHODS.get(wanted.method) if isinstance(wanted.method, str) else None
        pooled = method is not None and method.pooled
        units = sum(each.units(None) for each in self.pool()) if pooled else None
        resolved = resolve(wanted, tensor, asked=asked, previous_units=previous_units, pool_units=units)
        reason = self.unscored(resolved.spec)
        if not reason:
            return resolved
        if asked & {"criterion"}:
            raise RequestError("criterion", reason)
        notes = {**resolved.notes, "criterion": f"`criterion` is weight again. {reason}"}
        return replace(resolved, spec=replace(resolved.spec, criterion=WEIGHT), notes=notes)

    # Criteria: their scores come from `prunescope.measure.importance`.

    def unscored(self, spec: PruneSpec) -> str:
        """Return why the criterion of ``spec`` has no scores for what it prunes, in a sentence; or "".

        Where they are not computed yet, and could be, there is no reason.
        """
        criterion = CRITERIA[spec.criterion]
        if spec.criterion == WEIGHT or not METHODS[spec.method].takes_scores:
            return ""
        source = self.source
        reason = criterion.why_not(
            runs=isinstance(source.model, nn.Module),
            inputs=source.has_inputs,
            data=source.data is not None or isinstance(source.evaluate, Scoring),
            given=source.importance_scores is not None,
        )
        found = self.scored(spec.criterion)
        if reason or found is None:
            return reason
        pool = self.pool() if METHODS[spec.method].pooled else [self.tensor(spec.layer)]
        scores = (found.get(each.name, "is not scored") for each in pool)
        why = next(
            (
                f"{each.name} {score}"
                for each, score in zip(pool, scores, strict=True)
                if isinstance(score, str)
            ),
            "",
        )
        return f"`criterion` {spec.criterion} has no scores here: {why}." if why else ""

    def scored(self, criterion: str) -> Mapping[str, Importance | str] | None:
        """Return the scores of a criterion by tensor, or why a tensor has none; None if not computed yet."""
        return self.findings.get(("importance", criterion))

    def give_scores(self, criterion: str, scores: Mapping[str, Importance | str]) -> None:
        """Take in the scores of a criterion: by tensor, its scores or why it has none: ``"is not run"``.

        They are forgotten once the model has changed.
        """
        self.findings["importance", criterion] = dict(scores)

    def _scores(self, spec: PruneSpec, tensors: Sequence[PrunableTensor]) -> dict[str, Importance]:
        """Return the scores that ``spec`` ranks; empty where it ranks the weights.

        Raises:
            RequestError: They are not computed yet, or there are none.
        """
        if spec.criterion == WEIGHT or not METHODS[spec.method].takes_scores:
            return {}
        reason, found = self.unscored(spec), self.scored(spec.criterion)
        if reason or found is None:
            waits = f"`criterion` {spec.criterion} waits for its scores: they are not computed yet."
            raise RequestError("criterion", reason or waits)
        return {each.name: score for each in tensors if isinstance(score := found[each.name], Importance)}

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
        importance = self._importance(spec, pool or [tensor])
        try:
            ranking = self._cached_ranking(spec, tensor, pool, place)
            norms = self._cached_norms(spec, tensor, place, importance.get(tensor.name))
            return make_preview(resolved, tensor, ranking, norms, pool, importance)
        except RequestError:  # A sentence of its own, such as that the file has changed.
            raise
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
        used, scores = METHODS[spec.method].uses - {"amount"}, self._scores(spec, pool or [tensor])
        ranked = tuple(self._key(each.name) for each in pool or [tensor])
        key = (ranked, tuple(scores.values()), spec.method, *(getattr(spec, name) for name in sorted(used)))
        if place not in self._rankings or self._rankings[place][0] != key:
            self._rankings.pop(place, None)  # Free the old one before the new one takes memory.
            self._rankings[place] = (
                key,
                rank(spec, pool or [tensor], self._importance(spec, pool or [tensor])),
            )
        return self._rankings[place][1]

    def _cached_norms(
        self, spec: PruneSpec, tensor: PrunableTensor, place: int, scores: Tensor | None
    ) -> ChannelNorms:
        scored = (
            () if scores is None else (spec.criterion, spec.method, *self._scores(spec, [tensor]).values())
        )
        key = (self._key(tensor.name), spec.n, spec.dim, *scored)
        if place not in self._norms or self._norms[place][0] != key:
            known = (norms for other, norms in self._norms.values() if other == key)
            self._norms[place] = (key, next(known, None) or tensor_norms(spec, tensor, scores))
        return self._norms[place][1]

    def _importance(self, spec: PruneSpec, tensors: Sequence[PrunableTensor]) -> dict[str, Tensor]:
        """Return what torch's ``importance_scores=`` takes, by tensor; empty where the weights are ranked."""
        scores, structured = self._scores(spec, tensors), METHODS[spec.method].structured
        found = {}
        for each in tensors if scores else ():
            values = scores[each.name].scores(each.shape, spec.dim, structured=structured)
            # torch gives a structured mask the dtype of the scores, and the weight with it.
            found[each.name] = values.to(each.weight.dtype) if structured else values
        return found

    # Steps.

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Have the history and the plans as they were if what is done meanwhile raises."""
        before = self.history, self.plans
        try:
            yield
        except BaseException:
            self.history, self.plans = before
            raise

    def apply(self, preview: Preview) -> Step:
        """Carry ``preview`` out: it becomes the next step. Steps that were undone are gone.

        Raises:
            RequestError: The model or the history has changed since ``preview`` was made.
        """
        if self.tensor(preview.tensor.name) is not preview.tensor:
            raise RequestError("steps", "`steps`: the model has changed since this preview. Move a control.")
        step = Step.of(preview)
        measured = self.known_accuracy(preview) or self.known_numbers(preview)
        self.history = self.history.then(step)
        if measured is not None:
            self._known.remember(self.applied.key, self._known.state(), measured)
        return step

    def apply_together(self, asked: Together) -> Step:
        """Carry out a spec for each of several layers as one step. Steps that were undone are gone.

        Raises:
            RequestError: One of them cannot be met, or nothing is pruned; the session is as it was.
        """
        before, parts = self.history, []
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
        return step

    def silence(self, asked: Silence) -> Step:
        """Mask entries of biases, scales and shifts as the next step. Steps that were undone are gone.

        Raises:
            RequestError: The model has no such entries, or all of them are masked already.
        """
        step = Step.silencing(asked, [self._vector(name) for name in asked.channels])
        if step.pruned_units == 0:
            raise RequestError("steps", "`steps`: all that is to be masked is masked already.")
        self.history = self.history.then(step)
        return step

    def _vector(self, name: str) -> PrunableTensor:
        """Return the tensor of that very name."""
        if name not in self.tensors:
            raise RequestError("steps", f"`steps`: {name} is not in this model.")
        return self.tensor(name)

    def recover(
        self, asked: Recovered, values: Mapping[str, Tensor], measured: Accuracy | None = None
    ) -> Step:
        """Give the model new weights as the next step; the model itself is not written.

        Args:
            asked: What was done, in words.
            values: New parameters and buffers, by plain name; zero where the steps have pruned.
            measured: Held-out accuracy with them, if it is known.

        Raises:
            RequestError: There are none, or some are not finite.
        """
        bad = next((name for name, value in values.items() if not bool(value.isfinite().all())), None)
        if bad is not None or not values:
            why = f"{bad} would hold NaN or infinity" if bad else "no weight has changed"
            raise RequestError("steps", f"`steps`: the new weights are not kept: {why}.")
        step = Step.recovered(asked, values)
        self.history = self.history.then(step)
        if measured is not None:
            self._known.remember(self.applied.key, self._known.state(), measured)
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
        return Variant(self.history.masks(), self.history.done, self.history.values())

    def with_preview(self, preview: Preview) -> Variant:
        """Return the model with the steps, and ``preview`` carried out on top of them."""
        if preview.pruned_units == 0:
            return self.applied
        masks = {**self.history.masks(), **preview.masks}
        return Variant(masks, (*self.history.done, preview), self.history.values())

    def variant(self, what: Preview | Variant | None) -> Variant:
        """Return the state of the model that ``what`` stands for; None is the model as it was given."""
        if isinstance(what, Preview):
            return self.with_preview(what)
        return Variant() if what is None else what

    def weights(self, variant: Variant) -> dict[str, Tensor]:
        """Return the masked weight of every tensor that ``variant`` prunes, by plain name; new tensors.

        Parameters and buffers that it gives new values are among them.
        """
        masked = {
            name: where_kept(
                mask.to(self.tensors[name].device), variant.values.get(name, self.tensors[name].weight)
            )
            for name, mask in variant.masks.items()
        }
        return {**variant.values, **masked}

    def masks(self, what: Preview | Variant | None = None) -> dict[str, Tensor]:
        """Return all masks of a state of the model by plain name, those it carries of its own included."""
        return {**self._weights.own_masks(), **self.variant(what).masks}

    def pruned_weights(self, what: Preview | Variant | None = None) -> int:
        """Return how many weights are pruned in a state of the model, its own earlier pruning included."""
        return sum(self.pruned_by_tensor(what).values())

    def pruned_by_tensor(self, what: Preview | Variant | None = None) -> dict[str, int]:
        """Return how many weights of each tensor are pruned in a state of the model, by full name."""
        return {name: mask.numel() - count_true(mask) for name, mask in self.masks(what).items()}

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
        known = self.known_accuracy(what)
        if known is not None:
            return known
        for _ in self.evaluate(what):
            pass
        known = self.known_accuracy(what)
        if known is None:
            raise RequestError("data", "`data` must be given to measure accuracy.")
        return known

    def known_accuracy(self, what: Preview | Variant | None = None) -> Accuracy | None:
        """Return the accuracy of a state of the model if it has been measured, else None."""
        return self._known.get(self.variant(what).key, Accuracy)

    def step_accuracies(self) -> dict[Step, Accuracy]:
        """Return, for each step that was measured, the accuracy with it and all before it carried out."""
        return self._of_steps(Accuracy)

    def _of_steps(self, kind: type[Measure]) -> dict[Step, Measure]:
        steps = self.history.steps
        known = self._known.current
        found = ((step, known.get(steps[: number + 1])) for number, step in enumerate(steps))
        return {step: measure for step, measure in found if isinstance(measure, kind)}

    @property
    def findings(self) -> dict[Hashable, Any]:
        """Return where to keep what was found out about the model; empty again once the model has changed."""
        state = self._known.state()
        if self._findings[0] != state:
            self._findings = (state, {})
        return self._findings[1]

    def twin(self) -> Twin:
        """Return a copy of the network as it is now, to run in its place.

        Raises:
            RequestError: The model is a checkpoint, or cannot be copied.
        """
        return self._known.twin()

    def evaluate(self, what: Preview | Variant | None = None) -> Iterator[Accuracy | None]:
        """Yield the held-out accuracy counted so far, batch by batch; the last one is the whole.

        None comes while examples are read, once.

        Args:
            what: A preview, a variant, or None, as for `accuracy`.

        Raises:
            RequestError: The model cannot be run on the data, answers in another form, or changed meanwhile.
        """
        if self.source.data is None or self.known_accuracy(what) is not None:
            return
        self._refuse_old(what)
        variant, start = self.variant(what), self._known.state()
        for _ in self.source.read():
            yield None
        data = self.source.pair
        assert data is not None
        for counted in self.twin().evaluate(*data, self.weights(variant)):
            if self._known.state() != start:
                raise _changed("data")
            if counted.total == len(data[1]):
                self._known.remember(variant.key, start, counted)
            yield counted

    def _refuse_old(self, what: Preview | Variant | None) -> None:
        if isinstance(what, Preview) and self.tensor(what.tensor.name) is not what.tensor:
            raise _changed("data" if self.source.evaluate is None else "evaluate")

    def effect(self, what: Preview | Variant | None = None) -> Effect | None:
        """Return what a state of the model changes in its answers to the data, if both were measured."""
        before, after = self.known_accuracy(), self.known_accuracy(what)
        if self.source.pair is None or before is None or after is None:
            return None
        return Effect(*self.source.pair, before, after, self.source.classes)

    # The person's own measure.

    def known_numbers(self, what: Preview | Variant | None = None) -> Numbers | None:
        """Return what `Source.evaluate` said of a state of the model if it was asked, else None."""
        return self._known.get(self.variant(what).key, Numbers)

    def step_numbers(self) -> dict[Step, Numbers]:
        """Return, for each step of which it was asked, what `Source.evaluate` said with all before it."""
        return self._of_steps(Numbers)

    def question(self, what: Preview | Variant | None = None) -> Question:
        """Return a call of `Source.evaluate` on a copy of the model in a state of it.

        Raises:
            RequestError: There is no such function, the model cannot be copied, or has changed.
        """
        evaluate = self.source.evaluate
        if evaluate is None:
            raise RequestError("evaluate", "`evaluate` must be given to be asked.")
        self._refuse_old(what)
        variant, start = self.variant(what), self._known.state()
        try:
            model = pruned_copy(self.source.module, variant.masks, variant.values)
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise RequestError("evaluate", f"`evaluate` cannot be asked: {reason}") from error

        def keep(numbers: Numbers) -> None:
            if self._known.state() != start:
                raise _changed("evaluate")
            self._known.remember(variant.key, start, numbers)

        return Question(partial(evaluated, evaluate, model), keep)


@dataclass(frozen=True)
class Question:
    """What a person's function is asked.

    Attributes:
        ask: Calls it and returns its answer, or raises a `RequestError`; may be run in any thread.
        keep: Takes the answer down, in the thread of the session; raises if the model has changed since.
    """

    ask: Callable[[], Numbers]
    keep: Callable[[Numbers], None]


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
    """Return the largest magnitude in ``tensor``, which is read once and not copied."""
    return float(channel_norms(tensor.weight, n=math.inf, dim=0).max())


def _changed(blame: str) -> RequestError:
    return RequestError(blame, f"`{blame}` was not evaluated: the model has changed since. Move a control.")
