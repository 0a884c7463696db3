"""The controls of the pictures, folded away behind a button until needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import ipywidgets as widgets

from prunescope.core.glossary import GLOSSARY
from prunescope.explorer import html
from prunescope.explorer.html import show
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.figures import VIEW_CHOICES

_NAMES = {
    "heatmap": "Heatmap",
    "colour_range": "Colours",
    "chart": "Chart",
    "order": "Bars",
    "scale": "Scale",
    "norms": "Norms",
    "overlay": "Overlay",
}


class ViewControls(Panel):
    """One list for each field of `View`, and saving the picture.

    Attributes:
        lists: The lists, by the field they set.
        format: The format to save the picture in.
        save: The button that saves it.
        fold: The button that folds the controls away.
    """

    name = "view"
    title = "View"

    def __init__(self, state: ExplorerState, save: Callable[[str], object]) -> None:
        """Make the controls; ``save`` is called with a format, such as ``"svg"``."""
        super().__init__(state)
        self.lists = {name: self._list(name) for name in VIEW_CHOICES}
        self.format = widgets.Dropdown(
            description="Picture as", tooltip=GLOSSARY["picture format"],
            options=[("PNG", "png"), ("SVG", "svg"), ("PDF", "pdf")],
            layout=widgets.Layout(width="auto"),
        )  # fmt: skip
        self.save = widgets.Button(description="Save picture", tooltip=GLOSSARY["save picture"])
        self.press(self.save, lambda: save(self.format.value))
        saving = widgets.Box([self.format, self.save]).add_class("ps-saving")
        # A button, since the header of ipywidgets' accordion cannot be reached by keyboard.
        self.fold = widgets.ToggleButton(
            description="View", tooltip=GLOSSARY["view"], layout=widgets.Layout(width="auto")
        )
        self._column = widgets.VBox([*self.lists.values(), saving]).add_class("ps-controls")
        show(self._column, False)
        self.hear(self.fold, lambda unfolded: show(self._column, unfolded))
        self.widget = widgets.VBox([self.fold, self._column]).add_class("ps-view")

    def _list(self, name: str) -> widgets.Dropdown:
        dropdown = widgets.Dropdown(
            description=_NAMES[name],
            tooltip=GLOSSARY[name.replace("_", " ")],
            options=[(label, value) for value, label in VIEW_CHOICES[name].items()],
            layout=widgets.Layout(width="auto"),
        )
        self.hear(
            dropdown,
            lambda value: self.state.request(view=replace(self.state.snapshot.view, **{name: value})),
        )
        return dropdown

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Hide the controls if ``view`` is hidden."""
        html.hide(self.widget, "view" in hide)

    def render(self, snapshot: Snapshot) -> None:
        """Show the view of ``snapshot``; controls without effect are greyed out."""
        view = snapshot.view
        with self.writing():
            for name, dropdown in self.lists.items():
                dropdown.value = getattr(view, name)
        weights = view.heatmap == "weights"
        html.enable(self.lists["colour_range"], "" if weights else "only for the weights in the heatmap.")
        for name in ("order", "norms", "overlay"):
            norms = "norms" in view.charts(snapshot.preview)
            html.enable(self.lists[name], "" if norms else "only for the chart of norms.")
