"""What can be explored, and the answer to a request: the explorer's thinking, without a widget in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from prunescope.core.criteria import CRITERIA
from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS, PruneSpec, Resolved
from prunescope.explorer.live.network import NetworkShown
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.export import FILES
from prunescope.export.files import files_of
from prunescope.figures import View
from prunescope.measure import Costs, name_of
from prunescope.measure.compare import Comparing, chosen, compare
from prunescope.measure.importance import scored_preview
from prunescope.network import GoalSpec
from prunescope.session import Session
from prunescope.sources import Source


@dataclass(frozen=True)
class Entry:
    """One model on offer: its ``title``, and ``open``, which is called once, when it is first asked for."""

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
        """Offer one more model.

        Raises:
            RequestError: It cannot be explored; then it is not offered.
        """
        self._sessions[key] = Session(entry.open())
        self.entries[key] = entry

    def session(self, model: object) -> Session:
        """Return the session of ``model``, opened if need be.

        Raises:
            RequestError: No model has that key, or the model cannot be explored.
        """
        if not isinstance(model, str) or model not in self.entries:
            raise RequestError("model", f"`model` must be one of {', '.join(self.entries)}, got {model!r}.")
        if model not in self._sessions:
            self._sessions[model] = Session(self.entries[model].open())
        return self._sessions[model]

    def first(self, changes: Mapping[str, Any]) -> Snapshot:
        """Return what is shown first: the first model, opened as it suggests, with ``changes``.

        Unless a layer is asked for, the first one that can be ranked is shown.

        Raises:
            RequestError: The model cannot be explored, or a change cannot be met.
        """
        model = next(iter(self.entries))
        session = self.session(model)
        others = () if "layer" in changes else session.tensors
        problems = []
        for layer in (session.first_spec.layer, *others):
            wanted = replace(session.first_spec, **{"layer": layer, **changes})
            try:
                return self._snapshot(model, session.resolve(wanted, frozenset(changes)))
            except RequestError as problem:
                problems.append(problem)
        raise problems[0]

    def answer(self, shown: Snapshot, changes: Mapping[str, Any]) -> Snapshot:
        """Return what is shown once ``changes`` are carried out.

        Args:
            shown: What is shown now.
            changes: Fields of the spec; ``model``; a `View` as ``view``; a `Comparing` as ``comparing``.

        Raises:
            RequestError: A change cannot be met.
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
        if "front" in changes:
            comparing = replace(comparing, shown=changes["front"] == "compare")
        elif comparing.shown != shown.comparing.shown:
            looked_at["front"] = "compare" if comparing.shown else "steps"
        session = self.session(model)
        if looked_at["exporting"] not in files_of(session):
            looked_at["exporting"] = "state_dict"  # Another model is a file without code, which has no code.
        view, largest = self._coloured(session, view, other_model=model != shown.model)
        looked_at |= {"view": view, "largest_weight": largest, "models": self.titles}
        same_steps = session.history is shown.history and session.plans is shown.plans
        if not wanted and model == shown.model and same_steps:
            same = replace(shown, problem=None, **looked_at)
            return same if comparing == shown.comparing else self._compared(same, comparing, shown)
        start = shown.preview.spec
        if model != shown.model:
            start = replace(start, layer=session.first_spec.layer)
        asked = frozenset(wanted)
        if model != shown.model or _other_channels(shown.preview.spec, wanted):
            wanted = {"keep_channels": (), "prune_channels": (), **wanted}
        resolved = session.resolve(replace(start, **wanted), asked, shown.preview.most)
        if model != shown.model and "comparing" not in changes:
            comparing = Comparing(shown=comparing.shown)  # The other model has other plans.
        return self._compared(replace(self._snapshot(model, resolved), **looked_at), comparing, shown)

    def _looked_at(self, shown: Snapshot, wanted: dict[str, Any]) -> dict[str, Any]:
        """Take out of ``wanted`` what is looked at rather than pruned, and return all that stays as it is.

        Raises:
            RequestError: There is no such panel or file.
        """
        front, what = wanted.pop("front", shown.front), wanted.pop("exporting", shown.exporting)
        goal = wanted.pop("goal", shown.network.goal)
        if not isinstance(goal, GoalSpec):
            raise RequestError("goal", f"`goal` must be a GoalSpec, got {goal!r}.")
        network = shown.network if goal == shown.network.goal else replace(shown.network, goal=goal.checked())
        if not isinstance(front, str):
            raise RequestError("front", f"`front` must be the name of a panel, got {front!r}.")
        if what not in FILES:
            raise RequestError("what", f"`what` must be one of {', '.join(FILES)}, got {what!r}.")
        kept = {name: getattr(shown, name) for name in _KEPT}
        return {**kept, "front": front, "exporting": what, "network": network}

    def _coloured(self, session: Session, view: View, *, other_model: bool) -> tuple[View, float | None]:
        """Return ``view`` with the largest weight if it needs that; another model may be too large for it.

        Raises:
            RequestError: The model shown is too large for it.
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
        """Return ``answer`` with what is compared in it.

        Raises:
            RequestError: A side that is not as it was ``before`` cannot be; any other is a sentence.
        """
        session, preview = self.session(answer.model), answer.preview
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

    def _snapshot(self, model: str, resolved: Resolved) -> Snapshot:
        session = self.session(model)
        preview = scored_preview(session, resolved)
        pruned = session.pruned_by_tensor(preview)
        return Snapshot(
            model=model,
            preview=preview,
            model_sparsity=sum(pruned.values()) / session.parameters,
            sparsities={name: gone / session.tensors[name].size for name, gone in pruned.items()},
            history=session.history,
            plans=session.plans,
            step_accuracies=session.step_accuracies(),
            notes=resolved.notes,
            has_data=session.source.data is not None,
            before=session.known_accuracy(),
            evaluates="" if session.source.evaluate is None else name_of(session.source.evaluate),
            numbers_before=session.known_numbers(),
            step_numbers=session.step_numbers(),
            costs=Costs(session.parameters, flops=session.findings.get("flops")),
            models=self.titles,
            layers=session.tensors,
            not_prunable=session.not_prunable,
            note=session.source.note,
            files=files_of(session),
            criteria={key: session.unscored(replace(resolved.spec, criterion=key)) for key in CRITERIA},
        )


_KEPT = ("exported", "hide", "lock", "scoring", "waits_for", "agreeing")
"""What of a snapshot stays as it is until something else says so."""


def _other_channels(shown: PruneSpec, wanted: Mapping[str, Any]) -> bool:
    """Return whether ``wanted`` leads to channels other than those a person has kept or pruned by hand."""
    other = METHODS.get(wanted.get("method", shown.method)) if shown.by_hand else None
    if other is not None and other.groups != METHODS[shown.method].groups:
        return True  # `dim` is then another one.
    return any(wanted.get(name, getattr(shown, name)) != getattr(shown, name) for name in ("layer", "dim"))
