"""A small tensor as a table, with a row of buttons per dim for marking the channels to be pruned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from contextlib import AbstractContextManager

import ipywidgets as widgets

from prunescope.core.errors import RequestError
from prunescope.lessons.answers import as_channels
from prunescope.lessons.cells import SIGNS, legend, matrix_of, surveyable
from prunescope.lessons.feedback import Feedback
from prunescope.lessons.prediction import ChannelQuestion, without_channels
from prunescope.lessons.writing import shortened, signed


class Bands:
    """The body of a channel exercise.

    Args:
        question: Which channels are pruned, along which dim.
        dims: The dims to choose from, including the right one.
        lock: Held while a press is handled.

    Attributes:
        widget: The table, and the buttons below it.
        buttons: The buttons of each dim, one per channel.
        changed: Called after each press.

    Raises:
        RequestError: ``dims`` are not axes of the tensor, or lack the right one.
        ValueError: The tensor has more than `MAX_CELLS` weights.
    """

    here = True

    def __init__(
        self, question: ChannelQuestion, dims: tuple[int, ...], lock: AbstractContextManager[object]
    ) -> None:
        self.changed: Callable[[], object] = lambda: None
        self._question = question
        self._lock = lock
        self._tensor = question.preview.tensor
        surveyable(self._tensor.weight)
        _check_dims(dims, question)
        self._table = widgets.HTML()
        self.buttons: Mapping[int, list[widgets.ToggleButton]] = {dim: self._row(dim) for dim in dims}
        rows = [
            widgets.HBox([widgets.Label(f"dim {dim} · {self._tensor.axis(dim)}"), *self.buttons[dim]])
            for dim in dims
        ]
        bands = [row.add_class("ps-bands") for row in rows]
        signs = widgets.HTML(legend(earlier=self._tensor.default_mask is not None))
        self._words = widgets.HTML().add_class("ps-unseen")
        self.widget = widgets.VBox([self._table, *bands, signs, self._words])
        self._draw({})

    def _row(self, dim: int) -> list[widgets.ToggleButton]:
        layout = widgets.Layout(width="auto")
        name = self._tensor.axis(dim)
        buttons = [
            widgets.ToggleButton(description=str(index), tooltip=f"dim {dim}, {name}: {index}", layout=layout)
            for index in range(self._tensor.shape[dim])
        ]
        for button in buttons:
            button.add_class("ps-cell").observe(self._listener(button), names="value")
        return buttons

    def _listener(self, button: widgets.ToggleButton) -> Callable[[object], None]:
        def pressed(_change: object) -> None:
            with self._lock:
                self._draw(dict.fromkeys(self._pressed(), "chosen"))
                self._words.value = f'<div role="status">{button.tooltip}</div>'
                self.changed()

        return pressed

    def _pressed(self) -> list[tuple[int, int]]:
        return [(dim, index) for dim, channels in self.chosen.items() for index in sorted(channels)]

    @property
    def answer(self) -> dict[str, list[int]]:
        """Return the pressed channels along each dim, as JSON values."""
        return {str(dim): sorted(channels) for dim, channels in self.chosen.items() if channels}

    def restore(self, answer: object) -> None:
        """Press the channels of a saved answer."""
        kept = answer if isinstance(answer, dict) else {}
        for dim, buttons in self.buttons.items():
            pressed = kept.get(str(dim))
            for index, button in enumerate(buttons):
                button.value = isinstance(pressed, list) and index in pressed

    def told(self) -> str:
        """Return the pressed channels, in words."""
        return "; ".join(f"dim {dim}: {index}" for dim, index in self._pressed()) or "nothing"

    @property
    def chosen(self) -> Mapping[int, Set[int]]:
        """Return the pressed channels along each dim."""
        return {
            dim: {index for index, button in enumerate(buttons) if button.value}
            for dim, buttons in self.buttons.items()
        }

    def predict(self, chosen: object) -> None:
        """Press the buttons of the channels ``chosen`` along each dim, and no others.

        Args:
            chosen: A mapping from a dim to its channels, such as ``{0: {2, 3}}``.

        Raises:
            RequestError: ``chosen`` is anything else; nothing is pressed.
        """
        chosen = as_channels(chosen, self._tensor.weight.shape, tuple(self.buttons))
        for dim, buttons in self.buttons.items():
            for index, button in enumerate(buttons):
                button.value = index in chosen.get(dim, ())

    def grade(self) -> Feedback:
        """Grade the pressed channels."""
        return self._question.grade(self.chosen)

    def show_difference(self, complete: bool) -> None:
        """Mark which pressed channels are right and wrong; if ``complete``, also the missed ones."""
        dim = self._question.preview.dim
        right = {(dim, index) for index in self._question.channels}
        states = {channel: "right" if channel in right else "wrong" for channel in self._pressed()}
        if complete:
            states |= {channel: "missed" for channel in right if channel not in states}
        self._draw(states)

    def reveal(self) -> str:
        """Mark the whole answer, and return it in words."""
        self.show_difference(complete=True)
        dim = self._question.preview.dim
        names = self._tensor.axis(dim)
        which = ", ".join(map(str, sorted(self._question.channels))) or "none"
        return f"Along dim {dim}, of the {names}: {which}."

    def _draw(self, states: Mapping[tuple[int, int], str]) -> None:
        """Draw the table, each weight with the state of the last marked channel it lies in."""
        shape = self._tensor.weight.shape
        cells = [["" for _ in range(matrix_of(self._tensor.weight).shape[1])] for _ in range(shape[0])]
        for (dim, index), state in states.items():
            gone = matrix_of(without_channels(shape, dim, {index}).logical_not())
            for row, column in gone.nonzero().tolist():
                cells[row][column] = state
        self._table.value = self._html(cells)
        for dim, buttons in self.buttons.items():
            for index, button in enumerate(buttons):
                self._mark(button, dim, index, states.get((dim, index), ""))

    def _mark(self, button: widgets.ToggleButton, dim: int, index: int, state: str) -> None:
        """Show ``state`` on the button of a channel as on its weights: by sign, words and colour."""
        sign, words = SIGNS.get(state, ("", ""))
        button.description = f"{sign} {index}".strip()
        name = f"dim {dim}, {self._tensor.axis(dim)}: {index}"
        button.tooltip = f"{name}: {words}" if words else name
        for each in SIGNS:
            (button.add_class if each == state else button.remove_class)(f"ps-{each}")

    def _html(self, states: list[list[str]]) -> str:
        weight = self._tensor.weight
        width = matrix_of(weight[:, :1]).shape[1]
        heads = "".join(
            f'<th scope="col" colspan="{width}">{column}</th>' for column in range(weight.shape[1])
        )
        lines = [f"<tr><td></td>{heads}</tr>"]
        for row, values in enumerate(matrix_of(weight).tolist()):
            cells = "".join(
                _cell(signed(value), states[row][column], width > 1 and column > 0 and column % width == 0)
                for column, value in enumerate(values)
            )
            lines.append(f'<tr><th scope="row">{row}</th>{cells}</tr>')
        return f'<div class="ps-scroll"><table class="ps-table">{"".join(lines)}</table></div>'


def _check_dims(dims: object, question: ChannelQuestion) -> None:
    axes, dim = range(question.preview.mask.ndim), question.preview.dim
    if not (isinstance(dims, tuple) and dim in dims and all(each in axes for each in dims)):
        said = f"`dims` must be a tuple of dims from {axes[0]} to {axes[-1]}, {dim} among them"
        raise RequestError("dims", f"{said}, got {shortened(dims)}.")


def _cell(number: str, state: str, first: bool) -> str:
    sign, words = SIGNS.get(state, ("", ""))
    classes = " ".join(filter(None, (f"ps-{state}" if state else "", "ps-first" if first else "")))
    unseen = f'<span class="ps-unseen">: {words}</span>' if words else ""
    return f'<td class="{classes}" title="{words}">{sign} {number}{unseen}</td>'
