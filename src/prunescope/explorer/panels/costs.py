"""Costs: the line under the pictures, and the panel with all of them."""

from __future__ import annotations

from functools import partial

import ipywidgets as widgets

from prunescope.core.glossary import GLOSSARY
from prunescope.core.markup import html_of
from prunescope.explorer import html
from prunescope.explorer.html import message, say
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.panels.staircase import StaircasePanel
from prunescope.explorer.state import actions
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.figures import Theme
from prunescope.measure import cost_facts, emissions_account, files_account, operations_account

HONEST = (
    "A mask makes nothing smaller or faster: pruned weights are zeros that are still stored and multiplied, "
    "and a pruned output channel still outputs its bias and the shift of a batch-norm behind it."
)
"""What a mask does not save."""


class CostsPanel(Panel):
    """The cost of the model as shown.

    Attributes:
        line: A summary of the costs, and the sentence on what a mask does not save.
        files, emissions: The accounts of the files and FLOPs, and of the residual output of pruned channels.
        compress, silence: The buttons that measure a large file, and that mask residual outputs.
        message: The sentence under the buttons.
        staircase: The latency of fewer channels.
    """

    name = "costs"
    title = "Costs"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self._locked = False
        self.line = widgets.HTML().add_class("ps-costline")
        self.files = widgets.HTML().add_class("ps-account")
        self.emissions = widgets.HTML().add_class("ps-account")
        self.message = message()
        self.compress = widgets.Button(
            description="Measure compressed size",
            tooltip=GLOSSARY["compress"],
        )
        self.silence = widgets.Button(
            description="Also mask bias and batch-norm",
            tooltip=GLOSSARY["mask residual output"],
        )
        self.press(self.compress, partial(state.tasks.measure, large=True))
        self.press(self.silence, partial(state.act, actions.silence, "silence"))
        self.staircase = StaircasePanel(state)
        parts = [
            self.files, self.compress, self.staircase.widget, self.emissions, self.silence, self.message,
        ]  # fmt: skip
        self.widget = widgets.VBox(parts).add_class("ps-costs")

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Hide the masking button along with the steps; with costs hidden the line has only its sentence."""
        self._locked = "steps" in lock
        self.staircase.restrict(hide, lock)
        html.hide(self.silence, "steps" in hide)
        (self.line.add_class if "costs" in hide else self.line.remove_class)("ps-short")

    def set_page(self, width: int, theme: Theme) -> None:
        """Take the width that the picture of the staircase has."""
        self.staircase.set_page(width, theme)

    def render(self, snapshot: Snapshot) -> None:
        """Show the costs of ``snapshot``."""
        costs = snapshot.costs
        self.staircase.render(snapshot)
        facts = "".join(html.fact(name, value) for name, value in cost_facts(costs))
        self.line.value = f'<div class="ps-costfacts">{facts}</div><p class="ps-honest">{HONEST}</p>'
        self.files.value = html_of(files_account(costs) + operations_account(costs))
        self.emissions.value = html_of(emissions_account(costs))
        html.show(self.compress, "compressed" in costs.problems and costs.files is not None)
        can = any(each.silenced_by for each in costs.emissions or ())
        html.show(self.silence, can)
        locked = html.LOCKED if self._locked else ""
        html.enable(self.silence, locked or ("" if snapshot.history.done else "there is no step yet."))
        waits = can and not snapshot.history.done and not self._locked
        problem = snapshot.message("silence")
        note = "Apply the preview first; bias and batch-norm can then be masked as the next step."
        say(self.message, problem or (note if waits else ""), problem=bool(problem))
