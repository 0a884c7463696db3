"""Recover: batch-norm re-estimated, and fine-tuning with masks kept, live; what each was worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ipywidgets as widgets

from prunescope.core.errors import RequestError
from prunescope.core.glossary import GLOSSARY
from prunescope.explorer import html
from prunescope.explorer.html import message, say
from prunescope.explorer.live.recovery import FINE_TUNE, REESTIMATE
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.panels.recovered import curve_html, outcomes_html, progress_html
from prunescope.explorer.state import actions
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.figures import Theme
from prunescope.recover import OPTIMIZERS, Recipe
from prunescope.session.recovered import Recovered

SPELLED = {"AdamW": "AdamW", "Adam": "Adam", "SGD": "SGD, momentum 0.9"}
RATES = {"rewind": "down to 0", "constant": "constant"}
PRUNING = {"one-shot": "one-shot", "gradual": "gradual"}
TARGETS = {"dense": "dense model", "labels": "labels"}
LENGTHS = {"seconds": "seconds", "epochs": "epochs"}

BUTTONS = {
    "reestimate": "Re-estimate batch-norm",
    "train": "Fine-tune",
    "stop": "Stop",
    "keep": "Keep as a step",
    "discard": "Discard",
    "undo": "Undo",
}
"""Label of each button, by action; the glossary has its tooltip."""

FIELDS = ("recover", "recipe", "train", "optimizer", "learning_rate", "epochs", "seconds", "targets")
"""Parameters of sentences that this panel shows."""

_PADDING = 34
"""Pixels that the tab takes of the width, on both sides together."""


class RecoverPanel(Panel):
    """Recovery of what pruning has cost: batch-norm re-estimation and fine-tuning.

    Attributes:
        optimizer, learning_rate, length, unit, rates, pruning, targets, silence: How it is trained.
        buttons: The buttons, by the name of what they do.
        outcomes: What each recovery was worth.
        curve: Held-out accuracy while it trains.
        progress: How far it is.
        message: Why something cannot be done.
    """

    name = "recover"
    title = "Recover"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self._locked, self._width = False, 420
        self._make_fields()
        self._make_buttons()
        self.outcomes = widgets.HTML().add_class("ps-outcomes")
        self.curve = widgets.HTML().add_class("ps-curve-holder")
        self.progress, self.message = widgets.HTML().add_class("ps-progress"), message()
        time = widgets.Box([self.length, self.unit]).add_class("ps-time")
        fields = [
            self.optimizer,
            self.pruning,
            self.learning_rate,
            self.rates,
            time,
            self.targets,
            self.silence,
        ]
        self._form = widgets.Box(fields).add_class("ps-recipe")
        row = widgets.Box(list(self.buttons.values())).add_class("ps-take-row")
        parts = [self.outcomes, self._form, row, self.message, self.progress, self.curve]
        self.widget = widgets.VBox(parts).add_class("ps-recover")

    def _make_fields(self) -> None:
        self.optimizer = _choice("Optimizer", {key: SPELLED[key] for key in OPTIMIZERS}, "optimizer")
        self.rates = _choice("Over time", RATES, "rates")
        self.pruning = _choice("Pruning", PRUNING, "when pruned")
        self.targets = _choice("Towards", TARGETS, "targets")
        self.unit = _choice("in", LENGTHS, "length unit")
        self.learning_rate = _number("Learning rate", "learning rate")
        self.length = _number("For", "length")
        self.silence = widgets.Checkbox(
            description="Silence channels first",
            value=True,
            indent=False,
            tooltip=GLOSSARY["silence first"],
            layout=widgets.Layout(width="auto"),
        )
        self.hear(self.optimizer, lambda optimizer: self._ask(optimizer=optimizer))
        self.hear(self.rates, lambda rates: self._ask(rates=rates))
        self.hear(self.pruning, lambda pruning: self._ask(pruning=pruning))
        self.hear(self.targets, lambda targets: self._ask(targets=targets))
        self.hear(self.learning_rate, lambda text: self._ask(learning_rate=_read(text)))
        self.hear(self.length, lambda text: self._ask_length(self.unit.value, text))
        self.hear(self.unit, lambda unit: self._ask_length(unit, "20" if unit == "epochs" else "50"))

    def _make_buttons(self) -> None:
        acts: dict[str, Callable[[], object]] = {
            "reestimate": lambda: self.state.tasks.recover(REESTIMATE, quiet=self.silence.value),
            "train": lambda: self.state.tasks.recover(FINE_TUNE, quiet=self.silence.value),
            "stop": self.state.tasks.stop_recovery,
            "keep": lambda: self.state.tasks.end_recovery(keep=True),
            "discard": lambda: self.state.tasks.end_recovery(keep=False),
            "undo": lambda: self.state.act(actions.undo, "steps"),
        }
        self.buttons = {
            name: widgets.Button(description=text, tooltip=GLOSSARY[f"recover {name}"])
            for name, text in BUTTONS.items()
        }
        self.buttons["train"].add_class("ps-apply")
        for name, button in self.buttons.items():
            self.press(button, acts[name])

    # User input.

    def _ask(self, **changes: Any) -> None:
        try:
            recipe = replace(self.state.snapshot.recovery.recipe, **changes)
        except RequestError as problem:
            self.state.refuse(problem)
        else:
            self.state.request(recipe=recipe)

    def _ask_length(self, unit: str, text: str) -> None:
        value = _read(text)
        whole = unit == "epochs" and isinstance(value, float) and value.is_integer()
        self._ask(**{"epochs": None, "seconds": None, unit: int(value) if whole else value})

    # What is shown.

    def offered(self, snapshot: Snapshot) -> bool:
        """Return whether there is a network that could be trained."""
        return snapshot.runs

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Disable making a step where steps are locked or hidden."""
        self._locked = bool({"steps"} & (hide | lock))

    def set_page(self, width: int, theme: Theme) -> None:
        """Set the width of the curve."""
        self._width = width
        self.render(self.state.snapshot)

    def render(self, snapshot: Snapshot) -> None:
        """Show what is known of a recovery of ``snapshot``; nothing is drawn while the panel is hidden."""
        if snapshot.front != self.name:
            return
        shown = snapshot.recovery
        self._render_recipe(shown.recipe)
        self._enable(snapshot)
        self.outcomes.value = outcomes_html(snapshot)
        self.progress.value = progress_html(snapshot, self.state.tasks.training_limit)
        problem = next((each for name in FIELDS if (each := snapshot.message(name))), "") or shown.problem
        say(self.message, problem)
        self.curve.value = curve_html(snapshot, max(260, self._width - _PADDING))

    def _render_recipe(self, recipe: Recipe) -> None:
        with self.writing():
            self.optimizer.value, self.rates.value = recipe.optimizer, recipe.rates
            self.pruning.value, self.targets.value = recipe.pruning, recipe.targets
            self.learning_rate.value = f"{recipe.learning_rate:g}"
            self.unit.value = "seconds" if recipe.seconds is not None else "epochs"
            self.length.value = f"{recipe.seconds or recipe.epochs:g}"

    def _enable(self, snapshot: Snapshot) -> None:
        shown, reasons, done = snapshot.recovery, snapshot.recovers, snapshot.history.done
        busy, prunes = bool(shown.doing), bool(done) or snapshot.preview.pruned_units > 0
        trains = not reasons.get(FINE_TUNE) and self.state.tasks.training_limit != 0
        closed = html.LOCKED if self._locked else "a recovery is running." if busy else ""
        if shown.waits:
            closed = closed or "keep or discard the result first."
        nothing = closed or ("" if prunes else "nothing is pruned yet.")
        why = {
            "reestimate": nothing or ("it is not possible here." if reasons.get(REESTIMATE) else ""),
            "train": nothing or ("" if trains else "it is not possible here."),
            "stop": "it is stopping." if shown.stopping else "",
        }
        undoes = bool(done) and isinstance(done[-1].spec, Recovered) and not (busy or shown.waits)
        seen = {"stop": busy, "keep": shown.waits, "discard": shown.waits, "undo": undoes}
        for name, button in self.buttons.items():
            html.enable(button, why.get(name, html.LOCKED if self._locked else ""))
            html.show(button, seen.get(name, not busy and not shown.waits))
        for field in (
            self.optimizer,
            self.pruning,
            self.learning_rate,
            self.rates,
            self.targets,
            self.length,
            self.unit,
            self.silence,
        ):
            html.enable(field, closed)
        html.show(self._form, trains)


def _choice(description: str, titles: dict[str, str], term: str) -> widgets.Dropdown:
    options = [(title, key) for key, title in titles.items()]
    return widgets.Dropdown(
        description=description, options=options, tooltip=GLOSSARY[term], layout=widgets.Layout(width="auto")
    )


def _number(description: str, term: str) -> widgets.Text:
    layout = widgets.Layout(width="auto")
    return widgets.Text(
        description=description, tooltip=GLOSSARY[term], continuous_update=False, layout=layout
    )


def _read(text: str) -> float | str:
    """Return the typed number, or the text if it is not one."""
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return text[:40]
