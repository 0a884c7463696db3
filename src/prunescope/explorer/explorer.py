"""The explorer: one door for every change, one snapshot per change, and views that only render it.

JupyterLab hands the page's messages to a thread of their own, beside the one that runs cells, so whatever
changes the state or draws holds the explorer's lock.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

import ipywidgets as widgets
import traitlets
from torch import nn

from prunescope.analysis import Accuracy
from prunescope.errors import RequestError
from prunescope.explorer import acts
from prunescope.explorer.canvas import LiveCanvas
from prunescope.explorer.catalogue import Catalogue
from prunescope.explorer.closing import close_tree
from prunescope.explorer.controls import Controls
from prunescope.explorer.evaluation import LiveAccuracy, Measured
from prunescope.explorer.link import Link, controls, from_query, to_query
from prunescope.explorer.page import Page
from prunescope.explorer.pointing import Pointing
from prunescope.explorer.readout import Readout
from prunescope.explorer.ruler import Ruler
from prunescope.explorer.snapshot import Snapshot, shortest_fraction
from prunescope.explorer.steps import StepsPanel
from prunescope.explorer.taking import TakingPanel
from prunescope.explorer.views import LargestWeight, ViewControls
from prunescope.figures import DARK, LIGHT, View
from prunescope.history import History
from prunescope.preview import Preview
from prunescope.prune import Norm
from prunescope.session import Session
from prunescope.spec import FIELDS, PruneSpec
from prunescope.takeaway import FILES, code, plan, pruned_model, save
from prunescope.takeaway.plan import carry_out_specs

_log = logging.getLogger("prunescope")


class Explorer(widgets.VBox):  # type: ignore[misc]
    """The explorer of one model, or of a choice of models: controls, live pictures, numbers.

    The same state is behind the controls and the attributes: moving a slider changes `amount`, and
    ``explorer.amount = 0.5`` moves the slider. A request that cannot be met leaves everything as it was,
    shows one sentence beside the control, and raises it when it came from code.

    Args:
        catalogue: What can be explored.
        hide: Controls that are not shown, some of `prunescope.explorer.link.CONTROLS`.
        lock: Controls that are shown and cannot be moved by hand.
        **spec: Fields of `PruneSpec` to start with: layer, method, amount, n, dim, seed.

    Raises:
        TypeError: An unknown keyword.
        RequestError: The model has nothing to prune, or a value cannot be met.

    Attributes:
        snapshot: What is shown now; observe it to follow every change.

    Example:
        >>> from torch import nn
        >>> from prunescope import explore
        >>> explorer = explore(nn.Linear(4, 3), amount=0.5)
        >>> explorer.preview.pruned_units
        6
        >>> explorer.amount = 2
        >>> explorer.preview.pruned_units
        2
        >>> explorer.close()
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
        self._drawn: tuple[Preview, View] | None = None
        self.snapshot = first
        self._accuracy = LiveAccuracy(self._publish_accuracy)
        self._build()
        self.observe(self._render, names="snapshot")
        self._render()
        self._measure()

    def _build(self) -> None:
        titles = {key: entry.title for key, entry in self._catalogue.entries.items()}
        self._controls = Controls(titles, self.request, self._switch_amount, self._lock)
        self._canvas = LiveCanvas(self._lock)
        self._pointing = Pointing(self._canvas, self._units_up_to, self._ask_for_units)
        self._views = ViewControls(lambda view: self.request(view=view), self._canvas.save, self._lock)
        self._largest_weight = LargestWeight()
        self._readout = Readout()
        self._steps = StepsPanel(self._press, self._jump, self._lock)
        self._taking = TakingPanel(self._take, self._bring, self._lock)
        self._page = Page()
        self._addressed = False
        self._ruler = Ruler()
        self._ruler.observe(self._on_page, names=["width", "dark"])
        self._caption = widgets.HTML().add_class("ps-caption")
        readout = self._readout
        answers = [
            readout.numbers,
            self._controls.amount_widget,
            self._steps.buttons,
            readout.problem,
            self._canvas.widget,
        ]
        panels = {"Steps": self._steps.widget, "Take it home": self._taking.widget}
        sections = widgets.Tab(list(panels.values()), titles=tuple(panels)).add_class("ps-sections")
        picture = widgets.VBox([self._ruler, *answers, readout.honesty, sections, self._page])
        controls = widgets.VBox([self._controls.widget, self._views.widget, self._caption])
        body = widgets.Box([controls.add_class("ps-side"), picture.add_class("ps-picture")]).add_class(
            "ps-body"
        )
        self.children = [body]
        self.add_class("prunescope")
        self._restrict()

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
        session = self._catalogue.session(link.changes.get("model", self.model))
        history = session.history
        try:
            if link.steps is not None:
                carry_out_specs(session, link.steps)
            self.snapshot = self._catalogue.answer(self.snapshot, link.changes)
        except RequestError:
            session.history = history
            raise

    def _restrict(self) -> None:
        self._controls.restrict(self._hide, self._locked)
        self._steps.restrict("steps" in self._hide, "steps" in self._locked)
        self._render()

    def _carry_state_in_address(self) -> None:
        """From now on keep the state in the address of the page, which shows nothing but this explorer."""
        with self._lock:
            self._addressed = True
            self._render()

    # Taking it home.

    def _take(self, what: str, save: bool) -> str:
        file = FILES[what]
        try:
            content = file.content(self._session)
        except RequestError as problem:
            self._refuse(RequestError("what", str(problem)))
            return ""
        if save:
            self._page.save(file.name, content)
            return ""
        return content.decode()

    def _bring(self, text: str) -> RequestError | None:
        return self._act(partial(acts.bring, text=text), "plan")

    def pruned_model(self, *, permanent: bool = False) -> nn.Module:
        """Return a copy of the model with the steps carried out.

        Args:
            permanent: Whether pruning is made permanent, as by ``prune.remove``; else each pruned parameter
                is a ``_orig`` parameter with a ``_mask`` buffer.

        Raises:
            RequestError: The model cannot be copied or pruned, or has changed since.
        """
        with self._lock:
            return pruned_model(self._session, permanent=permanent)

    def plan(self) -> str:
        """Return the steps as JSON, for `load_plan`."""
        return plan(self._session)

    def load_plan(self, text: str) -> None:
        """Carry out the steps of a plan in place of the steps there are.

        Raises:
            RequestError: It is no plan, or is for another model; nothing has changed then.
        """
        self._raise(self._bring(text))

    def code(self, engine: str = "torch") -> str:
        """Return a script that does the steps again, by ``"torch"``'s functions or ``"prunescope"``'s."""
        with self._lock:
            return code(self._session, engine=engine)

    def save(self, what: str, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write a file that the steps make, and return its path.

        Args:
            what: ``state_dict``, ``masks``, ``plan``, or code for ``torch`` or ``prunescope``.
            path: Where to.
            overwrite: Whether a file that is there may be replaced.

        Raises:
            RequestError: There is no such kind, the file is there already, or it cannot be written.
        """
        with self._lock:
            return save(self._session, what, path, overwrite=overwrite)

    # Steps: the door for what changes the history.

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

    def _press(self, name: str) -> None:
        self._act(acts.ACTS[name], "steps")

    def _jump(self, position: int) -> RequestError | None:
        return self._act(partial(acts.jump, position=position), "steps")

    def apply(self) -> None:
        """Make what is shown a step; the amount is 0 again, and the next one is taken of what is left.

        Raises:
            RequestError: The amount prunes nothing.

        Example:
            >>> from torch import nn
            >>> from prunescope import explore
            >>> explorer = explore(nn.Linear(4, 4, bias=False), amount=0.5)
            >>> explorer.apply()
            >>> explorer.amount = 0.5
            >>> explorer.apply()
            >>> [step.share_after for step in explorer.history.done]
            [0.5, 0.75]
            >>> explorer.undo()
            >>> explorer.amount, explorer.preview.pruned_weights
            (0.5, 12)
            >>> explorer.close()
        """
        self._raise(self._act(acts.apply, "steps"))

    def undo(self) -> None:
        """Take the last step back; what it asked is asked again, not yet applied.

        Raises:
            RequestError: There is no step to undo.
        """
        self._raise(self._act(acts.undo, "steps"))

    def redo(self) -> None:
        """Carry the step that was taken back last out again.

        Raises:
            RequestError: No step was taken back.
        """
        self._raise(self._act(acts.redo, "steps"))

    def reset(self) -> None:
        """Go back to the model as it was given; `redo` brings the steps back."""
        self._raise(self._act(acts.reset, "steps"))

    def jump(self, position: int) -> None:
        """Go to where the first ``position`` steps are carried out.

        Raises:
            RequestError: There are not so many steps.
        """
        self._raise(self._jump(position))

    @property
    def history(self) -> History:
        """Return the steps, and how many of them are carried out."""
        return self.snapshot.history

    @property
    def _session(self) -> Session:
        return self._catalogue.session(self.snapshot.model)

    def _switch_amount(self, kind: str) -> None:
        snapshot = self.snapshot
        self.request(amount=snapshot.amount_as_count if kind == "count" else snapshot.amount_as_fraction)

    def _units_up_to(self, preview: Preview, score: float) -> int:
        return self._session.units_up_to(preview, score)

    def _ask_for_units(self, pruned: int) -> None:
        """Ask for a number of units, as the kind of amount that is shown."""
        counted = isinstance(self.amount, int)
        self.request(amount=pruned if counted else shortest_fraction(pruned, self.preview.units))

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

    # The views.

    def _render(self, _change: Any = None) -> None:
        snapshot = self.snapshot
        self._controls.render(snapshot, self._session.tensors)
        self._readout.render(snapshot)
        self._steps.render(snapshot)
        self._taking.render(snapshot)
        self._page.query = self.query if self._addressed else ""
        note = self._session.source.note
        self._caption.value = f"<p>{note}</p>" if note else ""
        preview, view = snapshot.preview, snapshot.view
        self._views.render(view, view.draws_histogram(preview))
        if (preview, view) != self._drawn:
            self._canvas.draw(preview, view, self._model_range(view))
            self._ruler.describe(preview)
            self._drawn = (preview, view)

    def _model_range(self, view: View) -> float | None:
        if view.heatmap != "weights" or view.colour_range != "model":
            return None
        return self._largest_weight.of(tuple(self._session.tensors.values()))

    def _on_page(self, _change: Any) -> None:
        with self._lock:
            self._canvas.set_theme(DARK if self._ruler.dark else LIGHT)
            self._canvas.set_width(self._ruler.width)

    def close(self) -> None:
        """Close every widget, figure and task of the explorer; it is of no use afterwards."""
        if not self.children:
            close_tree(self)
            return
        with self._lock:
            self._accuracy.close()
            self._canvas.close()
            close_tree(self)

    # The same state, as attributes.

    def _set(self, **changes: Any) -> None:
        self._raise(self.request(**changes))

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
    def accuracy(self) -> tuple[Accuracy, Accuracy] | None:
        """Return held-out accuracy before and after the preview, measured now if need be; None without data.

        Raises:
            RequestError: The model cannot be run on the data.
        """
        if not self.snapshot.has_data:
            return None
        return self._session.accuracy(), self._session.accuracy(self.preview)

    @property
    def view(self) -> View:
        """Return what the pictures show of the preview; set it to show something else."""
        return self.snapshot.view

    @view.setter
    def view(self, view: View) -> None:
        self._set(view=view)

    @property
    def model(self) -> str:
        """Return the key of the model shown; set it to show another."""
        return self.snapshot.model

    @model.setter
    def model(self, model: str) -> None:
        self._set(model=model)

    @property
    def layer(self) -> str:
        """Return the full name of the parameter shown; set it to show another (``"fc"`` means its weight)."""
        return self.spec.layer

    @layer.setter
    def layer(self, layer: str) -> None:
        self._set(layer=layer)

    @property
    def method(self) -> str:
        """Return the pruning method, by torch's function name; set it to use another."""
        return self.spec.method

    @method.setter
    def method(self, method: str) -> None:
        self._set(method=method)

    @property
    def amount(self) -> int | float:
        """Return how much to prune: a float is a fraction, an int a count; set it to prune more or less."""
        return self.spec.amount

    @amount.setter
    def amount(self, amount: int | float) -> None:
        self._set(amount=amount)

    @property
    def n(self) -> Norm:
        """Return the order of the norm; set it to a number, ``inf``, ``-inf``, ``"fro"`` or ``"nuc"``."""
        return self.spec.n

    @n.setter
    def n(self, n: Norm) -> None:
        self._set(n=n)

    @property
    def dim(self) -> int:
        """Return the axis that numbers the channels; set it to choose another."""
        return self.spec.dim

    @dim.setter
    def dim(self, dim: int) -> None:
        self._set(dim=dim)

    @property
    def seed(self) -> int:
        """Return the seed of the random methods; set it for another draw."""
        return self.spec.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._set(seed=seed)


def _refuse_unknown(values: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for name in values:
        if name not in allowed:
            raise TypeError(f"unknown keyword {name!r}: allowed are {', '.join(allowed)}")
