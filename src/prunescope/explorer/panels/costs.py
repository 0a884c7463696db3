"""What it costs: the line under the pictures, and a section with the whole account."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as widgets

from prunescope.explorer.state.snapshot import Snapshot
from prunescope.measure import cost_facts, emissions_account, files_account, operations_account

HONEST = (
    "A mask makes nothing smaller or faster: pruned weights are zeros that are still stored and multiplied, "
    "and an output channel that is pruned still emits its bias and the shift of a batch-norm behind it."
)
"""What a mask does not do."""


class CostsPanel:
    """What the model costs as it is shown.

    Args:
        silence: Called when a person wants what pruned channels put out to be masked.
        measure: Called when a person wants a large file to be compressed.

    Attributes:
        line: The costs in short, and the sentence on what a mask does not do.
        widget: The section.
    """

    def __init__(self, silence: Callable[[], object], measure: Callable[[], object]) -> None:
        self._locked = False
        self.line = widgets.HTML().add_class("ps-costline")
        self._files = widgets.HTML().add_class("ps-account")
        self._emissions = widgets.HTML().add_class("ps-account")
        self._message = widgets.HTML().add_class("ps-message")
        self.compress = widgets.Button(
            description="Measure it", tooltip="Count all numbers, make the three files and compress them"
        )
        self.silence = widgets.Button(
            description="Mask that too",
            tooltip="A step of its own: the bias, and the batch-norm's scale and shift, of all channels that "
            "the steps have pruned",
        )
        self.compress.on_click(lambda _button: measure())
        self.silence.on_click(lambda _button: silence())
        parts = [self._files, self.compress, self._emissions, self.silence, self._message]
        self.widget = widgets.VBox(parts).add_class("ps-costs")

    def shorten(self, short: bool) -> None:
        """Leave of the line no more than the sentence, or show all of it."""
        (self.line.add_class if short else self.line.remove_class)("ps-short")

    def restrict(self, hide: bool, lock: bool) -> None:
        """Hide the button that makes a step, or show it and let no hand press it; `render` follows."""
        self._locked = lock
        (self.silence.add_class if hide else self.silence.remove_class)("ps-hidden")

    def render(self, snapshot: Snapshot) -> None:
        """Show the costs of ``snapshot``."""
        costs = snapshot.costs
        facts = "".join(
            f'<span class="ps-fact"><span class="ps-name">{escape(name)}</span> '
            f'<span class="ps-value">{escape(value)}</span><span class="ps-stop">. </span></span>'
            for name, value in cost_facts(costs)
        )
        self.line.value = f'<div class="ps-costfacts">{facts}</div><p class="ps-honest">{HONEST}</p>'
        self._files.value = files_account(costs) + operations_account(costs)
        self._emissions.value = emissions_account(costs)
        self.compress.layout.display = None if "compressed" in costs.problems and costs.files else "none"
        can = any(each.silenced_by for each in costs.emissions or ())
        self.silence.layout.display = None if can else "none"
        self.silence.disabled = self._locked or not snapshot.history.done
        waits = can and not snapshot.history.done and not self._locked
        problem, note = snapshot.message("silence"), "Apply first: it is masked as a step after that."
        self._say(problem or (note if waits else ""), bool(problem))

    def _say(self, text: str, is_problem: bool) -> None:
        kind, role = ("ps-problem", "alert") if is_problem else ("ps-note", "note")
        self._message.value = f'<div role="{role}" class="{kind}">{escape(text)}</div>' if text else ""
        self._message.layout.display = None if text else "none"
