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

from prunescope.errors import RequestError
from prunescope.explorer import acts
from prunescope.explorer.catalogue import Catalogue
from prunescope.explorer.evaluation import LiveAccuracy, Measured
from prunescope.explorer.link import Link, controls, from_query, to_query
from prunescope.explorer.snapshot import Snapshot
from prunescope.figures import View
from prunescope.preview import Preview
from prunescope.session import Session
from prunescope.spec import FIELDS, PruneSpec
from prunescope.takeaway.plan import carry_out_specs

_log = logging.getLogger("prunescope")


class ExplorerState(traitlets.HasTraits):
    """What is explored and shown, and the doors through which that changes.

    Args:
        catalogue: What can be explored.
        hide: What is not shown, some of `prunescope.explorer.link.HIDEABLE`.
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
        self._accuracy = LiveAccuracy(self._publish_accuracy)

    # The one door.

    def request(self, **changes: Any) -> RequestError | None:
        """Ask for changes, all of them or none; what the controls do, and the attributes.

        Args:
            **changes: Fields of `PruneSpec`, ``model`` where there is a choice of models, and ``view``, a
                `prunescope.figures.View` of what the pictures show.

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
        _refuse_unknown(changes, (*FIELDS, "model", "view"))
        with self._lock:
            view = changes.pop("view", self.snapshot.view)
            if not isinstance(view, View):
                return self._refuse(RequestError("view", f"`view` must be a View, got {view!r}."))
            if not changes and view != self.snapshot.view:
                self.snapshot = replace(self.snapshot, view=view, problem=None)
                return None
            try:
                answer = replace(self._catalogue.answer(self.snapshot, changes), view=view)
            except RequestError as problem:
                return self._refuse(problem)
            except Exception as error:
                _log.exception("request %r failed", changes)
                return self._refuse(RequestError(next(iter(changes), "layer"), f"That did not work: {error}"))
            self.snapshot = answer
            self._measure()
            return None

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

    # The door for what changes the history.

    def _act(self, act: acts.Act, parameter: str) -> RequestError | None:
        """Let ``act`` change the session's history, then show what it says is to be asked from there."""
        with self._lock:
            session = self._session
            before = session.history
            try:
                asked = act(session, self.preview)
                spec = {name: getattr(self.spec, name) for name in FIELDS} | dict(asked)
                self.snapshot = self._catalogue.answer(self.snapshot, spec)
            except RequestError as problem:
                session.history = before
                return self._refuse(problem)
            except Exception as error:
                _log.exception("%s failed", parameter)
                session.history = before
                return self._refuse(RequestError(parameter, f"That did not work: {error}"))
            self._measure()
            return None

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
            before = self._session.history, self.snapshot
            try:
                link = from_query(query)
                self._follow(link)
            except RequestError as problem:
                self._session.history, self.snapshot = before
                return self._refuse(RequestError("link", f"The link could not be opened: {problem}"))
            self._hide, self._locked = link.hide, link.lock
            self._restrict()
            self._measure()
            return None

    def _follow(self, link: Link) -> None:
        session = self._catalogue.session(link.changes.get("model", self.snapshot.model))
        history = session.history
        try:
            if link.steps is not None:
                carry_out_specs(session, link.steps)
            self.snapshot = self._catalogue.answer(self.snapshot, link.changes)
        except RequestError:
            session.history = history
            raise

    def _restrict(self) -> None:
        """Show no more than `_hide` and `_locked` leave; called when they have changed."""

    # Accuracy, after the picture.

    def _measure(self) -> None:
        if self.snapshot.has_data:
            self._accuracy.start(self._session, self.snapshot.preview)
        else:
            self._accuracy.close()

    def _publish_accuracy(self, measured: Measured) -> None:
        with self._lock:
            if measured.preview is self.snapshot.preview:
                self.snapshot = replace(
                    self.snapshot,
                    step_accuracies=self._session.step_accuracies(),
                    before=measured.before,
                    after=measured.after,
                    evaluation_problem=measured.problem,
                )


def _refuse_unknown(values: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for name in values:
        if name not in allowed:
            raise TypeError(f"unknown keyword {name!r}: allowed are {', '.join(allowed)}")
