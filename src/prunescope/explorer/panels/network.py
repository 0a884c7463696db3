"""The whole network: what each layer loses at each amount, and how a goal is spread over the layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from html import escape
from typing import Any

import ipywidgets as widgets

from prunescope.core.glossary import GLOSSARY, option
from prunescope.core.methods import Method
from prunescope.explorer import html
from prunescope.explorer.html import message, say, show
from prunescope.explorer.live.network import NetworkShown
from prunescope.explorer.panels.front import Front, front_of, rules_html
from prunescope.explorer.panels.grid import Grid, grid_of
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.state import actions
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState

UNIT_TITLES = {"weights": "weights", "parameters": "parameters", "flops": "FLOPs", "file": "the file"}
"""What a goal may be a share of, as the page says it."""

RULE_TITLES = {
    "uniform": "uniform: every layer the same",
    "uniform_plus": "uniform+: first layer dense",
    "global": "global: one threshold",
    "lamp": "LAMP: one threshold, none emptied",
    "erk": "ERK: wide layers sparser",
    "sensitivity": "sensitivity: what was measured",
}
"""How a goal may be spread over the layers, as the page says it."""

ROUNDINGS = (1, 4, 8, 16, 32)
"""Multiples that kept channels may come in."""


class NetworkPanel(Panel):
    """Where the network can be pruned, and how far.

    Attributes:
        target, slider, unit, rule, at_most: The goal.
        limits: The button that unfolds what is left alone.
        exclude, min_keep, round_to: What is left alone.
        apply: The button that makes the allocation one step.
        best: The button that asks for what can be reached instead.
        says: What the goal comes to.
        message: Why it cannot be met.
        front: What any budget is predicted to lose, and what was measured.
        grid: The table, with what goes of each layer.
        progress: How far the table is measured.
        pause: The button that stops the measuring for now.
        measure: The button that has it measured where that is only offered.
        rules: What every rule comes to at this target.
    """

    name = "network"
    title = "Network"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self._locked = False
        self._make_goal()
        self._make_limits()
        self.says, self.rules = widgets.HTML().add_class("ps-goal"), widgets.HTML().add_class("ps-rules")
        self.progress, self.message = widgets.HTML().add_class("ps-progress"), message()
        self.front, self.grid = Front(), Grid()
        self.pause = widgets.ToggleButton(description="Pause", tooltip=GLOSSARY["pause"])
        self.measure = widgets.Button(description="Measure", tooltip=GLOSSARY["measure network"])
        self.hear(self.pause, self.state.tasks.pause_network)
        self.press(self.measure, self.state.tasks.measure_network)
        self.hear(self.grid, self._open, "chosen")
        self.hear(self.grid, self._pin, "pinned")
        rows = [
            [self.target, self.slider, self.unit],
            [self.rule, self.at_most],
            [self.apply, self.limits, self.best],
        ]
        parts = [widgets.Box(row).add_class("ps-take-row") for row in rows]
        known = widgets.Box([self.progress, self.pause, self.measure]).add_class("ps-take-row")
        shown = [self.message, self.says, self.front, known, self.grid, self.rules]
        self.widget = widgets.VBox([*parts, self._limits_row, *shown]).add_class("ps-network")

    def _make_goal(self) -> None:
        full = widgets.Layout(width="auto")
        self.target = widgets.BoundedIntText(
            description="Prune %", tooltip=GLOSSARY["target"], min=1, max=99, value=50, layout=full
        )
        self.slider = widgets.IntSlider(
            min=1, max=99, value=50, readout=False, tooltip=GLOSSARY["target slider"], layout=full
        )
        self.unit = _dropdown("of", UNIT_TITLES, "unit")
        self.rule = _dropdown("rule", RULE_TITLES, "rule")
        self.at_most = _text("lose at most", "at most", "points")
        self.apply = widgets.Button(description="Apply as one step", tooltip=GLOSSARY["apply allocation"])
        self.best = widgets.Button(description="Take the best", tooltip=GLOSSARY["take the best"])
        self.hear(self.target, lambda value: self._ask(target=value / 100))
        self.hear(self.slider, lambda value: self._ask(target=value / 100))
        self.hear(self.unit, lambda unit: self._ask(unit=unit))
        self.hear(self.rule, lambda rule: self._ask(rule=rule))
        self.hear(self.at_most, partial(self._number, "at_most", "lose at most"))
        self.press(self.apply, self._apply)
        self.press(self.best, self._take_best)

    def _make_limits(self) -> None:
        self.limits = widgets.ToggleButton(description="Limits", tooltip=GLOSSARY["limits"])
        self.exclude = _text("leave alone", "exclude", "layers or modules, such as head")
        self.min_keep = _text("keep at least", "min keep", "% of every layer")
        self.round_to = _dropdown("channels in", {f"multiples of {n}": n for n in ROUNDINGS}, "round to")
        self.round_to.options = [("any number", 1), *((f"multiples of {n}", n) for n in ROUNDINGS[1:])]
        self.hear(self.limits, lambda _on: self._unfold(self.state.snapshot))
        self.hear(self.exclude, self._leave_alone)
        self.hear(self.min_keep, partial(self._number, "min_keep", "keep at least"))
        self.hear(self.round_to, lambda count: self._ask(round_to=count))
        self._limits_row = widgets.Box([self.exclude, self.min_keep, self.round_to]).add_class("ps-take-row")

    def _unfold(self, snapshot: Snapshot) -> None:
        goal = snapshot.network.goal
        limited = bool(goal.exclude or goal.min_keep or goal.round_to != 1)
        show(self._limits_row, self.limits.value or limited)
        show(self.round_to, snapshot.preview.method.structured)

    # User input.

    def _ask(self, **goal: Any) -> None:
        self.state.request(goal=replace(self.state.snapshot.network.goal, **goal))

    def _number(self, field: str, title: str, text: str) -> None:
        """Ask for a field that is typed in percent, or in points; nothing typed is as ever."""
        plain = text.strip().replace(",", ".").removesuffix("%").strip()
        try:
            share = float(plain) / 100 if plain else (None if field == "at_most" else 0.0)
        except ValueError:
            kind = "points" if field == "at_most" else "percent"
            say(self.message, f"`{title}` must be a number of {kind}, such as 1, got {text[:40]!r}.")
            return
        self._ask(**{field: share})

    def _leave_alone(self, text: str) -> None:
        self._ask(exclude=tuple(name.strip() for name in text.split(",") if name.strip()))

    def _pin(self, pinned: list[Any]) -> None:
        """Have so much of a layer go whatever the rule says, or let the rule decide again."""
        network = self.state.snapshot.network
        known = {} if network.allocation is None else network.allocation.amounts
        name, share = pinned if len(pinned) == 2 else ("", None)
        if isinstance(name, str) and name in known and not self.grid.locked:
            pins = {each: amount for each, amount in network.goal.pins.items() if each != name}
            self._ask(pins=pins if share is None else {**pins, name: share})
        with self.writing():
            self.grid.pinned = []

    def _apply(self) -> None:
        allocation = self.state.snapshot.network.allocation
        if allocation is not None:
            self.state.act(partial(actions.apply_allocation, allocation=allocation), "goal")

    def _take_best(self) -> None:
        allocation = self.state.snapshot.network.allocation
        if allocation is not None and allocation.best is not None:
            self._ask(target=round(allocation.best.reached, 4))

    def _open(self, chosen: list[Any]) -> None:
        """Show the layer of the cell that was clicked, at its amount."""
        table = self.state.snapshot.network.table
        if len(chosen) == 2 and table is not None:
            layer, place = chosen
            asked: dict[str, Any] = {"layer": layer} if layer in table.layers else {}
            if isinstance(place, int) and 0 <= place < len(table.amounts):
                asked["amount"] = table.amounts[place]
            if asked:
                self.state.request(method=table.method, **asked)
        with self.writing():
            self.grid.chosen = []

    # What is shown.

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Disable making a step where steps are locked or hidden."""
        self._locked = bool({"steps"} & (hide | lock))
        self.grid.locked = bool({"amount"} & (hide | lock))

    def render(self, snapshot: Snapshot) -> None:
        """Show what is known of the network of ``snapshot``; nothing happens while the panel is hidden."""
        if snapshot.front != self.name:
            return
        network = snapshot.network
        with self.writing():
            self._render_goal(snapshot)
        allocation, table = network.allocation, network.table
        nothing = allocation is None or not (network.met and allocation.specs)
        html.enable(self.apply, html.LOCKED if self._locked else "nothing to prune yet." if nothing else "")
        show(
            self.best,
            allocation is not None and allocation.best is not None and any(allocation.best.amounts.values()),
        )
        problem = snapshot.message("goal") or network.goal_problem
        say(self.message, problem or _instead(snapshot.preview.method), problem=bool(problem))
        self.says.value = _goal_text(network)
        self.rules.value = rules_html(network.rules, "" if allocation is None else allocation.rule)
        self.progress.value = _progress_text(network)
        show(self.pause, network.running or network.paused)
        show(self.measure, bool(network.offer))
        self.measure.description = f"Measure: {network.offer}" if network.offer else "Measure"
        show(self.front, bool(network.front or network.dots))
        self.front.front = front_of(network)
        show(self.grid, table is not None or allocation is not None)
        self.grid.table = grid_of(table, allocation, snapshot.preview.tensor.name, _left_alone(network))

    def _render_goal(self, snapshot: Snapshot) -> None:
        goal = snapshot.network.goal
        share = 50 if goal.target is None else round(100 * goal.target)
        self.target.value = self.slider.value = min(max(share, 1), 99)
        self.unit.value, self.rule.value = goal.unit, goal.rule
        html.explain(self.unit, option("unit", goal.unit))
        html.explain(self.rule, option("rule", goal.rule))
        self.at_most.value = "" if goal.at_most is None else f"{100 * goal.at_most:g}"
        self.exclude.value = ", ".join(goal.exclude)
        self.min_keep.value = f"{100 * goal.min_keep:g}" if goal.min_keep else ""
        self.round_to.value = goal.round_to if goal.round_to in ROUNDINGS else 1
        self.pause.value = snapshot.network.paused
        self._unfold(snapshot)


def _dropdown(description: str, titles: Mapping[str, Any], term: str) -> widgets.Dropdown:
    options = [(title, key) for key, title in titles.items()]
    return widgets.Dropdown(
        description=description, options=options, tooltip=GLOSSARY[term], layout=widgets.Layout(width="auto")
    )


def _text(description: str, term: str, placeholder: str) -> widgets.Text:
    return widgets.Text(
        description=description, tooltip=GLOSSARY[term], placeholder=placeholder, continuous_update=False,
        layout=widgets.Layout(width="auto"),
    )  # fmt: skip


def _left_alone(network: NetworkShown) -> frozenset[str]:
    """Return the layers that the goal leaves alone."""
    names = () if network.allocation is None else network.allocation.amounts
    return frozenset(
        name for name in names for each in network.goal.exclude if name == each or name.startswith(f"{each}.")
    )


def _instead(method: Method) -> str:
    """Return that layers are pruned by another method here than the one shown, or ""."""
    if method.ranks_a_layer:
        return ""
    how = "within groups" if method.groups else "all layers together"
    return (
        f"{method.title} ranks {how}, not a layer as a whole: here each layer is pruned by l1_unstructured."
    )


def _goal_text(network: NetworkShown) -> str:
    allocation = network.allocation
    if allocation is None:
        return "<p>Looking for an allocation …</p>" if network.finding else ""
    worth = "" if allocation.measured is None else f"<b>{escape(allocation.measured.in_words)}</b>"
    if not worth:
        worth = "measuring …" if network.finding else "not measured: there is no held-out data"
    table = network.table
    in_points = table is None or table.examples
    predicted = ""
    if allocation.predicted is not None:
        lost = _points(allocation.predicted) if in_points else f"{allocation.predicted:.4g}"
        predicted = f"predicted loss {lost}; "
    note = f" {escape(allocation.note)}" if allocation.note else ""
    more = " Trying what else there is …" if network.finding and allocation.measured is not None else ""
    return f"<p>{escape(allocation.title)}: {predicted}{worth}.{note}{more}</p>"


def _points(drop: float) -> str:
    return f"{100 * drop:.1f} points".replace("-", "−")


def _progress_text(network: NetworkShown) -> str:
    table = network.table
    if network.problem:
        return f"<p>{escape(network.problem)}</p>"
    if table is None:
        waits = "What each layer loses is not measured yet." if network.offer or network.paused else ""
        return f"<p>{waits or 'What each layer loses is being measured …'}</p>"
    left = "" if table.complete or table.seconds_left is None else f" · {table.seconds_left:.0f} s left"
    what = "Points of accuracy" if table.examples else f"How much of {table.metric}"
    shown = (
        f"{what} that a layer loses, pruned alone; the line is the allocation. A click opens the layer there."
    )
    return f"<p>{escape(shown)} {escape(table.in_words)}{left}.</p>"
