"""The steps: buttons that apply, undo, redo and reset, and the history as a list with a slider."""

from __future__ import annotations

from functools import partial
from html import escape

import ipywidgets as widgets

from prunescope.core.glossary import GLOSSARY
from prunescope.explorer import html
from prunescope.explorer.html import message, say
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.state import actions
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.measure import Measure

BUTTONS = {
    "apply": "Apply",
    "undo": "Undo",
    "redo": "Redo",
    "reset": "Reset",
}
"""Label of each button, by action; the glossary has its tooltip."""


class StepsPanel(Panel):
    """The steps of the session.

    Attributes:
        buttons: The buttons, by the name of their action.
        bar: The row of buttons with its message, to stand under the amount.
        place: The slider that goes anywhere in the history.
        table: The history.
        message: The sentence under the buttons.
    """

    name = "steps"
    title = "Steps"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self._locked = False
        self.buttons = {
            name: widgets.Button(description=text, tooltip=GLOSSARY[name]) for name, text in BUTTONS.items()
        }
        for name, button in self.buttons.items():
            self.press(button, partial(state.act, actions.ACTS[name], "steps"))
        self.buttons["apply"].add_class("ps-apply")
        self.message = message()
        row = widgets.Box(list(self.buttons.values())).add_class("ps-buttons")
        self.bar = widgets.VBox([row, self.message]).add_class("ps-steps")
        self.place = widgets.IntSlider(
            description="Steps done",
            tooltip=GLOSSARY["steps done"],
            min=0,
            max=1,
            continuous_update=True,
            layout={"width": "auto"},
        )
        self.hear(self.place, self._jump)
        self.table = widgets.HTML().add_class("ps-history")
        self.widget = widgets.VBox([self.place, self.table])

    def _jump(self, position: int) -> None:
        self.state.act(partial(actions.jump, position=position), "steps")

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Hide the steps, or show them disabled; `render` follows."""
        self._locked = "steps" in lock
        for holder in (self.bar, self.widget):
            html.hide(holder, "steps" in hide)

    def render(self, snapshot: Snapshot) -> None:
        """Show the history of ``snapshot``."""
        history = snapshot.history
        steps, position = len(history.steps), history.position
        with self.writing():
            self.place.max = max(self.place.max, steps)
            self.place.value = position
            self.place.max = max(steps, 1)
        html.show(self.place, bool(steps))
        undone = "" if position else "there is no step to undo."
        why = {
            "apply": "" if snapshot.preview.prunes else "the amount prunes nothing.",
            "undo": undone,
            "redo": "" if position < steps else "no step was undone.",
            "reset": undone,
        }
        for name, control in {"place": self.place, **self.buttons}.items():
            html.enable(control, html.LOCKED if self._locked else why.get(name, ""))
        self.table.value = _table(snapshot) if steps else _EMPTY
        say(self.message, snapshot.message("steps"), problem=snapshot.problem is not None)


_EMPTY = (
    "<p>No steps yet. <b>Apply</b> turns the preview into the first one; the picture then sets apart what "
    "the next step adds.</p>"
)


def _table(snapshot: Snapshot) -> str:
    history = snapshot.history
    dense = None if snapshot.metric is None else snapshot.metric.before
    rows = [_row(snapshot, 0, "The original model.", "", dense)]
    for number, step in enumerate(history.steps, start=1):
        what = f"<span>{escape(step.where)}</span> <code>{escape(step.title)}</code>"
        rows.append(_row(snapshot, number, what, step.effect, snapshot.step_measures.get(step)))
    return f"<ol>{''.join(rows)}</ol>"


def _row(snapshot: Snapshot, number: int, what: str, effect: str, measure: Measure | None) -> str:
    place = snapshot.history.position
    state = ' class="ps-here" aria-current="step"' if number == place else ""
    if number > place:
        state = ' class="ps-undone"'
        what = f"undone: {what}"
    measured = "" if snapshot.metric is None else f"{snapshot.metric.name} not measured"
    if measure is not None:
        measured = ", ".join(f"{name} {value}" for name, value in measure.short.items())
    says = "; ".join(part for part in (effect, measured) if part)
    return f'<li{state}><span class="ps-count">{number}</span><div>{what}<div>{escape(says)}</div></div></li>'
