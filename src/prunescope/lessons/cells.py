"""A small tensor as a grid of buttons, one per weight, for marking the weights to be pruned.

They are plain ipywidgets buttons: reachable with Tab, pressed with Space, labelled with the weight. A state
is a sign in front of the number, a tooltip and a colour, never a colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType

import ipywidgets as widgets
import torch
from torch import Tensor

from prunescope.lessons.answers import as_mask
from prunescope.lessons.feedback import Feedback
from prunescope.lessons.prediction import MaskQuestion
from prunescope.lessons.writing import signed

MAX_CELLS = 144
"""Most cells that fit on a page and can be taken in at a glance."""

SIGNS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "chosen": ("×", "you say it goes"),
        "right": ("✓", "goes, as you say"),
        "wrong": ("!", "stays, and you said it goes"),
        "missed": ("?", "goes, and you said it stays"),
        "earlier": ("·", "pruned earlier"),
    }
)
"""The sign and the words for each state of a cell except the unmarked one."""


def legend(*, earlier: bool = False) -> str:
    """Return the legend of the signs as one line of HTML, with the sign for pruned weights if ``earlier``."""
    shown = {state: told for state, told in SIGNS.items() if earlier or state != "earlier"}
    parts = (
        f'<span class="ps-entry"><span class="ps-sign ps-{state}">{sign}</span> {words}</span>'
        for state, (sign, words) in shown.items()
    )
    return f'<div class="ps-legend">{" ".join(parts)}</div>'


def surveyable(weight: Tensor) -> Tensor:
    """Return ``weight``, or raise a ValueError if it has more than `MAX_CELLS` elements."""
    if weight.numel() > MAX_CELLS:
        raise ValueError(f"`layer` must have at most {MAX_CELLS} weights to be shown, got {weight.numel()}")
    return weight


def matrix_of(tensor: Tensor) -> Tensor:
    """Reshape ``tensor`` to two axes: rows of axis 0, columns of all other axes; a vector is one row."""
    return tensor.reshape(1, -1) if tensor.ndim == 1 else tensor.flatten(1)


class Cells:
    """A grid of weights; the body of a mask exercise.

    Args:
        question: Which weights are pruned.
        lock: Held while a press is handled.

    Attributes:
        widget: The grid, with the legend of its signs.
        buttons: One per weight, in index order.
        changed: Called after each press.

    Raises:
        ValueError: The tensor has more than `MAX_CELLS` weights.
    """

    here = True

    def __init__(self, question: MaskQuestion, lock: AbstractContextManager[object]) -> None:
        self.changed: Callable[[], object] = lambda: None
        self._question = question
        self._lock = lock
        weight = surveyable(question.preview.tensor.weight)
        self._numbers = [signed(value) for value in weight.flatten().tolist()]
        self._candidates = question.candidates.flatten().tolist()
        rows, columns = matrix_of(weight).shape
        self._places = [f"row {i // columns}, column {i % columns}" for i in range(weight.numel())]
        layout = widgets.Layout(width="auto")
        self.buttons = [
            widgets.ToggleButton(description=number, layout=layout, disabled=not free)
            for number, free in zip(self._numbers, self._candidates, strict=True)
        ]
        self._states = [""] * len(self.buttons)
        for index, button in enumerate(self.buttons):
            button.add_class("ps-cell")
            button.observe(self._listener(index), names="value")
            self._mark(index, "" if self._candidates[index] else "earlier")
        signs = widgets.HTML(legend(earlier=not all(self._candidates)))
        self._words = widgets.HTML().add_class("ps-unseen")
        self.widget = widgets.VBox([self._grid(rows, columns), signs, self._words])

    def _grid(self, rows: int, columns: int) -> widgets.GridBox:
        heads = [_head(""), *(_head(str(column)) for column in range(columns))]
        for row in range(rows):
            heads += [_head(str(row)), *self.buttons[row * columns : (row + 1) * columns]]
        template = f"20px repeat({columns}, minmax(44px, 76px))"
        grid = widgets.GridBox(heads, layout=widgets.Layout(grid_template_columns=template))
        return grid.add_class("ps-cells")

    def _listener(self, index: int) -> Callable[[object], None]:
        def pressed(_change: object) -> None:
            with self._lock:
                self._mark(index, "chosen" if self.buttons[index].value else "")
                self._speak(f"{self.buttons[index].tooltip}. {len(self.answer)} marked.")
                self.changed()

        return pressed

    def _mark(self, index: int, state: str) -> None:
        button = self.buttons[index]
        sign, words = SIGNS.get(state, ("", "you say it stays"))
        if self._states[index]:
            button.remove_class(f"ps-{self._states[index]}")
        if state:
            button.add_class(f"ps-{state}")
        button.description = f"{sign} {self._numbers[index]}".strip()
        button.tooltip = f"{self._places[index]}: {words}"
        self._states[index] = state

    def _speak(self, words: str) -> None:
        """Announce ``words`` to screen readers, which read only the sign and the number of a button."""
        self._words.value = f'<div role="status">{words}</div>'

    @property
    def states(self) -> Sequence[str]:
        """Return the state of each cell in index order: ``""`` or a key of `SIGNS`."""
        return tuple(self._states)

    def predict(self, mask: object) -> None:
        """Press the buttons of the weights that ``mask`` prunes.

        Args:
            mask: Tensor or nested lists of the weight's shape, True or 1 where a weight stays.

        Raises:
            RequestError: ``mask`` is anything else; nothing is pressed.
        """
        stay = as_mask(mask, self._question.mask.shape).flatten().tolist()
        for button, stays, free in zip(self.buttons, stay, self._candidates, strict=True):
            button.value = bool(free and not stays)

    @property
    def answer(self) -> list[int]:
        """Return the indices of the pressed cells."""
        return [index for index, button in enumerate(self.buttons) if button.value]

    def restore(self, answer: object) -> None:
        """Press the cells of a saved answer."""
        pressed = answer if isinstance(answer, list) else []
        for index, button in enumerate(self.buttons):
            button.value = index in pressed and not button.disabled

    def told(self) -> str:
        """Return the places of the pressed weights, in words."""
        return "; ".join(self._places[index] for index in self.answer) or "nothing"

    @property
    def predicted(self) -> Tensor:
        """Return the predicted mask: boolean, of the weight's shape, True where a weight stays."""
        pressed = torch.tensor([bool(button.value) for button in self.buttons])
        return self._question.candidates & ~pressed.reshape(self._question.mask.shape)

    def grade(self) -> Feedback:
        """Grade the predicted mask."""
        return self._question.grade(self.predicted)

    def show_difference(self, complete: bool) -> None:
        """Mark which pressed cells are right and wrong; if ``complete``, also the missed ones."""
        stays = self._question.mask.flatten().tolist()
        for index, button in enumerate(self.buttons):
            if button.value:
                self._mark(index, "wrong" if stays[index] else "right")
            elif self._candidates[index] and complete and not stays[index]:
                self._mark(index, "missed")
        told = [each.tooltip for each, state in zip(self.buttons, self._states, strict=True) if state]
        self._speak("; ".join(told))

    def reveal(self) -> str:
        """Mark the whole answer, and return it in words."""
        self.show_difference(complete=True)
        preview = self._question.preview
        return f"{preview.pruned_units} of {preview.units} {preview.unit_name} go; the cells show which."


def _head(text: str) -> widgets.HTML:
    return widgets.HTML(f'<div class="ps-head">{text}</div>')
