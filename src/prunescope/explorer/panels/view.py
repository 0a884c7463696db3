"""The controls of what the pictures show, folded away behind a button until someone wants them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import ipywidgets as widgets

from prunescope.core.tensor import PrunableTensor
from prunescope.figures import VIEW_CHOICES, View
from prunescope.prune import channel_norms

_NAMES = {
    "heatmap": "Heatmap",
    "colour_range": "Colours",
    "chart": "Chart",
    "order": "Bars",
    "scale": "Scale",
    "norms": "Norms",
    "overlay": "Overlay",
}


class ViewControls:
    """One list for each field of `View`.

    Args:
        ask: Called with the view a person has chosen.
        save: Called with the format, such as ``"svg"``, when a person wants the picture as a file.
        lock: Held while a change is acted on; whoever renders holds it too.

    Attributes:
        widget: The folded controls.
    """

    def __init__(
        self,
        ask: Callable[[View], object],
        save: Callable[[str], object],
        lock: AbstractContextManager[object],
    ) -> None:
        self._ask = ask
        self._lock = lock
        self._rendering = False
        self._view = View()
        self.lists = {name: self._list(name) for name in VIEW_CHOICES}
        self._save = save
        self.format = widgets.Dropdown(
            description="Picture as", options=[("PNG", "png"), ("SVG", "svg"), ("PDF", "pdf")],
            layout=widgets.Layout(width="auto"),
        )  # fmt: skip
        self.save_button = widgets.Button(description="Save picture")
        self.save_button.on_click(self._on_save)
        saving = widgets.Box([self.format, self.save_button]).add_class("ps-saving")
        # A button, since the header of ipywidgets' accordion cannot be reached by keyboard.
        self.fold = widgets.ToggleButton(description="View", layout=widgets.Layout(width="auto"))
        self._column = widgets.VBox([*self.lists.values(), saving]).add_class("ps-controls")
        self._column.layout.display = "none"
        self.fold.observe(self._on_fold, names="value")
        self.widget = widgets.VBox([self.fold, self._column]).add_class("ps-view")

    def _on_fold(self, change: Any) -> None:
        self._column.layout.display = None if change["new"] else "none"

    def _list(self, name: str) -> widgets.Dropdown:
        dropdown = widgets.Dropdown(
            description=_NAMES[name],
            options=[(label, value) for value, label in VIEW_CHOICES[name].items()],
            layout=widgets.Layout(width="auto"),
        )

        def on_change(change: Any) -> None:
            with self._lock:
                if not self._rendering:
                    self._ask(replace(self._view, **{name: change["new"]}))

        dropdown.observe(on_change, names="value")
        return dropdown

    def _on_save(self, _button: widgets.Button) -> None:
        with self._lock:
            self._save(self.format.value)

    def render(self, view: View, charts: Sequence[str]) -> None:
        """Show ``view``; what has no say in it is greyed out.

        Args:
            view: What the pictures show.
            charts: What stands below the heatmap.
        """
        self._view = view
        self._rendering = True
        try:
            for name, dropdown in self.lists.items():
                dropdown.value = getattr(view, name)
            self.lists["colour_range"].disabled = view.heatmap != "weights"
            for name in ("order", "norms", "overlay"):
                self.lists[name].disabled = "norms" not in charts
        finally:
            self._rendering = False


class LargestWeight:
    """The largest magnitude in a model, looked for once as long as its tensors are the same."""

    def __init__(self) -> None:
        self._known: tuple[tuple[PrunableTensor, ...], float] = ((), 0.0)

    def of(self, tensors: Sequence[PrunableTensor]) -> float:
        """Return the largest magnitude in ``tensors``."""
        found = tuple(tensors)
        if found != self._known[0]:
            self._known = (found, max(_largest(tensor) for tensor in found if math.prod(tensor.shape)))
        return self._known[1]


def _largest(tensor: PrunableTensor) -> float:
    """Return the largest magnitude in ``tensor``, which is read once and not copied."""
    return float(channel_norms(tensor.weight, n=math.inf, dim=0).max())
