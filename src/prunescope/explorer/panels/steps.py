"""The steps: buttons that apply, undo, redo and reset, and the history as a list with a slider."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from html import escape

import ipywidgets as widgets

from prunescope.core.text import percent
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.measure import Accuracy, Numbers

BUTTONS = {
    "apply": ("Apply", "Make what is shown a step; the next amount is taken of what is left"),
    "undo": ("Undo", "Take the last step back"),
    "redo": ("Redo", "Carry the step that was taken back out again"),
    "reset": ("Reset", "Go back to the model as it was given; redo brings the steps back"),
}
"""What each button says, and what it says of itself, by the name of the act."""


class StepsPanel:
    """The steps of the session.

    Args:
        act: Called with the name of an act of `BUTTONS` when its button is pressed.
        jump: Called with a place in the history when a person moves there.
        lock: Held while a change is acted on; whoever renders holds it too.

    Attributes:
        buttons: The row of buttons, to stand under the amount.
        widget: The history.
    """

    def __init__(
        self,
        act: Callable[[str], object],
        jump: Callable[[int], object],
        lock: AbstractContextManager[object],
    ) -> None:
        self._jump = jump
        self._lock = lock
        self._rendering = False
        self._locked = False
        self._buttons = {
            name: widgets.Button(description=text, tooltip=says) for name, (text, says) in BUTTONS.items()
        }
        for name, button in self._buttons.items():
            button.on_click(lambda _button, name=name: act(name))
        self._buttons["apply"].button_style = "primary"
        self._message = widgets.HTML().add_class("ps-message")
        row = widgets.Box(list(self._buttons.values())).add_class("ps-buttons")
        self.buttons = widgets.VBox([row, self._message]).add_class("ps-steps")
        self._place = widgets.IntSlider(
            description="Steps done", min=0, max=1, continuous_update=True, layout={"width": "auto"}
        )
        self._place.observe(self._on_place, names="value")
        self._table = widgets.HTML().add_class("ps-history")
        self.widget = widgets.VBox([self._place, self._table])

    def restrict(self, hide: bool, lock: bool) -> None:
        """Hide all that concerns steps, or show it and let no hand move it; `render` follows."""
        self._locked = lock
        for holder in (self.buttons, self.widget):
            holder.remove_class("ps-hidden")
            if hide:
                holder.add_class("ps-hidden")

    def _on_place(self, change: dict[str, int]) -> None:
        with self._lock:
            if not self._rendering:
                self._jump(change["new"])

    def render(self, snapshot: Snapshot) -> None:
        """Show the history of ``snapshot``."""
        self._rendering = True
        try:
            history = snapshot.history
            steps, position = len(history.steps), history.position
            self._place.max = max(self._place.max, steps)
            self._place.value = position
            self._place.max = max(steps, 1)
            self._place.layout.display = None if steps else "none"
            nothing = {
                "apply": snapshot.preview.pruned_units == 0,
                "undo": position == 0,
                "redo": position == steps,
                "reset": position == 0,
            }
            for name, control in {"place": self._place, **self._buttons}.items():
                control.disabled = self._locked or nothing.get(name, False)
            self._table.value = _table(snapshot) if steps else _EMPTY
            self._say(snapshot.message("steps"), snapshot.problem is not None)
        finally:
            self._rendering = False

    def _say(self, text: str, is_problem: bool) -> None:
        kind, role = ("ps-problem", "alert") if is_problem else ("ps-note", "note")
        self._message.value = f'<div role="{role}" class="{kind}">{escape(text)}</div>' if text else ""
        self._message.layout.display = None if text else "none"


_EMPTY = (
    "<p>No steps yet. <b>Apply</b> turns what is shown into the first one; the picture then tells what the "
    "next step adds from what this one did.</p>"
)


def _table(snapshot: Snapshot) -> str:
    history = snapshot.history
    rows = [_row(snapshot, 0, "The model as it was given.", "", snapshot.before or snapshot.numbers_before)]
    for number, step in enumerate(history.steps, start=1):
        what = f"<span>{escape(step.where)}</span> <code>{escape(step.title)}</code>"
        measure = snapshot.step_accuracies.get(step) or snapshot.step_numbers.get(step)
        rows.append(_row(snapshot, number, what, step.effect, measure))
    return f"<ol>{''.join(rows)}</ol>"


def _row(snapshot: Snapshot, number: int, what: str, effect: str, measure: Accuracy | Numbers | None) -> str:
    place = snapshot.history.position
    state = ' class="ps-here" aria-current="step"' if number == place else ""
    if number > place:
        state = ' class="ps-undone"'
        what = f"undone: {what}"
    measured = ""
    if snapshot.has_data:
        measured = "accuracy not measured"
    if snapshot.evaluates:
        measured = f"{snapshot.evaluates} not measured"
    if isinstance(measure, Accuracy):
        measured = f"accuracy {percent(measure.fraction)}"
    if isinstance(measure, Numbers):
        measured = measure.in_words
    says = "; ".join(part for part in (effect, measured) if part)
    return f'<li{state}><span class="ps-count">{number}</span><div>{what}<div>{escape(says)}</div></div></li>'
