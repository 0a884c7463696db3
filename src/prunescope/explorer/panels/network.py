"""The whole network: what each layer loses at each amount, and how a goal is spread over the layers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import traitlets

from prunescope.core.glossary import GLOSSARY
from prunescope.core.methods import Method
from prunescope.core.text import percent
from prunescope.explorer.bridge import Bridge
from prunescope.explorer.html import message, say, show
from prunescope.explorer.live.network import NetworkShown
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.state import actions
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.network import Allocation, Cell, SensitivityTable

_HERE = Path(__file__).parent

LABEL = 12
"""Letters of a layer's name that fit the table."""

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


class Grid(Bridge):
    """The table of layers × amounts in the page.

    Attributes:
        table: ``amounts`` as texts, and ``rows``: ``name``, ``label``, ``here``, ``cells`` of ``text``,
            ``says``, ``state`` and ``worse`` in [-1, 1], and ``share``: what the allocation prunes, as text.
        chosen: Name of the layer and place of the amount that a person has clicked. Comes from the page: not
            to be trusted.
    """

    _esm = (_HERE / "network.js").read_text(encoding="utf-8")
    table = traitlets.Dict().tag(sync=True)
    chosen: Any = traitlets.List().tag(sync=True)


class NetworkPanel(Panel):
    """Where the network can be pruned, and how far.

    Attributes:
        target, unit, rule, at_most: The goal.
        apply: The button that makes the allocation one step.
        says: What the goal comes to.
        message: Why it cannot be met.
        grid: The table.
        progress: How far the table is measured.
        rules: What each rule that was tried is worth.
    """

    name = "network"
    title = "Network"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self._locked = False
        full = widgets.Layout(width="auto")
        self.target = widgets.BoundedIntText(
            description="Prune %", tooltip=GLOSSARY["target"], min=1, max=99, value=50, layout=full
        )
        self.slider = widgets.IntSlider(min=1, max=99, value=50, readout=False, layout=full)
        self.unit = _dropdown("of", UNIT_TITLES, "unit")
        self.rule = _dropdown("rule", RULE_TITLES, "rule")
        self.at_most = widgets.Text(
            description="lose at most",
            tooltip=GLOSSARY["at most"],
            placeholder="points",
            continuous_update=False,
            layout=full,
        )
        self.apply = widgets.Button(
            description="Apply as one step", tooltip="Prune all layers by this allocation; undone as a whole"
        )
        self.hear(self.target, lambda value: self._ask(target=value / 100))
        self.hear(self.slider, lambda value: self._ask(target=value / 100))
        self.hear(self.unit, lambda unit: self._ask(unit=unit))
        self.hear(self.rule, lambda rule: self._ask(rule=rule))
        self.hear(self.at_most, self._allow)
        self.press(self.apply, self._apply)
        self.says, self.rules = widgets.HTML().add_class("ps-goal"), widgets.HTML().add_class("ps-rules")
        self.progress, self.message = widgets.HTML().add_class("ps-progress"), message()
        self.grid = Grid()
        self.hear(self.grid, self._open, "chosen")
        first = widgets.Box([self.target, self.slider, self.unit]).add_class("ps-take-row")
        second = widgets.Box([self.rule, self.at_most, self.apply]).add_class("ps-take-row")
        parts = [first, second, self.message, self.says, self.rules, self.progress, self.grid]
        self.widget = widgets.VBox(parts).add_class("ps-network")

    # What a person asks.

    def _ask(self, **goal: Any) -> None:
        self.state.request(goal=replace(self.state.snapshot.network.goal, **goal))

    def _allow(self, text: str) -> None:
        plain = text.strip().replace(",", ".").removesuffix("%").strip()
        try:
            points = float(plain) / 100 if plain else None
        except ValueError:
            say(self.message, f"`lose at most` must be a number of points, such as 1, got {text[:40]!r}.")
            return
        self._ask(at_most=points)

    def _apply(self) -> None:
        allocation = self.state.snapshot.network.allocation
        if allocation is not None:
            self.state.act(partial(actions.apply_allocation, allocation=allocation), "goal")

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
        """Let no hand make a step where steps are locked or hidden."""
        self._locked = bool({"steps"} & (hide | lock))

    def render(self, snapshot: Snapshot) -> None:
        """Show what is known of the network of ``snapshot``; nothing is done while nobody looks."""
        if snapshot.front != self.name:
            return
        network = snapshot.network
        goal, allocation = network.goal, network.allocation
        with self.writing():
            share = 50 if goal.target is None else round(100 * goal.target)
            self.target.value = self.slider.value = share
            self.unit.value, self.rule.value = goal.unit, goal.rule
            self.at_most.value = "" if goal.at_most is None else f"{100 * goal.at_most:g}"
        self.apply.disabled = self._locked or allocation is None or not allocation.specs
        problem = snapshot.message("goal") or network.goal_problem
        say(self.message, problem or _instead(snapshot.preview.method), problem=bool(problem))
        self.says.value = _goal_text(network)
        self.rules.value = "" if allocation is None else _rules_text(allocation)
        self.progress.value = _progress_text(network)
        show(self.grid, network.table is not None)
        if network.table is not None:
            self.grid.table = _table(network.table, allocation, snapshot.preview.tensor.name)


def _dropdown(description: str, titles: dict[str, str], term: str) -> widgets.Dropdown:
    options = [(title, key) for key, title in titles.items()]
    return widgets.Dropdown(
        description=description, options=options, tooltip=GLOSSARY[term], layout=widgets.Layout(width="auto")
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
    predicted = "" if allocation.predicted is None else f"predicted loss {_points(allocation.predicted)}; "
    note = f" {escape(allocation.note)}" if allocation.note else ""
    return f"<p>{escape(allocation.title)}: {predicted}{worth}.{note}</p>"


def _points(drop: float) -> str:
    return f"{100 * drop:.1f} points".replace("-", "−")


def _rules_text(allocation: Allocation) -> str:
    if len(allocation.candidates) < 2:
        return ""
    tried = "".join(
        f"<li{' class=ps-best' if rule == allocation.rule else ''}>{escape(rule)} "
        f"<b>{percent(measured.value) if measured.examples else f'{measured.value:.4g}'}</b></li>"
        for rule, measured in allocation.candidates.items()
    )
    return f"<p>Rules at this target, measured:</p><ul>{tried}</ul>"


def _progress_text(network: NetworkShown) -> str:
    table = network.table
    if network.problem:
        return f"<p>{escape(network.problem)}</p>"
    if table is None:
        return "<p>What each layer loses is being measured …</p>"
    left = "" if table.complete or table.seconds_left is None else f" · {table.seconds_left:.0f} s left"
    shown = "Points of accuracy that a layer loses, pruned alone. A click opens the layer at that amount."
    return f"<p>{shown} {escape(table.in_words)}{left}.</p>"


def _table(table: SensitivityTable, allocation: Allocation | None, shown: str) -> dict[str, Any]:
    shares = {} if allocation is None else allocation.shares
    rows = [
        {
            "name": name,
            "label": _short(name.removesuffix(".weight")),
            "here": name == shown,
            "share": f"{100 * shares[name]:.0f} %" if name in shares else "",
            "at": round(shares.get(name, 0.0), 4),
            "cells": [_cell(table, table.cells.get((name, amount)), amount) for amount in table.amounts],
        }
        for name in table.layers
    ]
    return {"amounts": [f"{100 * amount:g}" for amount in table.amounts], "rows": rows}


def _short(label: str) -> str:
    """Return a label that fits its column; names differ at their ends."""
    return label if len(label) <= LABEL else f"…{label[1 - LABEL :]}"


def _cell(table: SensitivityTable, cell: Cell | None, amount: float) -> dict[str, Any]:
    if cell is None:
        return {"text": "", "says": "not measured yet", "state": "empty", "worse": 0.0}
    at = f"{100 * amount:g} % pruned"
    if cell.drop is None:
        return {"text": "–", "says": f"{at}: {cell.why}", "state": cell.state, "worse": 0.0}
    points = 100 * cell.drop
    text = f"{points:.0f}" if abs(points) >= 9.95 else f"{points:.1f}"
    says = f"{at}: loses {points:.1f} points"
    if cell.low is not None and cell.high is not None:
        says += f" (95 %: {100 * cell.low:.1f} to {100 * cell.high:.1f})"
    says += f", {cell.state} on {cell.examples:,} of {table.examples:,}"
    worse = max(-1.0, min(1.0, cell.drop / (table.tolerance or 0.05)))
    return {"text": text.replace("-", "−"), "says": says, "state": cell.state, "worse": round(worse, 3)}
