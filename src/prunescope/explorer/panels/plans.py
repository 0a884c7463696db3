"""Kept plans: the present steps kept under a name, and a plan carried out again, renamed or removed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from html import escape

import ipywidgets as widgets

from prunescope.core.errors import RequestError
from prunescope.explorer.state.snapshot import Snapshot

BUTTONS = {
    "carry_out": ("Carry out", "Put the steps of this plan in place of the present ones"),
    "remove": ("Remove", "Forget this plan"),
    "keep": ("Keep these steps", "Keep the steps that are carried out as a plan of this name"),
    "rename": ("Rename the plan", "Give the plan that is chosen this name"),
}
"""What each button says, and what it says of itself, by the name of the act."""


class PlansPanel:
    """The kept plans.

    Args:
        act: Called with the name of an act of `BUTTONS`, the plan that is chosen, and the name that is typed;
            returns why it was refused, or None.
        lock: Held while a change is acted on; whoever renders holds it too.

    Attributes:
        widget: The panel.
        plan: The list of plans.
        name: Where a name is typed.
        buttons: The buttons, by the name of their act.
    """

    def __init__(
        self, act: Callable[[str, str, str], RequestError | None], lock: AbstractContextManager[object]
    ) -> None:
        self._act = act
        self._lock = lock
        self._locked = False
        self.plan = widgets.Dropdown(description="Kept plan", options=[])
        self.name = widgets.Text(description="Name", placeholder="such as gentle")
        self.buttons = {
            name: widgets.Button(description=text, tooltip=says) for name, (text, says) in BUTTONS.items()
        }
        for name, button in self.buttons.items():
            button.on_click(partial(self._press, name))
        self._choosing = widgets.Box([self.plan, self.buttons["carry_out"], self.buttons["remove"]])
        naming = widgets.Box([self.name, self.buttons["keep"], self.buttons["rename"]])
        rows = [row.add_class("ps-take-row") for row in (naming, self._choosing)]
        self._message = widgets.HTML().add_class("ps-message")
        self.widget = widgets.VBox([*rows, self._message]).add_class("ps-plans")

    def _press(self, name: str, _button: widgets.Button) -> None:
        with self._lock:
            refused = self._act(name, self.plan.value or "", self.name.value)
            if refused is None and name in ("keep", "rename"):
                self.name.value = ""

    def restrict(self, hide: bool, lock: bool) -> None:
        """Hide all that concerns plans, or show it and let no hand use it; `render` follows."""
        self._locked = lock
        (self.widget.add_class if hide else self.widget.remove_class)("ps-hidden")

    def render(self, snapshot: Snapshot) -> None:
        """Show the plans of ``snapshot``; the one that was chosen stays so, unless it is gone."""
        names, chosen = tuple(snapshot.plans), self.plan.value
        if self.plan.options != names:
            self.plan.options = names
            self.plan.value = chosen if chosen in names else names[-1] if names else None
        self._choosing.layout.display = None if names else "none"
        missing = {"keep": not snapshot.history.done, "rename": not names}
        for name, control in {"plan": self.plan, "name": self.name, **self.buttons}.items():
            control.disabled = self._locked or missing.get(name, False)
        text = snapshot.message("plans")
        self._message.value = f'<div role="alert" class="ps-problem">{escape(text)}</div>' if text else ""
        self._message.layout.display = None if text else "none"
