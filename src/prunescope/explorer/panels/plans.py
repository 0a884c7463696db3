"""Kept plans: keep the current steps under a name; apply, rename or remove a plan."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import ipywidgets as widgets

from prunescope.core.errors import RequestError
from prunescope.core.glossary import GLOSSARY
from prunescope.explorer import html
from prunescope.explorer.html import message, say
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.state import actions
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState

BUTTONS = {
    "apply_plan": ("Apply plan", "apply plan"),
    "remove": ("Remove", "remove plan"),
    "keep": ("Keep these steps", "keep plan"),
    "rename": ("Rename the plan", "rename plan"),
}
"""Label of each button, and its term in the glossary, by action."""


class PlansPanel(Panel):
    """The kept plans, shown in the panel that compares them.

    Attributes:
        plan: The list of plans.
        typed: The field for a name.
        buttons: The buttons, by the name of their action.
        message: The sentence under them.
    """

    name = "plans"
    title = "Plans"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self._locked = False
        self.plan = widgets.Dropdown(description="Kept plan", tooltip=GLOSSARY["plan"], options=[])
        self.typed = widgets.Text(
            description="Name", tooltip=GLOSSARY["plan name"], placeholder="such as gentle"
        )
        self.buttons = {
            name: widgets.Button(description=text, tooltip=GLOSSARY[term])
            for name, (text, term) in BUTTONS.items()
        }
        for name, button in self.buttons.items():
            self.press(button, partial(self._press, name))
        self._choosing = widgets.Box([self.plan, self.buttons["apply_plan"], self.buttons["remove"]])
        naming = widgets.Box([self.typed, self.buttons["keep"], self.buttons["rename"]])
        rows = [row.add_class("ps-take-row") for row in (naming, self._choosing)]
        self.message = message()
        self.widget = widgets.VBox([*rows, self.message]).add_class("ps-plans")

    def _press(self, name: str) -> None:
        plan, typed = self.plan.value or "", self.typed.value
        acts: dict[str, Callable[[], RequestError | None]] = {
            "keep": lambda: self.state.act(partial(actions.keep, name=typed), "plans"),
            "apply_plan": lambda: self.state.act(partial(actions.apply_plan, name=plan), "plans"),
            "rename": lambda: self.state.rename_plan(plan, typed),
            "remove": lambda: self.state.remove_plan(plan),
        }
        refused = acts[name]()
        if refused is None and name in ("keep", "rename"):
            self.typed.value = ""

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Hide the plans, or show them disabled; `render` follows."""
        self._locked = "steps" in lock
        html.hide(self.widget, "steps" in hide)

    def render(self, snapshot: Snapshot) -> None:
        """Show the plans of ``snapshot``; the selected one stays selected, unless it is gone."""
        names, chosen = tuple(snapshot.plans), self.plan.value
        if self.plan.options != names:
            self.plan.options = names
            self.plan.value = chosen if chosen in names else names[-1] if names else None
        html.show(self._choosing, bool(names))
        no_plan = "" if names else "there is no plan yet."
        missing = {"keep": "" if snapshot.history.done else "there is no step yet.", "rename": no_plan}
        for name, control in {"plan": self.plan, "name": self.typed, **self.buttons}.items():
            html.enable(control, html.LOCKED if self._locked else missing.get(name, ""))
        say(self.message, snapshot.message("plans"))
