"""Two states side by side: a list for each, the picture of both, and their numbers as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from prunescope.core.criteria import CRITERIA
from prunescope.core.glossary import GLOSSARY
from prunescope.core.knobs import KNOBS
from prunescope.core.spec import METHODS
from prunescope.explorer.canvas.canvas import DPI, PictureCanvas
from prunescope.explorer.html import message, say, show
from prunescope.explorer.panels.criteria import criteria_html
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.panels.plans import PlansPanel
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.figures import LIGHT, ComparisonFigure, Theme
from prunescope.measure import Comparison
from prunescope.measure.compare import GIVEN, Choice

_PADDING = 34
"""Pixels that the tab takes of the width, on both sides together."""

ALONE = "Scope reaches several layers; Compare is about this layer alone."

SHOWN = "What is shown above"
"""Name of the state without any change."""


class ComparePanel(Panel):
    """What is compared with what, and how they differ; below, the plans that can be compared.

    The picture is made when the first comparison is looked at.

    Attributes:
        a, b: The lists of both sides.
        hold: The button that keeps the present settings as the second side.
        canvas: The picture of both; None until one is looked at.
        table: Their numbers.
        criteria: The button that shows how far the criteria agree.
        agreement: The table of that.
        message: The sentence under the lists.
        plans: The panel of the plans.
    """

    name = "compare"
    title = "Compare"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self.canvas: PictureCanvas[ComparisonFigure] | None = None
        self._drawn: tuple[object, ...] = ()
        self._page: tuple[int, Theme] = (900, LIGHT)
        self.a, self.b = self._list("Compare", "a"), self._list("with", "b")
        self.hold = widgets.Button(description="Hold these settings as B", tooltip=GLOSSARY["hold"])
        self.press(self.hold, self._hold)
        self.message = message()
        self._holder = widgets.VBox().add_class("ps-compared")
        self.table = widgets.HTML().add_class("ps-compare-table")
        self.criteria = widgets.ToggleButton(
            description="Agreement of the criteria", tooltip=GLOSSARY["criteria"], layout={"width": "auto"}
        )
        self.hear(self.criteria, state.tasks.compare_criteria)
        self.agreement = widgets.HTML().add_class("ps-compare-table")
        self.plans = PlansPanel(state)
        row = widgets.Box([self.a, self.b, self.hold]).add_class("ps-take-row")
        parts = [row, self.message, self._holder, self.table, self.criteria, self.agreement]
        sides = widgets.VBox(parts).add_class("ps-compare")
        self.widget = widgets.VBox([sides, self.plans.widget])

    def _list(self, description: str, side: str) -> widgets.Dropdown:
        dropdown = widgets.Dropdown(
            description=description, tooltip=GLOSSARY[f"side {side}"], options=[(SHOWN, Choice())]
        )
        self.hear(dropdown, lambda choice: self._ask(side, choice))
        return dropdown

    def _ask(self, side: str, choice: Choice) -> None:
        sides: dict[str, Any] = {side: choice}
        self.state.choose_sides(replace(self.state.snapshot.comparing, **sides))

    def _hold(self) -> None:
        self._ask("b", held(self.state.snapshot))

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Hide the plans with the steps, or lock them."""
        self.plans.restrict(hide, lock)

    def render(self, snapshot: Snapshot) -> None:
        """Show what ``snapshot`` compares; nothing is drawn while the panel is hidden."""
        self.plans.render(snapshot)
        if not snapshot.comparing.shown:
            return
        chosen = {"a": snapshot.comparing.a, "b": snapshot.comparing.other(snapshot.preview)}
        with self.writing():
            for side, choice in chosen.items():
                _choose(getattr(self, side), choices(snapshot, choice), choice)
            self.criteria.value = snapshot.agreeing.asked
        show(self.agreement, snapshot.agreeing.asked)
        if snapshot.agreeing.asked:
            self.agreement.value = criteria_html(snapshot.agreeing)
        self._say(snapshot)
        self._show(snapshot.comparison)

    def _say(self, snapshot: Snapshot) -> None:
        seen = snapshot.comparison
        text = snapshot.message("compare") or snapshot.comparing_problem
        told = (seen.problems.get("metric", ""),) if seen else ()
        problem = text or next(filter(None, told), "")
        note = snapshot.scoring or (ALONE if snapshot.preview.reach is not None else "")
        say(self.message, problem or note, problem=bool(problem))

    def _show(self, seen: Comparison | None) -> None:
        for widget in (self._holder, self.table):
            show(widget, seen is not None)
        if seen is None:
            return
        drawn = seen.a.mask, seen.b.mask, seen.norms, seen.a.title, seen.b.title
        if not _same(drawn, self._drawn):
            self._drawn = drawn
            self._picture().draw(seen)
        self.table.value = seen.table.html

    def _picture(self) -> PictureCanvas[ComparisonFigure]:
        if self.canvas is None:
            figure = Figure(figsize=(9, 5.8), dpi=DPI)
            self.canvas = PictureCanvas(ComparisonFigure(figure, self._page[1]), self.state.lock)
            self.canvas.set_width(self._page[0])
            self._holder.children = [self.canvas.widget]
        return self.canvas

    def set_page(self, width: int, theme: Theme) -> None:
        """Take the width in CSS pixels that the page has, and its colours."""
        self._page = width - _PADDING, theme
        if self.canvas is not None:
            self.canvas.set_theme(theme)
            self.canvas.set_width(self._page[0])

    def close(self) -> None:
        """Stop listening; the widgets are closed with the tree they stand in."""
        if self.canvas is not None:
            self.canvas.close()


def held(snapshot: Snapshot) -> Choice:
    """Return the choice that keeps the settings of ``snapshot``, all but the amount."""
    spec, uses = snapshot.preview.spec, snapshot.preview.method.uses
    kept = {name: getattr(spec, name) for name in KNOBS if name in uses}
    return Choice(method=spec.method, **kept)


def choices(snapshot: Snapshot, chosen: Choice) -> list[tuple[str, Choice]]:
    """Return what can be chosen for a side, with its label; ``chosen`` is among it."""
    options = [(SHOWN, Choice())]
    options += [(method.title, Choice(method=key)) for key, method in METHODS.items()]
    can = [key for key in CRITERIA if not snapshot.criteria.get(key)]
    options += [(f"Criterion: {CRITERIA[key].title}", Choice(criterion=key)) for key in can]
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
