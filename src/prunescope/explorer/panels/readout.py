"""The numbers: requested and achieved, sparsity, accuracy."""

from __future__ import annotations

import ipywidgets as widgets

from prunescope.core.glossary import GLOSSARY
from prunescope.core.text import percent
from prunescope.explorer.html import fact, message, say
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState


def number_facts(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Return the numbers of ``snapshot`` as pairs of name and value, in reading order."""
    preview = snapshot.preview
    amount, units, most = preview.spec.amount, preview.units, preview.most
    requested = f"{amount:,} of {most:,}" if isinstance(amount, int) else f"{100 * amount:.4g} % of {most:,}"
    achieved = percent(preview.pruned_units / units) if units else percent(0.0)
    facts = [
        ("Requested", f"{requested} {preview.count_name}"),
        ("Pruned", f"{preview.pruned_units:,} ({achieved})"),
        ("Layer sparsity", percent(preview.sparsity)),
        ("Model sparsity", percent(snapshot.model_sparsity)),
    ]
    reach = preview.reach
    if reach is not None and not reach.pooled:
        share = percent(reach.pruned_units / reach.units) if reach.units else percent(0.0)
        facts.insert(2, ("In all", f"{reach.pruned_units:,} of {reach.units:,} ({share}) · {reach.where}"))
    if preview.spec.by_hand:
        facts.append(("Custom mask", f"by hand {preview.spec.by_hand}"))
    return facts + ([] if snapshot.metric is None else snapshot.metric.facts)


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
            fact(name, value, room.get(name.partition(" (")[0], ""), GLOSSARY["metric"])
            for name, value in number_facts(snapshot)
        )
        self.numbers.value = f'<div role="status" aria-live="polite" aria-atomic="true">{facts}</div>'
        told = (snapshot.message(name) for name in ("data", "link", "view"))
        say(self.problem, (snapshot.metric and snapshot.metric.problem) or next(filter(None, told), ""))
