"""The models on offer, and the snapshot that answers a request: the explorer's logic, without widgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from prunescope.core.criteria import CRITERIA
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.resolve import Resolved
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.explorer.live.network import NetworkShown
from prunescope.explorer.live.recovery import USUAL, RecoveryShown
from prunescope.explorer.live.staircase import StaircaseShown
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.export import FILES
from prunescope.export.files import files_of
from prunescope.figures import View
from prunescope.measure import Costs
from prunescope.measure.compare import Comparing, chosen, compare
from prunescope.measure.states import known_of_steps, metric_before
from prunescope.network import GoalSpec, Scope
from prunescope.network.asked import HOW, alone
from prunescope.network.scoped import pool_units, scoped_preview
from prunescope.network.scopes import members
from prunescope.recover import Recipe, outcomes, reasons
from prunescope.session import Session
from prunescope.sources import Source
from prunescope.sources.units import Units, find_units


@dataclass(frozen=True)
class Entry:
    """One model on offer: its ``title``, and ``open``, called once, when it is first needed."""

    title: str
    open: Callable[[], Source]


class Catalogue:
    """The models on offer, each with its session once it has been opened.

    Args:
        entries: The models by key; at least one, the first is shown first.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = dict(entries)
        self._sessions: dict[str, Session] = {}

    @property
    def titles(self) -> dict[str, str]:
        """Title of each model by key."""
        return {key: entry.title for key, entry in self.entries.items()}

    def add(self, key: str, entry: Entry) -> None:
        """Add a model.

        Raises:
            RequestError: It cannot be explored; it is then not added.
        """
        self._sessions[key] = Session(entry.open())
        self.entries[key] = entry

    def session(self, model: object) -> Session:
        """Return the session of ``model``, opening it if needed.

        Raises:
            RequestError: No model has that key, or the model cannot be explored.
        """
        if not isinstance(model, str) or model not in self.entries:
            raise RequestError("model", f"`model` must be one of {', '.join(self.entries)}, got {model!r}.")
        if model not in self._sessions:
            self._sessions[model] = Session(self.entries[model].open())
        return self._sessions[model]

    def put(self, model: str, session: Session) -> None:
        """Use ``session`` for ``model`` from now on."""
        self._sessions[model] = session

    def first(self, changes: Mapping[str, Any]) -> Snapshot:
        """Return the first snapshot: the first model with its default spec and ``changes``.

        Unless a layer is requested, it shows the first one that can be ranked.

        Raises:
            RequestError: The model cannot be explored, or a change is invalid.
        """
        model = next(iter(self.entries))
        session = self.session(model)
        others = () if "layer" in changes else session.tensors
        problems = []
        for layer in (session.first_spec.layer, *others):
            wanted = replace(session.first_spec, **{"layer": layer, **changes})
            try:
                found = self._snapshot(
                    model, session.resolve(wanted, frozenset(changes)), _first_scope(wanted)
                )
                return replace(found, recovery=RecoveryShown(self._usual(session)))
            except RequestError as problem:
                problems.append(problem)
        raise problems[0]

    def answer(self, shown: Snapshot, changes: Mapping[str, Any]) -> Snapshot:
        """Return the snapshot with ``changes`` applied.

        Args:
            shown: The current snapshot.
            changes: Fields of the spec; ``scope``; ``model``; a `View` as ``view``; a `Comparing` as
                ``comparing``.

        Raises:
            RequestError: A change is invalid.
        """
        wanted = dict(changes)
        model, view = wanted.pop("model", shown.model), wanted.pop("view", shown.view)
        comparing = wanted.pop("comparing", shown.comparing)
        if not isinstance(view, View):
            raise RequestError("view", f"`view` must be a View, got {view!r}.")
        if not isinstance(comparing, Comparing):
            raise RequestError("compare", f"`comparing` must be a Comparing, got {comparing!r}.")
        looked_at = self._looked_at(shown, wanted)
        if model != shown.model:
            goal = changes.get("goal") or replace(shown.network.goal, pins={}, exclude=())
            looked_at["network"] = NetworkShown(goal=goal)
            looked_at["staircase"] = StaircaseShown()
            looked_at["recovery"] = RecoveryShown(self._usual(self.session(model)))
        if "front" in changes:
            comparing = replace(comparing, shown=changes["front"] == "compare")
        elif comparing.shown != shown.comparing.shown:
            looked_at["front"] = "compare" if comparing.shown else "steps"
        session = self.session(model)
        if looked_at["exporting"] not in files_of(session):
            looked_at["exporting"] = "state_dict"  # The other model is a checkpoint: no code to export.
        view, largest = self._coloured(session, view, other_model=model != shown.model)
        looked_at |= {"view": view, "largest_weight": largest, "models": self.titles}
        same_steps = session.history is shown.history and session.plans is shown.plans
        if not wanted and model == shown.model and same_steps:
            same = replace(shown, problem=None, **looked_at)
            return same if comparing == shown.comparing else self._compared(same, comparing, shown)
        start, asked = shown.preview.spec, frozenset(wanted)
        if model != shown.model:
            start = replace(start, layer=session.first_spec.layer)
        scope, note = self._scoped(session, start, shown, wanted)
        if model != shown.model or _other_channels(shown.preview.spec, wanted):
            wanted = {"keep_channels": (), "prune_channels": (), **wanted}
        spec = replace(start, **wanted)
        try:
            pool = pool_units(session, spec, scope)
        except RequestError as problem:
            if problem.parameter != "scope" or "scope" in asked:
                raise
            scope, pool, note = Scope(), None, f"`scope` is this layer again. {problem}"
        resolved = session.resolve(spec, asked, shown.preview.most, pool)
        if note:
            resolved = replace(resolved, notes={**resolved.notes, "scope": note})
        if model != shown.model and "comparing" not in changes:
            comparing = Comparing(shown=comparing.shown)  # Plans belong to a model.
        return self._compared(replace(self._snapshot(model, resolved, scope), **looked_at), comparing, shown)

    def _scoped(
        self, session: Session, start: PruneSpec, shown: Snapshot, wanted: dict[str, Any]
    ) -> tuple[Scope, str]:
        """Pop the scope from ``wanted``, make method and layer fit it, and return the scope and a note.

        A method that ranks all layers together implies one threshold, and one threshold for single weights
        implies that method.

        Raises:
            RequestError: The scope is invalid, or the model has no such group.
        """
        asked = "scope" in wanted
        scope = Scope.of(wanted.pop("scope", shown.scope))
        method = wanted.get("method", start.method)
        row = METHODS.get(method) if isinstance(method, str) else None
        if row is None:
            return scope, ""
        if row.pooled != (scope.kind == "global"):
            if asked and row.pooled:
                wanted["method"] = row.alone
            elif row.pooled:
                scope = Scope("global")
            elif asked or not METHODS[start.method].pooled:
                wanted["method"] = _pooling(method)
            else:
                scope = Scope()
        if session is not self._sessions.get(shown.model) and scope.kind == "group" and not asked:
            return Scope(), ""
        return self._with_layer_inside(session, scope, start, wanted, asked=asked)

    def _with_layer_inside(
        self, session: Session, scope: Scope, start: PruneSpec, wanted: dict[str, Any], *, asked: bool
    ) -> tuple[Scope, str]:
        """Make the displayed layer one of the scope's: move to one of them if the scope was requested."""
        if scope.kind == "layer" or METHODS[wanted.get("method", start.method)].pooled:
            return scope, ""
        layer = session.tensor(wanted.get("layer", start.layer)).name
        names = members(session, scope, layer)
        if layer in names:
            return scope, ""
        if asked and "layer" not in wanted:
            wanted["layer"] = names[0]
            return scope, ""
        return Scope(), f"`scope` is this layer again: {layer} is not of {scope.text}."

    def _looked_at(self, shown: Snapshot, wanted: dict[str, Any]) -> dict[str, Any]:
        """Pop the display fields from ``wanted``; return them with the snapshot fields that stay unchanged.

        Raises:
            RequestError: A value is invalid, such as an unknown panel or file.
        """
        front, what = wanted.pop("front", shown.front), wanted.pop("exporting", shown.exporting)
        goal, recipe = wanted.pop("goal", shown.network.goal), wanted.pop("recipe", shown.recovery.recipe)
        if not isinstance(recipe, Recipe):
            raise RequestError("recipe", f"`recipe` must be a Recipe, got {recipe!r}.")
        if not isinstance(goal, GoalSpec):
            raise RequestError("goal", f"`goal` must be a GoalSpec, got {goal!r}.")
        network = shown.network
        if goal != network.goal:
            spec = replace(shown.preview.spec, **{name: wanted[name] for name in HOW if name in wanted})
            shown_how = alone(spec) if spec.method in METHODS else {}
            network = replace(network, goal=replace(goal, **shown_how).checked())
        if not isinstance(front, str):
            raise RequestError("front", f"`front` must be the name of a panel, got {front!r}.")
        if what not in FILES:
            raise RequestError("what", f"`what` must be one of {', '.join(FILES)}, got {what!r}.")
        kept = {name: getattr(shown, name) for name in _KEPT}
        recovery = replace(shown.recovery, recipe=recipe)
        return {**kept, "front": front, "exporting": what, "network": network, "recovery": recovery}

    def _usual(self, session: Session) -> Recipe:
        """Return the default recipe for a model."""
        source = session.source
        usual = USUAL if source.loss is None else replace(USUAL, targets="labels")
        return replace(usual, **source.recipe)

    def _coloured(self, session: Session, view: View, *, other_model: bool) -> tuple[View, float | None]:
        """Return ``view``, and the largest weight if it needs that; reset it if a new model is too large.

        Raises:
            RequestError: The current model is too large to scan for its largest weight.
        """
        if view.heatmap != "weights" or view.colour_range != "model":
            return view, None
        try:
            return view, session.largest_weight()
        except RequestError:
            if not other_model:
                raise
            return replace(view, colour_range="layer"), None

    def _compared(self, answer: Snapshot, comparing: Comparing, before: Snapshot) -> Snapshot:
        """Return ``answer`` with its comparison.

        Raises:
            RequestError: A newly chosen side is invalid; for unchanged sides the snapshot has the message.
        """
        session, preview = self.session(answer.model), answer.preview.alone
        comparison, sentence = None, ""
        if comparing.shown:
            try:
                a = chosen(session, comparing.a, preview, 1)
                b = chosen(session, comparing.other(preview), preview, 2)
                comparison = compare(session, a, b, at=preview)
            except RequestError as problem:
                if (comparing.a, comparing.b) != (before.comparing.a, before.comparing.b):
                    raise RequestError("compare", str(problem)) from problem
                sentence = str(problem)
        else:
            for place in (1, 2):
                session.forget_rankings(place)
        return replace(answer, comparing=comparing, comparison=comparison, comparing_problem=sentence)

    def _snapshot(self, model: str, resolved: Resolved, scope: Scope) -> Snapshot:
        session = self.session(model)
        preview = scoped_preview(session, resolved, scope)
        pruned = session.pruned_by_tensor(preview)
        return Snapshot(
            model=model,
            preview=preview,
            model_sparsity=sum(pruned.values()) / session.parameters,
            sparsities={name: gone / session.tensors[name].size for name, gone in pruned.items()},
            history=session.history,
            plans=session.plans,
            step_measures=known_of_steps(session),
            notes={**resolved.notes, **_note_of(preview)},
            scope=scope,
            has_data=session.source.data is not None,
            metric=metric_before(session),
            costs=Costs(session.parameters, flops=session.findings.get("flops")),
            models=self.titles,
            layers=session.tensors,
            not_prunable=session.not_prunable,
            note=session.source.note,
            files=files_of(session),
            units=_units(session, preview.tensor.name),
            runs=session.source.can_run,
            recovers=reasons(session),
            outcomes=outcomes(session),
            criteria={
                key: session.criteria.why_not(replace(resolved.spec, criterion=key)) for key in CRITERIA
            },
        )


def _first_scope(spec: PruneSpec) -> Scope:
    method = METHODS.get(spec.method) if isinstance(spec.method, str) else None
    return Scope("global") if method is not None and method.pooled else Scope()


def _note_of(preview: Preview) -> Mapping[str, str]:
    return {"scope": preview.reach.note} if preview.reach is not None and preview.reach.note else {}


def _pooling(method: str) -> str:
    """Return the method that ranks all layers together like ``method`` ranks one, or else ``method``."""
    return next((key for key, row in METHODS.items() if row.alone == method), method)


_KEPT = ("exported", "compact", "staircase", "hide", "lock", "scoring", "waits_for", "agreeing")
"""Snapshot fields that requests leave unchanged."""


def _other_channels(shown: PruneSpec, wanted: Mapping[str, Any]) -> bool:
    """Return whether ``wanted`` changes what channels chosen by hand refer to."""
    other = METHODS.get(wanted.get("method", shown.method)) if shown.by_hand else None
    if other is not None and other.groups != METHODS[shown.method].groups:
        return True  # This changes `dim` as well.
    return any(wanted.get(name, getattr(shown, name)) != getattr(shown, name) for name in ("layer", "dim"))


def _units(session: Session, tensor: str) -> Units | None:
    return find_units(session.source.module, tensor) if session.source.can_run else None
