"""The visible explorer: controls, picture and panels, composed as views that only render one state."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from prunescope.core.channels import KEPT
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview, shortest_fraction
from prunescope.core.spec import BY_HAND
from prunescope.explorer.canvas.canvas import LiveCanvas
from prunescope.explorer.canvas.pointing import Pointing
from prunescope.explorer.canvas.ruler import Ruler
from prunescope.explorer.closing import tell_again
from prunescope.explorer.html import hide
from prunescope.explorer.panels import PANELS, Panel
from prunescope.explorer.panels.controls import Controls
from prunescope.explorer.panels.costs import CostsPanel
from prunescope.explorer.panels.export import ExportPanel
from prunescope.explorer.panels.layers import not_prunable_list
from prunescope.explorer.panels.page import Page
from prunescope.explorer.panels.readout import Readout
from prunescope.explorer.panels.steps import StepsPanel
from prunescope.explorer.panels.strip import Strip
from prunescope.explorer.panels.upload import Upload
from prunescope.explorer.panels.view import ViewControls
from prunescope.explorer.state.catalogue import Entry
from prunescope.explorer.state.link import CONTROLS
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.figures import DARK, LIGHT
from prunescope.network.scoped import units_up_to
from prunescope.sources import FORMATS, checkpoint_source

_HEAD = "<h1>Prunescope</h1><p>Prune a neural network and watch what it loses: drag <b>Amount</b>.</p>"
"""The page's heading, where it shows nothing else; a notebook has its own."""


class Screen:
    """The widgets of an explorer.

    Args:
        state: What is explored and shown.

    Attributes:
        widget: The root widget.
        strip: The network as bars.
        controls, view, readout: The settings, how the pictures are drawn, and the numbers.
        canvas: The live picture.
        ruler: Measures the page for it.
        panels: The panels that have a tab, by name.
        tabs: Their tabs.
        page: The bridge to the page.
        head: The page's heading.
        caption: A note on the model.
        side: The column of settings.
        upload: The button that uploads a checkpoint, or None.
    """

    def __init__(self, state: ExplorerState) -> None:
        self.state = state
        self._shown: Snapshot | None = None
        self._arranging = self._addressed = self._page_is_there = False
        self._looked_at: str | None = None
        self.upload: Upload | None = None
        self._make_picture()
        self.controls, self.readout = Controls(state), Readout(state)
        self.strip = Strip(state)
        self.view = ViewControls(state, self.canvas.save)
        self.panels: dict[str, Panel] = {panel.name: panel(state) for panel in PANELS}
        self._compose()
        hands = [self.controls.percent_slider, self.controls.count_slider, self.canvas.widget]
        self.ruler.canvas, self.ruler.hands = hands[-1].model_id, [hand.model_id for hand in hands]
        self.render(state.snapshot)
        state.observe(lambda change: self.render(change["new"]), names="snapshot")

    def _make_picture(self) -> None:
        self.canvas = LiveCanvas(self.state.lock)
        self.ruler = Ruler()
        self.pointing = Pointing(
            self.canvas, self._units_up_to, self._ask_for_units, self._turn, self.ruler.say
        )
        self.ruler.observe(self._on_page, names=["width", "panel_width", "dark", "stretches"])

    @property
    def steps(self) -> StepsPanel:
        """The panel of the steps, whose buttons stand under the amount."""
        panel = self.panels["steps"]
        assert isinstance(panel, StepsPanel)
        return panel

    @property
    def costs(self) -> CostsPanel:
        """The panel of the costs, whose line stands under the picture."""
        panel = self.panels["costs"]
        assert isinstance(panel, CostsPanel)
        return panel

    @property
    def page(self) -> Page:
        """The bridge to the page: it saves files and keeps the state in the address."""
        panel = self.panels["export"]
        assert isinstance(panel, ExportPanel)
        return panel.page

    def _compose(self) -> None:
        self.caption = widgets.HTML().add_class("ps-caption")
        self.tabs = widgets.Tab().add_class("ps-sections")
        self.tabs.observe(self._on_tab, names="selected_index")
        self._put_away = widgets.VBox().add_class("ps-hidden")
        self.head = widgets.HTML(_HEAD).add_class("ps-head")
        hide(self.head, True)
        hand = widgets.Box([self.controls.amount_widget, self.steps.bar]).add_class("ps-hand")
        bar = widgets.VBox([hand, self.readout.numbers, self.readout.problem]).add_class("ps-bar")
        chosen = [self.controls.widget, self.view.widget, self.caption]
        self.side = widgets.VBox(chosen).add_class("ps-side")
        picture = widgets.VBox([self.ruler, self.canvas.widget, self.costs.line]).add_class("ps-picture")
        panels = widgets.VBox([self.tabs, self._put_away, self.page]).add_class("ps-panels")
        body = widgets.Box([self.side, picture, panels]).add_class("ps-body")
        self.widget = widgets.VBox([self.head, self.strip.widget, bar, body]).add_class("ps-screen")

    def let_upload(self, folder: Path, limit: int) -> None:
        """Show a button that uploads a checkpoint into ``folder``, which is removed with the session."""
        with self.state.lock:
            self.upload = Upload(folder, limit, tuple(FORMATS), self._take_in, self.state.lock)
            *chosen, caption = self.side.children
            self.side.children = [*chosen, self.upload, caption]
            self._restrict(self.state.snapshot)

    def _take_in(self, path: Path) -> RequestError | None:
        """List the checkpoint that was uploaded to ``path`` and open it; return why that fails, or None."""
        most = None if self.upload is None else self.upload.limit
        entry = Entry(path.name, partial(checkpoint_source, path, within=path.parent, largest=most))
        return self.state.take_in(path, entry)

    def carry_state_in_address(self) -> None:
        """From now on keep the state in the address of the page, which shows only this explorer."""
        with self.state.lock:
            self._addressed = True
            hide(self.head, False)
            self.page.query = self.state.query

    # Requests of the pointer.

    def _units_up_to(self, preview: Preview, score: float) -> int:
        return units_up_to(self.state.session, preview, score)

    def _ask_for_units(self, pruned: int) -> None:
        """Request a number of units, in the kind of the current amount, unless that is locked."""
        if "amount" in self.state.snapshot.lock:
            return
        counted, preview = isinstance(self.state.spec.amount, int), self.state.preview
        self.state.request(amount=pruned if counted else shortest_fraction(pruned, preview.most))

    def _turn(self, channel: int) -> None:
        """Prune ``channel`` by hand, keep it by hand, or leave it to the method again."""
        spec, preview = self.state.spec, self.state.preview
        turned = preview.turned(channel)
        if turned is None:
            why = f"an earlier step pruned channel {channel:,}. Undo that step to keep it."
            self.state.refuse(RequestError("keep_channels", f"`keep_channels`: {why}"))
        elif not self.state.snapshot.lock & set(BY_HAND):
            keep, prune = (set(getattr(spec, name)) - {channel} for name in BY_HAND)
            if turned != preview.state(channel, by_method=True):
                (keep if turned == KEPT else prune).add(channel)
            self.state.request(keep_channels=keep, prune_channels=prune)

    # The views.

    def _views(self) -> Iterator[Panel]:
        yield from (self.strip, self.controls, self.view, self.readout)
        yield from self.panels.values()

    def render(self, snapshot: Snapshot) -> None:
        """Show ``snapshot``: the picture first, which takes longest to decode in the page."""
        before, self._shown = self._shown, snapshot
        with self.state.lock:
            self._render_picture(snapshot, before)
            if before is None or (before.hide, before.lock) != (snapshot.hide, snapshot.lock):
                self._restrict(snapshot)
            for view in self._views():
                view.render(snapshot)
            self._arrange(snapshot)
            self.page.query = self.state.query if self._addressed else ""
            self._render_caption(snapshot)
            if snapshot.comparison is not None:
                self.ruler.others = {"ps-compare": snapshot.comparison.sentence}

    def _render_picture(self, snapshot: Snapshot, before: Snapshot | None) -> None:
        preview, view = snapshot.preview, snapshot.view
        if before is None or (preview, view) != (before.preview, before.view):
            self.canvas.draw(preview, view, snapshot.largest_weight)
            self.ruler.describe(preview)

    def _render_caption(self, snapshot: Snapshot) -> None:
        note, reasons = snapshot.note, {} if "layer" in snapshot.hide else snapshot.not_prunable
        self.caption.value = (f"<p>{note}</p>" if note else "") + not_prunable_list(reasons)
        beside = {*CONTROLS, "view"} - {"amount", "scope", "steps", "group"}  # A group is hidden with `dim`.
        beside -= {"model"} if len(snapshot.models) == 1 else set()
        hide(self.side, not note and snapshot.hide.issuperset(beside))

    def _restrict(self, snapshot: Snapshot) -> None:
        for view in self._views():
            view.restrict(snapshot.hide, snapshot.lock)
        if self.upload is not None:
            hide(self.upload, "model" in snapshot.hide | snapshot.lock)

    # The tabs.

    @property
    def in_front(self) -> str:
        """Name of the panel in front; "" if there is none."""
        names, index = self._tabbed, self.tabs.selected_index
        return names[index] if index is not None and index < len(names) else ""

    @property
    def _tabbed(self) -> list[str]:
        return [name for name, panel in self.panels.items() if panel.widget in self.tabs.children]

    def _arrange(self, snapshot: Snapshot) -> None:
        """Show a tab for each panel that is not hidden; the others stay in the tree, and close with it."""
        shown = {
            name: panel
            for name, panel in self.panels.items()
            if name not in snapshot.hide and panel.offered(snapshot)
        }
        self._arranging = True
        try:
            if list(shown) != self._tabbed or self._put_away.children == self.tabs.children:
                self._put_away.children = [
                    panel.widget for name, panel in self.panels.items() if name not in shown
                ]
                self.tabs.children = [panel.widget for panel in shown.values()]
                self.tabs.titles = tuple(panel.title for panel in shown.values())
            if shown:
                index = list(shown).index(snapshot.front) if snapshot.front in shown else 0
                if self.tabs.selected_index != index:
                    self.tabs.selected_index = index
        finally:
            self._arranging = False
        hide(self.tabs, not shown)
        if self._looked_at != self.in_front:
            self._looked_at = self.in_front
            for name, panel in self.panels.items():
                panel.look(name == self._looked_at)

    def _on_tab(self, _change: Any) -> None:
        with self.state.lock:
            if not self._arranging and self.in_front:
                self.state.request(front=self.in_front)

    def _on_page(self, _change: Any) -> None:
        with self.state.lock:
            if not self._page_is_there:
                self._page_is_there = True
                tell_again(self.widget)
            if self.ruler.stretches:
                self.canvas.page_stretches()
            theme, width = DARK if self.ruler.dark else LIGHT, self.ruler.width
            self.canvas.set_theme(theme)
            if width:  # A page that has not been measured yet does not count.
                self.canvas.set_width(width)
            for panel in self.panels.values():
                panel.set_page(self.ruler.panel_width or width, theme)

    def close(self) -> None:
        """Stop the work of the panels and the picture."""
        for view in self._views():
            view.close()
        self.canvas.close()
        if self.upload is not None:
            self.upload.clear()
