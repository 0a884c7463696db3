"""What it costs: the line under the pictures, and a section with the whole account."""

from __future__ import annotations

from functools import partial
from html import escape

import ipywidgets as widgets

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
    "and an output channel that is pruned still emits its bias and the shift of a batch-norm behind it."
)
"""What a mask does not do."""


class CostsPanel(Panel):
    """What the model costs as it is shown.

    Attributes:
        line: The costs in short, and the sentence on what a mask does not do.
        files, emissions: The accounts of the files and operations, and of what pruned channels put out.
        compress, silence: The buttons that measure a large file, and that mask what is still put out.
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
            description="Measure it", tooltip="Count all numbers, make the three files and compress them"
        )
        self.silence = widgets.Button(
            description="Mask that too",
            tooltip="A step of its own: the bias, and the batch-norm's scale and shift, of all channels that "
            "the steps have pruned",
        )
        self.press(self.compress, partial(state.measure, large=True))
        self.press(self.silence, partial(state.act, actions.silence, "silence"))
        self.staircase = StaircasePanel(state)
        parts = [
            self.files, self.compress, self.staircase.widget, self.emissions, self.silence, self.message,
        ]  # fmt: skip
        self.widget = widgets.VBox(parts).add_class("ps-costs")

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Hide the button that makes a step with the steps; without costs the line has only its sentence."""
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
        facts = "".join(
            f'<span class="ps-fact"><span class="ps-name">{escape(name)}</span> '
            f'<span class="ps-value">{escape(value)}</span><span class="ps-stop">. </span></span>'
            for name, value in cost_facts(costs)
        )
        self.line.value = f'<div class="ps-costfacts">{facts}</div><p class="ps-honest">{HONEST}</p>'
        self.files.value = files_account(costs) + operations_account(costs)
        self.emissions.value = emissions_account(costs)
        html.show(self.compress, "compressed" in costs.problems and costs.files is not None)
        can = any(each.silenced_by for each in costs.emissions or ())
        html.show(self.silence, can)
        self.silence.disabled = self._locked or not snapshot.history.done
        waits = can and not snapshot.history.done and not self._locked
        problem, note = snapshot.message("silence"), "Apply first: it is masked as a step after that."
        say(self.message, problem or (note if waits else ""), problem=bool(problem))
