"""The numbers: requested and achieved, sparsity, accuracy."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets

from prunescope.core.text import percent
from prunescope.explorer.html import message, say
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.measure import number


def number_facts(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Return the numbers of ``snapshot`` as pairs of name and value, in reading order."""
    preview = snapshot.preview
    amount, units = preview.spec.amount, preview.units
    requested = (
        f"{amount:,} of {units:,}" if isinstance(amount, int) else f"{100 * amount:.4g} % of {units:,}"
    )
    achieved = percent(preview.pruned_units / units) if units else percent(0.0)
    facts = [
        ("Requested", f"{requested} {preview.unit_name}"),
        ("Pruned", f"{preview.pruned_units:,} ({achieved})"),
        ("Layer sparsity", percent(preview.sparsity)),
        ("Model sparsity", percent(snapshot.model_sparsity)),
    ]
    if preview.spec.by_hand:
        facts.append(("Custom mask", f"by hand {preview.spec.by_hand}"))
    if snapshot.has_data:
        # In the name, so that the line keeps its length once it is known.
        name = "Held-out accuracy"
        if snapshot.after is not None and not snapshot.evaluation_problem:
            low, high = snapshot.after.interval
            name += f" (95 %: {percent(low)} to {percent(high)})"
        facts.append((name, _accuracy(snapshot)))
    return facts + number_changes(snapshot)


def _accuracy(snapshot: Snapshot) -> str:
    if snapshot.evaluation_problem:
        return "not measured"
    before, after = snapshot.before, snapshot.after
    start = "…" if before is None else percent(before.fraction)
    if after is None:
        return f"{start} → …"
    return f"{start} → {percent(after.fraction)} ({after.right:,} of {after.total:,})"


def number_changes(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Return what the user's metric says before and after, as pairs of name and value."""
    if not snapshot.evaluates:
        return []
    before, after = (
        {} if numbers is None else numbers.values
        for numbers in (snapshot.numbers_before, snapshot.numbers_after)
    )
    unknown = "not measured" if snapshot.evaluation_problem else "…"
    names = {**before, **after} or {snapshot.evaluates: 0.0}
    return [
        (name, f"{_number(before.get(name), unknown)} → {_number(after.get(name), unknown)}")
        for name in names
    ]


def _number(value: float | None, unknown: str) -> str:
    return unknown if value is None else number(value)


class Readout(Panel):
    """The line of numbers, announced by assistive technology.

    Attributes:
        numbers: The line, an HTML widget with ``role="status"``.
        problem: The sentence about anything without a control of its own; hidden if there is none.
    """

    name = "readout"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self.numbers = self.widget = widgets.HTML().add_class("ps-numbers")
        self.problem = message()

    def render(self, snapshot: Snapshot) -> None:
        """Show ``snapshot``."""
        # Room for the longest value, so that the picture below does not jump while values change.
        pruned = f"min-width: {len(f'{snapshot.preview.units:,} (100.0 %)')}ch"
        room = {"Pruned": pruned, "Held-out accuracy": "min-width: min(100%, 280px)"}
        facts = "".join(
            f'<span class="ps-fact" style="{room.get(name.partition(" (")[0], "")}">'
            f'<span class="ps-name">{escape(name)}</span> <span class="ps-value">{escape(value)}</span>'
            '<span class="ps-stop">. </span></span>'
            for name, value in number_facts(snapshot)
        )
        self.numbers.value = f'<div role="status" aria-live="polite" aria-atomic="true">{facts}</div>'
        told = (snapshot.message(name) for name in ("data", "link", "view"))
        say(self.problem, snapshot.evaluation_problem or next(filter(None, told), ""))
