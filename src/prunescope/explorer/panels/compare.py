"""Two states side by side: a list for each, the picture of both, and their numbers as a table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from html import escape
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from prunescope.core.spec import METHODS
from prunescope.explorer.canvas.canvas import DPI, PictureCanvas
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.figures import LIGHT, ComparisonFigure, Theme
from prunescope.measure import Comparison
from prunescope.measure.compare import GIVEN, Choice, Comparing

_PADDING = 34
"""Pixels that the tab takes of the width, on both sides together."""

SHOWN = "What is shown above"
"""What the state without any change is called."""


class ComparePanel:
    """What is compared with what, and how they differ.

    The picture is made when the first comparison is looked at.

    Args:
        ask: Called with the `Comparing` that a person has chosen.
        lock: Held while a change is acted on; whoever calls a method holds it too.

    Attributes:
        widget: The panel.
        a, b: The lists of both sides.
        hold: The button that keeps the present settings as the second side.
    """

    def __init__(self, ask: Callable[[Comparing], object], lock: AbstractContextManager[object]) -> None:
        self._ask = ask
        self._lock = lock
        self._rendering = False
        self._snapshot: Snapshot | None = None
        self._canvas: PictureCanvas[ComparisonFigure] | None = None
        self._drawn: tuple[object, ...] = ()
        self._page: tuple[int, Theme] = (900, LIGHT)
        self.a, self.b = self._list("Compare", "a"), self._list("with", "b")
        tip = "B keeps the method, norm, dim and seed that are set now; A goes on with the controls"
        self.hold = widgets.Button(description="Hold these settings as B", tooltip=tip)
        self.hold.on_click(self._on_hold)
        self._message = widgets.HTML().add_class("ps-message")
        self._holder = widgets.VBox().add_class("ps-compared")
        self._table = widgets.HTML().add_class("ps-compare-table")
        row = widgets.Box([self.a, self.b, self.hold]).add_class("ps-take-row")
        self.widget = widgets.VBox([row, self._message, self._holder, self._table]).add_class("ps-compare")

    def _list(self, description: str, side: str) -> widgets.Dropdown:
        dropdown = widgets.Dropdown(description=description, options=[(SHOWN, Choice())])

        def on_change(change: Any) -> None:
            with self._lock:
                if not self._rendering and self._snapshot is not None:
                    self._ask(replace(self._snapshot.comparing, **{side: change["new"]}))

        dropdown.observe(on_change, names="value")
        return dropdown

    def _on_hold(self, _button: widgets.Button) -> None:
        with self._lock:
            if self._snapshot is not None:
                self._ask(replace(self._snapshot.comparing, b=held(self._snapshot)))

    def render(self, snapshot: Snapshot) -> None:
        """Show what ``snapshot`` compares; nothing is drawn while nobody looks."""
        self._snapshot = snapshot
        if not snapshot.comparing.shown:
            return
        self._rendering = True
        try:
            chosen = {"a": snapshot.comparing.a, "b": snapshot.comparing.other(snapshot.preview)}
            for side, choice in chosen.items():
                _choose(getattr(self, side), choices(snapshot, choice), choice)
        finally:
            self._rendering = False
        self._say(snapshot)
        self._show(snapshot.comparison)

    def _say(self, snapshot: Snapshot) -> None:
        seen = snapshot.comparison
        text = snapshot.message("compare") or snapshot.comparing_problem
        told = (seen.problems.get(name, "") for name in ("accuracy", "numbers")) if seen else ()
        text = text or next(filter(None, told), "")
        self._message.value = f'<div role="alert" class="ps-problem">{escape(text)}</div>' if text else ""
        self._message.layout.display = None if text else "none"

    def _show(self, seen: Comparison | None) -> None:
        self._holder.layout.display = self._table.layout.display = None if seen else "none"
        if seen is None:
            return
        drawn = seen.a.mask, seen.b.mask, seen.norms, seen.a.title, seen.b.title
        if not _same(drawn, self._drawn):
            self._drawn = drawn
            self._picture().draw(seen)
        self._table.value = seen.html

    def _picture(self) -> PictureCanvas[ComparisonFigure]:
        if self._canvas is None:
            figure = Figure(figsize=(9, 5.8), dpi=DPI)
            self._canvas = PictureCanvas(ComparisonFigure(figure, self._page[1]), self._lock)
            self._canvas.set_width(self._page[0])
            self._holder.children = [self._canvas.widget]
        return self._canvas

    def set_page(self, width: int, theme: Theme) -> None:
        """Take the width in CSS pixels that the page has, and its colours."""
        self._page = width - _PADDING, theme
        if self._canvas is not None:
            self._canvas.set_theme(theme)
            self._canvas.set_width(self._page[0])

    def close(self) -> None:
        """Stop listening; the widgets are closed with the tree they stand in."""
        if self._canvas is not None:
            self._canvas.close()


def held(snapshot: Snapshot) -> Choice:
    """Return the choice that keeps the settings of ``snapshot``, all but the amount."""
    spec, uses = snapshot.preview.spec, snapshot.preview.method.uses
    kept = {name: getattr(spec, name) for name in ("n", "dim", "seed") if name in uses}
    return Choice(method=spec.method, **kept)


def choices(snapshot: Snapshot, chosen: Choice) -> list[tuple[str, Choice]]:
    """Return what can be chosen for a side, with its label; ``chosen`` is among it."""
    options = [(SHOWN, Choice())]
    options += [(method.title, Choice(method=key)) for key, method in METHODS.items()]
    options += [(f"Plan: {name}", Choice(plan=name)) for name in snapshot.plans]
    options.append((GIVEN, Choice(plan="")))
    if chosen not in [choice for _, choice in options]:
        fields = ", ".join(f"{name}={value}" for name, value in chosen.values.items() if name != "method")
        title = SHOWN if chosen.method is None else METHODS[chosen.method].title
        options.append((f"{title}, {fields}", chosen))
    return options


def _choose(dropdown: widgets.Dropdown, options: list[tuple[str, Choice]], choice: Choice) -> None:
    if list(dropdown.options) != options:
        dropdown.options = options
    dropdown.value = choice


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a is b or (isinstance(a, str) and a == b) for a, b in pairs)
