"""The explorer's state: one entry point for every change, and one snapshot per change.

It contains no widgets. JupyterLab handles messages from the page in a separate thread from the one that runs
cells, so whatever changes or reads the state must hold its lock.
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
from torch import nn

from prunescope.core.criteria import WEIGHT
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.spec import FIELDS, PruneSpec
from prunescope.explorer.live.memory import LARGE, give_back
from prunescope.explorer.live.network import NetworkShown
from prunescope.explorer.state import actions
from prunescope.explorer.state.catalogue import Catalogue, Entry
from prunescope.explorer.state.link import Link, controls, from_query, to_query
from prunescope.explorer.state.reloading import reloaded
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.tasks import Tasks
from prunescope.export.plan import apply_specs
from prunescope.measure.compare import Comparing
from prunescope.session import Session
from prunescope.sources.units import find_units

_log = logging.getLogger("prunescope")

REQUESTS = (*FIELDS, "scope", "model", "view", "comparing", "front", "exporting", "goal", "recipe")
"""Keywords of `ExplorerState.request`."""


class ExplorerState(traitlets.HasTraits):
    """The state of the explorer, and the entry point for changing it.

    Args:
        catalogue: The models on offer.
        panels: Names of the panels with a tab, in order.
        hide: Names to hide: panels, or some of `prunescope.explorer.state.link.HIDEABLE`.
        lock: Controls that are visible but disabled.
        **spec: Fields of `PruneSpec` to start with: layer, method, amount, n, dim, seed.

    Raises:
        TypeError: An unknown keyword.
        RequestError: The model has nothing to prune, or a value is invalid.

    Attributes:
        snapshot: The current snapshot; observe it to follow every change.
        catalogue: The models on offer.
        lock: Must be held to change or read the state.
        tasks: The background work.
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
        self._put(self._with_front(first))
        self.tasks = Tasks(self)

    def _put(self, snapshot: Snapshot) -> None:
        """Assign ``snapshot``; nothing else does."""
        self.snapshot = snapshot

    @property
    def session(self) -> Session:
        """The session of the current model."""
        return self.catalogue.session(self.snapshot.model)

    @property
    def spec(self) -> PruneSpec:
        """The current spec."""
        return self.snapshot.preview.spec

    @property
    def preview(self) -> Preview:
        """The current preview: mask, norms, threshold, counts."""
        return self.snapshot.preview

    # The single entry point.

    def _enter(self, blame: str, ask: Callable[[], Snapshot]) -> RequestError | None:
        """Show the snapshot that ``ask`` returns; if it raises, change nothing and show the error."""
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
        """Return ``answer`` with a visible panel in front, and with a comparison if that panel needs one."""
        if answer.front not in self._panels:
            allowed = ", ".join(self._panels)
            raise RequestError("front", f"`front` must be one of {allowed}, got {answer.front!r}.")
        seen = [name for name in self._panels if name not in answer.hide]
        front = answer.front if answer.front in seen or not seen else seen[0]
        if (front == "compare" and bool(seen)) != answer.comparing.shown:
            answer = self.catalogue.answer(answer, {"front": front if seen else ""})
        return replace(answer, front=front)

    def request(self, **changes: Any) -> RequestError | None:
        """Request changes, all of them or none, as the controls and attributes do.

        Args:
            **changes: Fields of `PruneSpec`; ``scope``, a `prunescope.network.Scope` or its text; ``model``,
                the key of a model; ``view``, a `prunescope.figures.View` for the pictures; ``comparing``, a
                `prunescope.measure.compare.Comparing` with the sides to compare; ``front``, the name of
                the panel to bring to the front; ``exporting``, the file whose text is shown; ``goal``, a
                `prunescope.network.GoalSpec` for the whole network; ``recipe``, a
                `prunescope.recover.Recipe` for fine-tuning.

        Returns:
            None, or why the request was refused; nothing has then changed, and the message is shown.

        Raises:
            TypeError: An unknown keyword.
        """
        _refuse_unknown(changes, REQUESTS)
        blame = next(iter(changes), "layer")
        return self._enter(blame, lambda: self.catalogue.answer(self.snapshot, changes))

    def choose_criterion(self, criterion: str) -> None:
        """Request a criterion, computing its scores in the background with progress on the page."""
        self.tasks.once_scored(criterion, lambda: self.request(criterion=criterion), shown=criterion)

    def choose_sides(self, comparing: Comparing) -> None:
        """Request a comparison, computing missing scores in the background with progress on the page."""
        unscored = (side.criterion for side in (comparing.a, comparing.b) if side and side.criterion)
        waits_for = next((each for each in unscored if self.session.criteria.known(each) is None), WEIGHT)
        self.tasks.once_scored(waits_for, lambda: self.request(comparing=comparing))

    def act(self, action: actions.Act, parameter: str, **changes: Any) -> RequestError | None:
        """Let ``action`` change the session, then request the fields it returns and ``changes``.

        Args:
            action: One of `prunescope.explorer.state.actions`, or a similar function.
            parameter: The field to blame for unexpected errors.
            **changes: More changes, as for `request`.

        Returns:
            None, or why it was refused; nothing has then changed, and the message is shown.
        """

        def ask() -> Snapshot:
            asked = action(self.session, self.preview)
            spec = {name: getattr(self.spec, name) for name in FIELDS} | dict(asked) | changes
            return self.catalogue.answer(self.snapshot, spec)

        return self._enter(parameter, ask)

    def keep_channels(self, kept: int) -> None:
        """Request the amount that leaves ``kept`` output channels of the displayed layer, ranked by norm.

        For a recurrent layer, prune hidden units instead, as a step, since their rows are in several tensors.
        """
        tensor, session = self.preview.tensor, self.session
        owner = tensor.name.rpartition(".")[0]
        units = find_units(session.source.module, tensor.name)
        if units is not None and units.kind == "hidden units":
            left = units.left(session.tensor(units.tensors[1]).effective)
            self.act(partial(actions.prune_units, units=left - kept), "units")
            return
        layer = f"{owner}.weight" if f"{owner}.weight" in session.tensors else tensor.name
        method = {} if self.preview.method.structured else {"method": "ln_structured"}
        amount = max(session.tensor(layer).units(0) - kept, 0)
        self.request(layer=layer, dim=0, amount=amount, **method)

    def rename_plan(self, old: str, new: str) -> RequestError | None:
        """Rename the plan ``old`` to ``new``, in the comparison as well."""
        comparing = self.snapshot.comparing.renamed(old, str(new).strip())
        return self.act(partial(actions.rename, old=old, new=new), "plans", comparing=comparing)

    def remove_plan(self, name: str) -> RequestError | None:
        """Remove the plan ``name``, from the comparison as well."""
        comparing = self.snapshot.comparing.renamed(name, None)
        return self.act(partial(actions.remove, name=name), "plans", comparing=comparing)

    def reload(self, model: nn.Module) -> RequestError | None:
        """Replace the current model with ``model``, keeping steps, plans and view.

        Args:
            model: The same architecture with other weights, such as after more training.

        Returns:
            None, or why it was refused; nothing has then changed, and the message is shown.
        """

        def ask() -> Snapshot:
            before, key = self.session, self.snapshot.model
            after, note = reloaded(before, model)
            self.catalogue.put(key, after)
            try:
                spec = {name: getattr(self.spec, name) for name in FIELDS}
                with after.all_or_nothing():
                    answer = self.catalogue.answer(self.snapshot, spec)
            except BaseException:
                self.catalogue.put(key, before)
                raise
            notes = {**answer.notes, "steps": note} if note else answer.notes
            network = NetworkShown(goal=answer.network.goal)  # The measurements were of the old model.
            return replace(answer, notes=notes, network=network, exported=None)

        return self._enter("model", ask)

    def open_link(self, query: str) -> RequestError | None:
        """Restore the state in a link, all of it or nothing.

        Args:
            query: The part after the ``?`` of the link; unknown parameters are ignored.

        Returns:
            None, or why it was refused; nothing has then changed, and the message is shown.
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
                apply_specs(session, link.steps)
            changes = {"front": "network", **link.changes} if "goal" in link.changes else link.changes
            answer = self.catalogue.answer(self.snapshot, changes)
        return replace(answer, hide=link.hide, lock=link.lock)

    def take_in(self, path: Path, entry: Entry) -> RequestError | None:
        """Add and show a model that was uploaded to ``path``; return the error if it cannot be explored."""
        key = f"upload/{path.parent.name}/{path.name}"
        with self.lock:
            try:
                self.catalogue.add(key, entry)
            except RequestError as problem:
                return problem
            self.request(model=key)
            return None

    def refuse(self, problem: RequestError) -> RequestError:
        """Show ``problem`` next to its control, and leave all else unchanged."""
        with self.lock:
            self._put(replace(self.snapshot, problem=problem, notes={}))
            return problem

    @property
    def query(self) -> str:
        """The whole state as the query of a dashboard link, such as ``"model=cnn&amount=0.3"``."""
        return to_query(self.snapshot)

    def _show(self, answer: Snapshot) -> None:
        """Show ``answer``, and start measuring what is not known yet."""
        before = self.snapshot
        self._put(answer)
        self.tasks.follow(before)
        other_tensor = answer.preview.tensor is not before.preview.tensor
        del before  # Frees the old masks.
        if other_tensor or answer.preview.mask.numel() >= LARGE:
            give_back()

    def publish(self, **found: Any) -> None:
        """Show results of background work: fields of the snapshot, by name."""
        with self.lock:
            self._put(replace(self.snapshot, **found))

    def close(self) -> None:
        """Cancel all background work."""
        self.tasks.close()


def _refuse_unknown(values: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for name in values:
        if name not in allowed:
            raise TypeError(f"unknown keyword {name!r}: allowed are {', '.join(allowed)}")
