"""The explorer's state: one door for every change, and one snapshot per change.

There is no widget in it. JupyterLab hands the page's messages to a thread of their own, beside the one that
runs cells, so whatever changes the state holds its lock.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from threading import RLock
from typing import Any

import traitlets

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.spec import FIELDS, PruneSpec
from prunescope.explorer.live.calling import Calls
from prunescope.explorer.live.compare import LiveSides
from prunescope.explorer.live.costs import LiveCosts
from prunescope.explorer.live.memory import LARGE, give_back
from prunescope.explorer.live.metric import LiveMeasure, Measured
from prunescope.explorer.state import actions as acts
from prunescope.explorer.state.catalogue import Catalogue
from prunescope.explorer.state.link import Link, controls, from_query, to_query
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.export.plan import carry_out_specs
from prunescope.measure import Comparison, Costs
from prunescope.session import Session
from prunescope.session.plans import Plans
from prunescope.session.residuals import Silence

_log = logging.getLogger("prunescope")


class ExplorerState(traitlets.HasTraits):
    """What is explored and shown, and the doors through which that changes.

    Args:
        catalogue: What can be explored.
        hide: What is not shown, some of `prunescope.explorer.state.link.HIDEABLE`.
        lock: Controls that are shown and cannot be moved by hand.
        **spec: Fields of `PruneSpec` to start with: layer, method, amount, n, dim, seed.

    Raises:
        TypeError: An unknown keyword.
        RequestError: The model has nothing to prune, or a value cannot be met.

    Attributes:
        snapshot: What is shown now; observe it to follow every change.
    """

    snapshot = traitlets.Instance(Snapshot)

    def __init__(
        self, catalogue: Catalogue, *, hide: Iterable[str] = (), lock: Iterable[str] = (), **spec: Any
    ) -> None:
        _refuse_unknown(spec, (*FIELDS, "hide", "lock"))
        self._hide, self._locked = controls("hide", hide), controls("lock", lock)
        first = catalogue.first(spec)
        super().__init__()
        self._catalogue = catalogue
        self._lock = RLock()
        self.snapshot = first
        self._calls = Calls()
        self._live = LiveMeasure(self._publish, self._calls)
        self._live_costs = LiveCosts(self._publish_costs)
        self._compared: Comparison | None = None
        self._sides = LiveSides(self._publish_sides, self._calls)

    # The one door.

    def request(self, **changes: Any) -> RequestError | None:
        """Ask for changes, all of them or none; what the controls do, and the attributes.

        Args:
            **changes: Fields of `PruneSpec`; ``model`` where there is a choice of models; ``view``, a
                `prunescope.figures.View` of what the pictures show; ``comparing``, a
                `prunescope.measure.compare.Comparing` of what is compared with what.

        Returns:
            None, or why the request was refused; then all is as it was, and the sentence is shown.

        Raises:
            TypeError: An unknown keyword.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Linear(4, 3))
            >>> explorer.request(amount=1.5)
            RequestError('`amount` must be a float in [0, 1] or a count from 0 to 12 (weights), got 1.5.')
            >>> explorer.amount
            0.3
            >>> explorer.close()
        """
        _refuse_unknown(changes, (*FIELDS, "model", "view", "comparing"))
        with self._lock:
            try:
                answer = self._catalogue.answer(self.snapshot, changes)
            except RequestError as problem:
                return self._refuse(problem)
            except Exception as error:
                _log.exception("request %r failed", changes)
                return self._refuse(RequestError(next(iter(changes), "layer"), f"That did not work: {error}"))
            self._show(answer)
            return None

    def _show(self, answer: Snapshot) -> None:
        """Show ``answer``, and measure what of it is not known."""
        before, self.snapshot = self.snapshot, answer
        if answer.comparison is not before.comparison:
            self._compared = answer.comparison
            self._sides.prepare(self._session, answer.comparison)
        if answer.preview is not before.preview:
            self._measure()
        else:
            self._sides.go()
        other_tensor = answer.preview.tensor is not before.preview.tensor
        del before  # What it held is free now.
        if other_tensor or answer.preview.mask.numel() >= LARGE:
            give_back()

    def _refuse(self, problem: RequestError) -> RequestError:
        self.snapshot = replace(self.snapshot, problem=problem, notes={})
        return problem

    def _raise(self, problem: RequestError | None) -> None:
        if problem is not None:
            raise problem

    @property
    def spec(self) -> PruneSpec:
        """Return what is asked of the tensor now."""
        return self.snapshot.preview.spec

    @property
    def preview(self) -> Preview:
        """Return what that would do: mask, norms, threshold, counts."""
        return self.snapshot.preview

    @property
    def _session(self) -> Session:
        return self._catalogue.session(self.snapshot.model)

    # The door for what changes the history and the plans.

    def _act(self, act: acts.Act, parameter: str, **changes: Any) -> RequestError | None:
        """Let ``act`` change the session, then show what it says to ask from there, and ``changes``."""
        with self._lock:
            session = self._session
            before = session.history, session.plans
            try:
                asked = act(session, self.preview)
                spec = {name: getattr(self.spec, name) for name in FIELDS} | dict(asked) | changes
                answer = self._catalogue.answer(self.snapshot, spec)
            except RequestError as problem:
                session.history, session.plans = before
                return self._refuse(problem)
            except Exception as error:
                _log.exception("%s failed", parameter)
                session.history, session.plans = before
                return self._refuse(RequestError(parameter, f"That did not work: {error}"))
            self._show(answer)
            return None

    def _keep_plan(self, name: str) -> RequestError | None:
        return self._act(partial(acts.keep, name=name), "plans")

    def _rename_plan(self, old: str, new: str) -> RequestError | None:
        comparing = self.snapshot.comparing.renamed(old, str(new).strip())
        return self._act(partial(acts.rename, old=old, new=new), "plans", comparing=comparing)

    def _remove_plan(self, name: str) -> RequestError | None:
        comparing = self.snapshot.comparing.renamed(name, None)
        return self._act(partial(acts.remove, name=name), "plans", comparing=comparing)

    def _carry_out(self, name: str) -> RequestError | None:
        return self._act(partial(acts.carry_out, name=name), "plans")

    def _bring(self, text: str) -> RequestError | None:
        return self._act(partial(acts.bring, text=text), "plan")

    # Links.

    @property
    def query(self) -> str:
        """Return the whole state as the query of a dashboard's address: ``"model=cnn&amount=0.3"`` …"""
        return to_query(self.snapshot, self._hide, self._locked)

    def open_link(self, query: str) -> RequestError | None:
        """Show the state that a link carries, all of it or nothing.

        Args:
            query: What follows the ``?`` of the link; parameters that are not ours are passed over.

        Returns:
            None, or why it was refused; then all is as it was, and the sentence is shown.
        """
        with self._lock:
            try:
                link = from_query(query)
                answer = self._follow(link)
            except RequestError as problem:
                return self._refuse(RequestError("link", f"The link could not be opened: {problem}"))
            self._hide, self._locked = link.hide, link.lock
            self._show(answer)
            self._restrict()
            return None

    def _follow(self, link: Link) -> Snapshot:
        """Return what the link shows; if that cannot be, the session is as it was."""
        session = self._catalogue.session(link.changes.get("model", self.snapshot.model))
        before = session.history, session.plans
        try:
            if link.plans is not None:
                self._make_plans(session, link.plans)
                session.history = before[0]
            if link.steps is not None:
                carry_out_specs(session, link.steps)
            return self._catalogue.answer(self.snapshot, link.changes)
        except RequestError:
            session.history, session.plans = before
            raise

    def _make_plans(self, session: Session, plans: Mapping[str, list[PruneSpec | Silence]]) -> None:
        session.plans = Plans()
        for name, steps in plans.items():
            carry_out_specs(session, steps)
            session.plans = session.plans.keep(name, session.history)

    def _restrict(self) -> None:
        """Show no more than `_hide` and `_locked` leave; called when they have changed."""

    # Measures, after the picture.

    def _measure(self) -> None:
        if self.snapshot.has_data or self.snapshot.evaluates:
            self._live.start(self._session, self.snapshot.preview)
        else:
            self._live.close()
            self._sides.go()
        self._live_costs.start(self._session, self.snapshot.preview)

    def _measure_large(self) -> None:
        """Measure the costs again, and compress the file however large it is."""
        self._live_costs.start(self._session, self.snapshot.preview, large=True)

    def _publish_costs(self, preview: Preview, costs: Costs) -> None:
        with self._lock:
            if preview is self.snapshot.preview:
                self.snapshot = replace(self.snapshot, costs=costs)

    def _publish(self, measured: Measured) -> None:
        with self._lock:
            if measured.preview is self.snapshot.preview:
                self.snapshot = replace(
                    self.snapshot,
                    step_accuracies=self._session.step_accuracies(),
                    before=measured.before,
                    after=measured.after,
                    effect=measured.effect,
                    numbers_before=measured.numbers_before,
                    numbers_after=measured.numbers_after,
                    step_numbers=self._session.step_numbers(),
                    evaluation_problem=measured.problem,
                )
                if measured.after or measured.numbers_after or measured.problem:
                    self._sides.go()

    def _publish_sides(self, compared: Comparison, measured: Comparison) -> None:
        with self._lock:
            if compared is self._compared:
                self.snapshot = replace(self.snapshot, comparison=measured)


def _refuse_unknown(values: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for name in values:
        if name not in allowed:
            raise TypeError(f"unknown keyword {name!r}: allowed are {', '.join(allowed)}")
