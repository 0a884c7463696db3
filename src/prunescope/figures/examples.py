"""A strip of examples with the answers before and after; changed ones come first and are marked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.figures.layout import fitting, width_of
from prunescope.figures.style import Theme, rc_theme
from prunescope.measure import Effect, Example
from prunescope.sources import Inputs

MAX_EXAMPLES = 20
"""Default number of examples in a strip."""

MARKS = {"became wrong": "✗", "became right": "✓", "became wrong in another way": "≠"}
"""The sign of an answer that changed."""

_MOST_PIXELS = 96
_SIDE, _LINE = 0.86, 0.22  # Of a picture and of a line of text, in widths of a tile.
_SHORT = 3  # Letters of two names that stand beside each other under a picture.


def draw_examples(
    effect: Effect,
    ax: Axes | None = None,
    *,
    most: int = MAX_EXAMPLES,
    columns: int = 10,
    theme: Theme | None = None,
) -> Axes:
    """Draw examples with their answers before and after, changed ones first; return the axes.

    Images, and vectors whose length is a square, are drawn as images; other vectors as lines; anything else,
    such as tokens, as a frame with text. Each is scaled on its own.

    Args:
        effect: What to draw.
        ax: Empty axes; those of a new figure if None.
        most: Examples at most, at least 1.
        columns: Examples in a row, at least 1.
        theme: The colours; those of matplotlib's ``rcParams`` if None.

    Raises:
        RequestError: ``most`` or ``columns`` is below 1.
    """
    for name, value in {"most": most, "columns": columns}.items():
        if value < 1:
            raise RequestError(name, f"`{name}` must be at least 1, got {value}.")
    theme = rc_theme() if theme is None else theme
    examples = effect.examples(most)
    height = strip_height(examples, columns)
    if ax is None:
        ax = Figure(figsize=(0.9 * columns, 0.9 * height)).add_axes((0, 0, 1, 1))
    ax.set_xlim(0, columns)
    ax.set_ylim(height, 0)
    ax.set_aspect("equal")
    ax.set_axis_off()
    room = 0.94 * width_of(ax) / columns
    for place, example in enumerate(examples):
        row, column = divmod(place, columns)
        left, top = column + (1 - _SIDE) / 2, row * _tile_height(examples) + (1 - _SIDE) / 2
        _draw_picture(ax, left, top, example, _look(effect.inputs, example.index), theme)
        _write(ax, left, top, _lines(example, _stacked(examples)), room, theme)
    return ax


def strip_height(examples: Sequence[Example], columns: int) -> float:
    """Return the height of the strip of ``examples``, in tile widths."""
    return math.ceil(len(examples) / columns) * _tile_height(examples)


def _tile_height(examples: Sequence[Example]) -> float:
    return 1.08 + _LINE * (3 if _stacked(examples) else 2)


def _stacked(examples: Sequence[Example]) -> bool:
    """Return whether the names are too long to fit side by side."""
    return any(len(name) > _SHORT for each in examples for name in (each.before, each.after, each.target))


def _draw_picture(
    ax: Axes, left: float, top: float, example: Example, look: NDArray[np.float32] | None, theme: Theme
) -> None:
    if look is None:
        ax.text(left + _SIDE / 2, top + _SIDE / 2, f"#{example.index}", color=theme.faint, ha="center",
                va="center", fontsize=theme.text_size)  # fmt: skip
    elif look.ndim == 1:
        across = np.linspace(left + 0.04, left + _SIDE - 0.04, len(look))
        ax.plot(across, top + _SIDE - 0.06 - look * (_SIDE - 0.12), color=theme.kept, linewidth=1)
    else:
        extent = (left, left + _SIDE, top + _SIDE, top)
        limits = ax.get_xlim(), ax.get_ylim()
        ax.imshow(look, extent=extent, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set(xlim=limits[0], ylim=limits[1])
    colour = theme.kept if example.fate == "became right" else theme.threshold
    width, colour = (2.4, colour) if example.changed else (0.8, theme.grid)
    ax.add_patch(Rectangle((left, top), _SIDE, _SIDE, fill=False, edgecolor=colour, linewidth=width))


def _lines(example: Example, stacked: bool) -> list[str]:
    """Return the text under a picture: the answers, and the right one."""
    number, truth = f"#{example.index}", f"is {example.target}"
    answers = [example.after]
    if example.changed:
        answers = [f"{MARKS[example.fate]} {example.before}", f"→ {example.after}"]
    if not stacked:
        return [" ".join(answers), f"{number} {truth}"]
    answered = example.target in (example.before, example.after)  # Then it need not be written once more.
    return [*answers, number if answered else truth]


def _write(ax: Axes, left: float, top: float, lines: list[str], room: float, theme: Theme) -> None:
    changed = lines[0][:1] in MARKS.values()
    for place, line in enumerate(lines):
        answer = line is not lines[-1]
        text = ax.text(
            left + _SIDE / 2, top + _SIDE + 0.05 + place * _LINE, "",
            color=theme.ink if answer else theme.faint, ha="center", va="top", fontsize=theme.text_size,
            fontweight="bold" if answer and changed else "normal",
        )  # fmt: skip
        text.set_text(fitting(text, room, line))


def _look(inputs: Inputs, index: int) -> NDArray[np.float32] | None:
    """Return the picture of an example, in [0, 1]: ``(H, W)``, ``(H, W, 3)``, a line ``(L,)``, or None."""
    values = (inputs[0] if isinstance(inputs, tuple) else inputs)[index].detach()
    if values.is_complex() or not (values.is_floating_point() or values.ndim > 1):
        return None  # A number, or tokens.
    return _scaled(_shaped(values.float().cpu()))


def _shaped(values: Tensor) -> NDArray[np.float32] | None:
    if values.ndim == 3:
        values = values.movedim(0, -1) if len(values) == 3 else values.mean(0)
    if values.ndim == 2 and len(values) == 1:
        values = values[0]
    side = math.isqrt(values.numel())
    if values.ndim == 1 and side > 3 and side * side == values.numel():
        values = values.reshape(side, side)
    if values.ndim not in (1, 2, 3) or values.numel() < 2:
        return None
    steps = tuple(slice(None, None, -(-size // _MOST_PIXELS)) for size in values.shape)
    shaped: NDArray[np.float32] = values[steps].numpy()
    return shaped


def _scaled(values: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    if values is None:
        return None
    finite = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    low, high = finite.min(), finite.max()
    scaled: NDArray[np.float32] = (finite - low) / (high - low or 1)
    return scaled
