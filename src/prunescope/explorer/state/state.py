"""The explorer's state: one door for every change, and one snapshot a change.

There is no widget in it. JupyterLab hands the page's messages to a thread of their own, beside the one that
runs cells, so whatever changes or reads the state holds its lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

import traitlets

from prunescope.core.criteria import WEIGHT
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.spec import FIELDS, PruneSpec
from prunescope.explorer.live.calling import Calls
from prunescope.explorer.live.compare import LiveSides
from prunescope.explorer.live.costs import LiveCosts
from prunescope.explorer.live.criteria import CriteriaShown, LiveCriteria
from prunescope.explorer.live.export import LiveExport
from prunescope.explorer.live.memory import LARGE, give_back
from prunescope.explorer.live.metric import LiveMeasure, Measured
from prunescope.explorer.live.network import LiveNetwork
from prunescope.explorer.live.scores import LiveScores
from prunescope.explorer.state import actions
from prunescope.explorer.state.catalogue import Catalogue, Entry
from prunescope.explorer.state.link import Link, controls, from_query, to_query
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.export.plan import carry_out_specs
from prunescope.measure import Comparison, Costs
from prunescope.measure.compare import Comparing
from prunescope.session import Session

_log = logging.getLogger("prunescope")

REQUESTS = (*FIELDS, "model", "view", "comparing", "front", "exporting", "goal")
"""What `ExplorerState.request` takes."""


class ExplorerState(traitlets.HasTraits):
    """What is explored and shown, and the door through which that changes.

    Args:
        catalogue: What can be explored.
        panels: Names of the panels that have a tab, in their order.
        hide: What is not shown, some of `prunescope.explorer.state.link.HIDEABLE`.
        lock: Controls that are shown and cannot be moved by hand.
        **spec: Fields of `PruneSpec` to start with: layer, method, amount, n, dim, seed.

    Raises:
        TypeError: An unknown keyword.
        RequestError: The model has nothing to prune, or a value cannot be met.

    Attributes:
        snapshot: What is shown now; observe it to follow every change.
        catalogue: What can be explored.
        lock: Held by whatever changes or reads the state.
        calls: Where the user's metric is called.
    """

    snapshot = traitlets.Instance(Snapshot)

    def __init__(
        self,
        catalogue: Catalogue,
        panels: Sequence[str],
        *,
        hide: Iterable[str] = (),
        lock: Iterable[str] = (),
        **spec: Any,
    ) -> None:
        _refuse_unknown(spec, (*FIELDS, "hide", "lock"))
        hidden, locked = controls("hide", hide, panels), controls("lock", lock)
        first = replace(catalogue.first(spec), hide=hidden, lock=locked)
        super().__init__()
        self.catalogue = catalogue
        self._panels = tuple(panels)
        self.lock = RLock()
        self.calls = Calls()
        self._live = LiveMeasure(self._publish_measured, self.calls)
        self._live_costs = LiveCosts(self._publish_costs)
        self._live_export = LiveExport(lambda made: self._publish(exported=made))
        self._waits_for = ""
        self._live_scores = LiveScores(self._publish_scoring, self.refuse)
        self._live_criteria = LiveCriteria(self._publish_agreeing)
        self._agreeing_of: Preview | None = None
        self._live_network = LiveNetwork(lambda known: self._publish(network=known))
        self._compared: Comparison | None = None
        self._sides = LiveSides(self._publish_sides, self.calls)
        self._put(self._with_front(first))

    def _put(self, snapshot: Snapshot) -> None:
        """Show ``snapshot``: the only place that does."""
        self.snapshot = snapshot

    @property
    def session(self) -> Session:
        """The session of the model that is shown."""
        return self.catalogue.session(self.snapshot.model)

    @property
    def spec(self) -> PruneSpec:
        """What is asked of the tensor now."""
        return self.snapshot.preview.spec

    @property
    def preview(self) -> Preview:
        """What that would do: mask, norms, threshold, counts."""
        return self.snapshot.preview

    # The one door.

    def _enter(self, blame: str, ask: Callable[[], Snapshot]) -> RequestError | None:
        """Show what ``ask`` answers; if it raises, all is as it was, and one sentence is shown."""
        with self.lock:
            try:
                with self.session.all_or_nothing():
                    answer = self._with_front(ask())
            except RequestError as problem:
                return self.refuse(problem)
            except Exception as error:
                _log.exception("%s failed", blame)
                return self.refuse(RequestError(blame, f"That did not work: {error}"))
            self._show(answer)
            return None

    def _with_front(self, answer: Snapshot) -> Snapshot:
        """Return ``answer`` with a panel in front that is not hidden, and compared what is looked at."""
        if answer.front not in self._panels:
            allowed = ", ".join(self._panels)
            raise RequestError("front", f"`front` must be one of {allowed}, got {answer.front!r}.")
        seen = [name for name in self._panels if name not in answer.hide]
        front = answer.front if answer.front in seen or not seen else seen[0]
        if (front == "compare" and bool(seen)) != answer.comparing.shown:
            answer = self.catalogue.answer(answer, {"front": front if seen else ""})
        return replace(answer, front=front)

    def request(self, **changes: Any) -> RequestError | None:
        """Ask for changes, all of them or none; what the controls do, and the attributes.

        Args:
            **changes: Fields of `PruneSpec`; ``model`` where there is a choice of models; ``view``, a
                `prunescope.figures.View` of what the pictures show; ``comparing``, a
                `prunescope.measure.compare.Comparing` of what is compared with what; ``front``, the name of
                the panel to bring to the front; ``exporting``, the file whose text is shown; ``goal``, a
                `prunescope.network.GoalSpec` of what the whole network is to lose.

        Returns:
            None, or why the request was refused; then all is as it was, and the sentence is shown.

        Raises:
            TypeError: An unknown keyword.
        """
        _refuse_unknown(changes, REQUESTS)
        return self._enter(
            next(iter(changes), "layer"), lambda: self.catalogue.answer(self.snapshot, changes)
        )

    def choose_criterion(self, criterion: str) -> None:
        """Ask for a criterion as a person does, who sees its scores being computed; code waits for them."""
        self._once_scored(criterion, lambda: self.request(criterion=criterion), shown=criterion)

    def choose_sides(self, comparing: Comparing) -> None:
        """Ask for what is to be compared as a person does, who sees scores being computed."""
        unscored = (side.criterion for side in (comparing.a, comparing.b) if side and side.criterion)
        waits_for = next((each for each in unscored if self.session.scored(each) is None), WEIGHT)
        self._once_scored(waits_for, lambda: self.request(comparing=comparing))

    def _once_scored(self, criterion: str, ask: Callable[[], object], shown: str = "") -> None:
        """Call ``ask`` once the scores of ``criterion`` are there, or at once where there can be none.

        Meanwhile ``shown`` is what the control of the criterion shows, if it is one.
        """
        with self.lock:
            self._waits_for = shown
            there = criterion == WEIGHT or self.session.scored(criterion) is not None
            if there or self.snapshot.criteria.get(criterion, ""):
                self._live_scores.close()
                self._publish(scoring="", waits_for="")
                ask()
            else:
                self._live_scores.start(self.session, criterion, ask)

    def act(self, action: actions.Act, parameter: str, **changes: Any) -> RequestError | None:
        """Let ``action`` change the session, then show what it says to ask from there, and ``changes``.

        Args:
            action: One of `prunescope.explorer.state.actions`, or another of its kind.
            parameter: What a sentence goes by if it fails.
            **changes: What else to ask, as `request` takes it.

        Returns:
            None, or why it was refused; then all is as it was, and the sentence is shown.
        """

        def ask() -> Snapshot:
            asked = action(self.session, self.preview)
            spec = {name: getattr(self.spec, name) for name in FIELDS} | dict(asked) | changes
            return self.catalogue.answer(self.snapshot, spec)

        return self._enter(parameter, ask)

    def rename_plan(self, old: str, new: str) -> RequestError | None:
        """Give the plan ``old`` the name ``new``, also where it is compared."""
        comparing = self.snapshot.comparing.renamed(old, str(new).strip())
        return self.act(partial(actions.rename, old=old, new=new), "plans", comparing=comparing)

    def remove_plan(self, name: str) -> RequestError | None:
        """Forget the plan ``name``; nothing is compared with it any more."""
        comparing = self.snapshot.comparing.renamed(name, None)
        return self.act(partial(actions.remove, name=name), "plans", comparing=comparing)

    def open_link(self, query: str) -> RequestError | None:
        """Show the state that a link carries, all of it or nothing.

        Args:
            query: What follows the ``?`` of the link; parameters that are not ours are passed over.

        Returns:
            None, or why it was refused; then all is as it was, and the sentence is shown.
        """

        def ask() -> Snapshot:
            try:
                return self._follow(from_query(query, self._panels))
            except RequestError as problem:
                raise RequestError("link", f"The link could not be opened: {problem}") from problem

        return self._enter("link", ask)

    def _follow(self, link: Link) -> Snapshot:
        session = self.catalogue.session(link.changes.get("model", self.snapshot.model))
        with session.all_or_nothing():
            if link.plans is not None:
                actions.make_plans(session, link.plans)
            if link.steps is not None:
                carry_out_specs(session, link.steps)
            changes = {"front": "network", **link.changes} if "goal" in link.changes else link.changes
            answer = self.catalogue.answer(self.snapshot, changes)
        return replace(answer, hide=link.hide, lock=link.lock)

    def take_in(self, path: Path, entry: Entry) -> RequestError | None:
        """Offer one more model, whose file came to ``path``, and show it; return why not."""
        key = f"upload/{path.parent.name}/{path.name}"
        with self.lock:
            try:
                self.catalogue.add(key, entry)
            except RequestError as problem:
                return problem
            self.request(model=key)
            return None

    def refuse(self, problem: RequestError) -> RequestError:
        """Show ``problem`` where it belongs, and leave all else as it is."""
        with self.lock:
            self._put(replace(self.snapshot, problem=problem, notes={}))
            return problem

    @property
    def query(self) -> str:
        """The whole state as the query of a dashboard's address: ``"model=cnn&amount=0.3"`` …"""
        return to_query(self.snapshot)

    # Measures, after the picture; each is published by the same one assignment.

    def _show(self, answer: Snapshot) -> None:
        """Show ``answer``, and measure what of it is not known."""
        before = self.snapshot
        self._put(answer)
        if answer.comparison is not before.comparison:
            self._compared = answer.comparison
            self._sides.prepare(self.session, answer.comparison)
        if answer.preview is not before.preview:
            self.measure()
        else:
            self._sides.go()
        self._export()
        self._agree()
        if answer.front == "network":
            self._live_network.follow(self.session, answer.preview.spec, answer.network.goal)
        else:
            self._live_network.close()
        other_tensor = answer.preview.tensor is not before.preview.tensor
        del before  # What it held is free now.
        if other_tensor or answer.preview.mask.numel() >= LARGE:
            give_back()

    def measure(self, *, large: bool = False) -> None:
        """Measure what is shown.

        Args:
            large: Whether to measure nothing but the costs, and to compress a file of any size.
        """
        snapshot = self.snapshot
        if not large:
            if snapshot.has_data or snapshot.evaluates:
                self._live.start(self.session, snapshot.preview)
            else:
                self._live.close()
                self._sides.go()
        self._live_costs.start(self.session, snapshot.preview, large=large)

    def _export(self) -> None:
        """Make the text that the export panel shows, if somebody looks at it and it is not there yet."""
        snapshot = self.snapshot
        made, steps = snapshot.exported, snapshot.history.done
        if snapshot.front == "export" and not (made and made.is_of(snapshot.exporting, steps)):
            self._live_export.start(self.session, snapshot.exporting)

    def ask_criteria(self, asked: bool) -> None:
        """Show how far the criteria agree while the comparison is looked at, or no longer."""
        with self.lock:
            self._publish(agreeing=CriteriaShown(asked))
            self._agreeing_of = None
            self._agree()

    def _agree(self) -> None:
        """Compare the criteria on what is shown, if somebody looks at that."""
        snapshot = self.snapshot
        if not (snapshot.agreeing.asked and snapshot.front == "compare"):
            self._live_criteria.close()
            self._agreeing_of = None
        elif self._agreeing_of is not snapshot.preview:
            self._agreeing_of = snapshot.preview
            self._live_criteria.start(self.session, snapshot.preview)

    def _publish_agreeing(self, preview: Preview, shown: CriteriaShown) -> None:
        with self.lock:
            if preview is self.snapshot.preview and self.snapshot.agreeing.asked:
                self._publish(agreeing=shown)

    def _publish(self, **found: Any) -> None:
        with self.lock:
            self._put(replace(self.snapshot, **found))

    def _publish_scoring(self, words: str) -> None:
        self._publish(scoring=words, waits_for=self._waits_for if words else "")

    def _publish_costs(self, preview: Preview, costs: Costs) -> None:
        with self.lock:
            if preview is self.snapshot.preview:
                self._publish(costs=costs)

    def _publish_measured(self, measured: Measured) -> None:
        with self.lock:
            if measured.preview is not self.snapshot.preview:
                return
            self._publish(
                step_accuracies=self.session.step_accuracies(),
                before=measured.before,
                after=measured.after,
                effect=measured.effect,
                numbers_before=measured.numbers_before,
                numbers_after=measured.numbers_after,
                step_numbers=self.session.step_numbers(),
                evaluation_problem=measured.problem,
            )
            if measured.after or measured.numbers_after or measured.problem:
                self._sides.go()

    def _publish_sides(self, compared: Comparison, measured: Comparison) -> None:
        with self.lock:
            if compared is self._compared:
                self._publish(comparison=measured)

    def close(self) -> None:
        """Give up all background work."""
        for live in (
            self._live,
            self._live_costs,
            self._live_export,
            self._live_scores,
            self._live_criteria,
            self._live_network,
            self._sides,
        ):
            live.close()


def _refuse_unknown(values: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for name in values:
        if name not in allowed:
            raise TypeError(f"unknown keyword {name!r}: allowed are {', '.join(allowed)}")
