"""The explorer: controls and live pictures composed, as views of one state that only render it.

JupyterLab hands the page's messages to a thread of their own, beside the one that runs cells, so whatever
changes the state or draws holds the explorer's lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from prunescope.core.channels import KEPT
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview, shortest_fraction
from prunescope.core.spec import BY_HAND
from prunescope.explorer.api import Attributes
from prunescope.explorer.canvas.canvas import LiveCanvas
from prunescope.explorer.canvas.pointing import Pointing
from prunescope.explorer.canvas.ruler import Ruler
from prunescope.explorer.closing import close_tree
from prunescope.explorer.panels.compare import ComparePanel
from prunescope.explorer.panels.controls import Controls
from prunescope.explorer.panels.costs import CostsPanel
from prunescope.explorer.panels.effect import EffectPanel
from prunescope.explorer.panels.export import TakingPanel
from prunescope.explorer.panels.layers import not_prunable_list
from prunescope.explorer.panels.page import Page
from prunescope.explorer.panels.plans import PlansPanel
from prunescope.explorer.panels.readout import Readout
from prunescope.explorer.panels.steps import StepsPanel
from prunescope.explorer.panels.upload import Upload
from prunescope.explorer.panels.view import LargestWeight, ViewControls
from prunescope.explorer.state import actions as acts
from prunescope.explorer.state.catalogue import Catalogue, Entry
from prunescope.explorer.state.link import CONTROLS
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.export import FILES, file_name, files_of
from prunescope.figures import DARK, LIGHT, View
from prunescope.sources import FORMATS, checkpoint_source


class Explorer(Attributes, widgets.VBox):  # type: ignore[misc]
    """The explorer of one model, or of a choice of models: controls, live pictures, numbers.

    The same state is behind the controls and the attributes: moving a slider changes `amount`, and
    ``explorer.amount = 0.5`` moves the slider. A request that cannot be met leaves everything as it was,
    shows one sentence beside the control, and raises it when it came from code.

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

    def __init__(
        self, catalogue: Catalogue, *, hide: Iterable[str] = (), lock: Iterable[str] = (), **spec: Any
    ) -> None:
        super().__init__(catalogue, hide=hide, lock=lock, **spec)
        self._drawn: tuple[Preview, View] | None = None
        self._build()
        self.observe(self._render, names="snapshot")
        self._render()
        self._measure()

    def _build(self) -> None:
        titles = {key: entry.title for key, entry in self._catalogue.entries.items()}
        self._controls = Controls(titles, self.request, self._switch_amount, self._lock)
        self._canvas = LiveCanvas(self._lock)
        hands = [self._controls.percent_slider, self._controls.count_slider, self._canvas.widget]
        self._ruler = Ruler(canvas=hands[-1].model_id, hands=[hand.model_id for hand in hands])
        self._pointing = Pointing(
            self._canvas, self._units_up_to, self._ask_for_units, self._turn, self._ruler.say
        )
        self._views = ViewControls(lambda view: self.request(view=view), self._canvas.save, self._lock)
        self._largest_weight = LargestWeight()
        self._readout = Readout()
        self._steps = StepsPanel(self._press, self._jump, self._lock)
        self._costs = CostsPanel(self._silence, self._measure_large)
        self._taking = TakingPanel(self._take, self._bring, self._lock)
        self._effect = EffectPanel(self._lock)
        self._compare_panel = ComparePanel(lambda comparing: self.request(comparing=comparing), self._lock)
        self._plans_panel = PlansPanel(self._press_plan, self._lock)
        self._compare_tab = widgets.VBox([self._compare_panel.widget, self._plans_panel.widget])
        self._arranging = False
        self._page = Page()
        self._addressed = False
        self._beside = {*CONTROLS, "view"} - {"amount", "steps"} - ({"model"} if len(titles) == 1 else set())
        self._ruler.observe(self._on_page, names=["width", "dark", "stretches"])
        self._caption = widgets.HTML().add_class("ps-caption")
        readout = self._readout
        answers = [
            readout.numbers,
            self._controls.amount_widget,
            self._steps.buttons,
            readout.problem,
            self._canvas.widget,
        ]
        self._sections = widgets.Tab().add_class("ps-sections")
        self._sections.observe(self._on_section, names="selected_index")
        self._put_away = widgets.VBox().add_class("ps-hidden")
        below = [self._costs.line, self._sections, self._put_away, self._page]
        picture = widgets.VBox([self._ruler, *answers, *below]).add_class("ps-picture")
        self._upload: Upload | None = None
        self._side = widgets.VBox([self._controls.widget, self._views.widget, self._caption])
        body = widgets.Box([self._side.add_class("ps-side"), picture]).add_class("ps-body")
        self.children = [body]
        self.add_class("prunescope")
        self._restrict()

    def _let_upload(self, folder: Path, limit: int) -> None:
        """Show a button that uploads a checkpoint into ``folder``, which goes with the session."""
        self._upload = Upload(folder, limit, tuple(FORMATS), self._take_in, self._lock)
        *controls, caption = self._side.children
        self._side.children = [*controls, self._upload, caption]
        self._restrict()

    def _take_in(self, path: Path) -> RequestError | None:
        """Offer the checkpoint that was uploaded to ``path``, and show it; return why not."""
        key = f"upload/{path.parent.name}/{path.name}"
        most = None if self._upload is None else self._upload.limit
        entry = Entry(path.name, partial(checkpoint_source, path, within=path.parent, largest=most))
        try:
            self._catalogue.add(key, entry)
        except RequestError as problem:
            return problem
        self._controls.offer({key: entry.title for key, entry in self._catalogue.entries.items()})
        self.request(model=key)
        return None

    # What the controls ask.

    def _switch_amount(self, kind: str) -> None:
        snapshot = self.snapshot
        self.request(amount=snapshot.amount_as_count if kind == "count" else snapshot.amount_as_fraction)

    def _units_up_to(self, preview: Preview, score: float) -> int:
        return self._session.units_up_to(preview, score)

    def _ask_for_units(self, pruned: int) -> None:
        """Ask for a number of units, as the kind of amount that is shown, unless that is locked."""
        if "amount" in self._locked:
            return
        counted = isinstance(self.amount, int)
        self.request(amount=pruned if counted else shortest_fraction(pruned, self.preview.units))

    def _turn(self, channel: int) -> None:
        """Prune ``channel`` by hand if it is kept, or keep it, or leave it to the method again."""
        spec, state = self.spec, self.preview.turned(channel)
        if state is None:
            why = f"an earlier step pruned channel {channel:,}. Undo that step to keep it."
            self._refuse(RequestError("keep_channels", f"`keep_channels`: {why}"))
        elif not self._locked & set(BY_HAND):
            keep, prune = (set(getattr(spec, name)) - {channel} for name in BY_HAND)
            if state != self.preview.state(channel, by_method=True):
                (keep if state == KEPT else prune).add(channel)
            self.request(keep_channels=keep, prune_channels=prune)

    def _press(self, name: str) -> None:
        self._act(acts.ACTS[name], "steps")

    def _silence(self) -> None:
        self._act(acts.silence, "silence")

    def _jump(self, position: int) -> None:
        self._act(partial(acts.jump, position=position), "steps")

    def _press_plan(self, name: str, plan: str, text: str) -> RequestError | None:
        acts_of_plans = {
            "keep": lambda: self._keep_plan(text),
            "carry_out": lambda: self._carry_out(plan),
            "rename": lambda: self._rename_plan(plan, text),
            "remove": lambda: self._remove_plan(plan),
        }
        return acts_of_plans[name]()

    def _on_section(self, _change: Any = None) -> None:
        """Draw and compare what stands in front, and nothing else."""
        with self._lock:
            in_front = self._in_front()
            self._effect.look(in_front is self._effect.widget)
            comparing, shown = self.snapshot.comparing, in_front is self._compare_tab
            if not self._arranging and shown != comparing.shown:
                self.request(comparing=replace(comparing, shown=shown))

    def _in_front(self) -> widgets.Widget | None:
        sections, shown = self._sections.children, self._sections.selected_index
        return sections[shown] if shown is not None and shown < len(sections) else None

    def _take(self, what: str, save: bool) -> str:
        file = FILES[what]
        try:
            content = file.content(self._session)
        except RequestError as problem:
            self._refuse(RequestError("what", str(problem)))
            return ""
        if save:
            self._page.save(file_name(self._session, what), content)
            return ""
        return content.decode()

    # The views.

    def _restrict(self) -> None:
        self._controls.restrict(self._hide, self._locked)
        for panel in (self._steps, self._costs, self._plans_panel):
            panel.restrict("steps" in self._hide, "steps" in self._locked)
        self._costs.shorten("costs" in self._hide)
        _show(self._views.widget, "view" not in self._hide)
        if self._upload is not None:
            _show(self._upload, not (self._hide | self._locked) & {"model"})
        self._show_sections()
        self._render()
        self._on_section()

    def _show_sections(self) -> None:
        """Have a tab for each section that is not hidden; the others stay in the tree, and close with it."""
        sections = {
            "steps": ("Steps", self._steps.widget),
            "compare": ("Compare", self._compare_tab),
            "effect": ("Effect", self._effect.widget),
            "costs": ("Costs", self._costs.widget),
            "takeaway": ("Take it home", self._taking.widget),
        }
        hide = self._hide if self._measurable else self._hide | {"effect"}
        shown = [section for name, section in sections.items() if name not in hide]
        in_front, self._arranging = self._in_front(), True
        self._put_away.children = [widget for name, (_, widget) in sections.items() if name in hide]
        self._sections.children = [widget for _, widget in shown]
        self._sections.titles = tuple(title for title, _ in shown)
        self._bring_to_front(in_front)
        self._arranging = False
        _show(self._sections, bool(shown))

    @property
    def _measurable(self) -> bool:
        """Return whether there is a model whose effect can be measured, as far as is known."""
        alone = len(self._catalogue.entries) == 1
        return not alone or self.snapshot.has_data or bool(self.snapshot.evaluates)

    def _bring_to_front(self, section: widgets.Widget | None) -> None:
        """Have ``section`` in front if it has a tab, or else the first one."""
        children = self._sections.children
        if children:
            self._sections.selected_index = children.index(section) if section in children else 0

    def _carry_state_in_address(self) -> None:
        """From now on keep the state in the address of the page, which shows nothing but this explorer."""
        with self._lock:
            self._addressed = True
            self._render()

    def _render(self, _change: Any = None) -> None:
        """Show the snapshot: the picture first, which takes longest to unpack in the page."""
        snapshot = self.snapshot
        self._render_picture(snapshot.preview, snapshot.view)
        self._controls.render(snapshot, self._session.tensors)
        self._readout.render(snapshot)
        self._steps.render(snapshot)
        self._costs.render(snapshot)
        self._effect.render(snapshot)
        self._taking.render(snapshot, files_of(self._session))
        self._plans_panel.render(snapshot)
        self._page.query = self.query if self._addressed else ""
        note = self._session.source.note
        reasons = {} if "layer" in self._hide else self._session.not_prunable
        self._caption.value = (f"<p>{note}</p>" if note else "") + not_prunable_list(reasons)
        _show(self._side, bool(note) or not self._hide.issuperset(self._beside))
        self._render_comparison(snapshot)

    def _render_picture(self, preview: Preview, view: View) -> None:
        self._views.render(view, view.charts(preview))
        if (preview, view) != self._drawn:
            self._canvas.draw(preview, view, self._model_range(view))
            self._ruler.describe(preview)
            self._drawn = (preview, view)

    def _render_comparison(self, snapshot: Snapshot) -> None:
        self._arranging = True
        if snapshot.comparing.shown != (self._in_front() is self._compare_tab):
            self._bring_to_front(self._compare_tab if snapshot.comparing.shown else None)
        self._arranging = False
        self._compare_panel.render(snapshot)
        if snapshot.comparison is not None:
            self._ruler.others = {"ps-compare": snapshot.comparison.sentence}

    def _model_range(self, view: View) -> float | None:
        if view.heatmap != "weights" or view.colour_range != "model":
            return None
        return self._largest_weight.of(tuple(self._session.tensors.values()))

    def _on_page(self, _change: Any) -> None:
        with self._lock:
            if self._ruler.stretches:
                self._canvas.page_stretches()
            theme, width = DARK if self._ruler.dark else LIGHT, self._ruler.width
            self._canvas.set_theme(theme)
            if width:  # A page that has not measured yet has no say.
                self._canvas.set_width(width)
            self._effect.set_page(width, theme)
            self._compare_panel.set_page(width, theme)

    def close(self) -> None:
        """Close every widget, figure and task of the explorer; it is of no use afterwards."""
        if not self.children:
            close_tree(self)
            return
        with self._lock:
            self._live.close()
            self._live_costs.close()
            self._sides.close()
            self._compare_panel.close()
            self._canvas.close()
            if self._upload is not None:
                self._upload.clear()
            close_tree(self)


def _show(widget: widgets.Widget, shown: bool) -> None:
    (widget.remove_class if shown else widget.add_class)("ps-hidden")
