"""A strip of examples with the answers before and after, those that changed first and marked."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from prunescope.analysis import Effect, Example
from prunescope.errors import RequestError
from prunescope.figures.style import Theme, rc_theme
from prunescope.sources import Inputs

MAX_EXAMPLES = 20
"""Examples in a strip, unless another number is asked for."""

TILE_HEIGHT = 1.52
"""How high a tile with its two lines of text is, in widths of a tile."""

MARKS = {"became wrong": "✗", "became right": "✓", "became wrong in another way": "≠"}
"""The sign of an answer that changed."""

_MOST_PIXELS = 96
_SIDE = 0.86  # Of a picture, in widths of a tile.


def draw_examples(
    effect: Effect,
    ax: Axes | None = None,
    *,
    most: int = MAX_EXAMPLES,
    columns: int = 10,
    theme: Theme | None = None,
) -> Axes:
    """Return ``ax`` after drawing examples with the class answered before and after, changed ones first.

    An example that is an image, or a vector of as many numbers as a square has, is drawn as an image; another
    vector as a line; anything else, such as tokens, is a frame with text. Each is scaled by itself.

    Args:
        effect: What to draw.
        ax: Empty axes; those of a new figure if None.
        most: Examples at the most, at least 1.
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
    rows = math.ceil(len(examples) / columns)
    ax = (
        Figure(figsize=(0.9 * columns, 0.9 * TILE_HEIGHT * rows)).add_axes((0, 0, 1, 1)) if ax is None else ax
    )
    for place, example in enumerate(examples):
        row, column = divmod(place, columns)
        _draw_tile(ax, column, row * TILE_HEIGHT, example, _look(effect.inputs, example.index), theme)
    ax.set_xlim(0, columns)
    ax.set_ylim(rows * TILE_HEIGHT, 0)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _draw_tile(
    ax: Axes, left: float, top: float, example: Example, look: NDArray[np.float32] | None, theme: Theme
) -> None:
    gap = (1 - _SIDE) / 2
    left, top = left + gap, top + gap
    if look is None:
        ax.text(
            left + _SIDE / 2,
            top + _SIDE / 2,
            f"#{example.index}",
            color=theme.faint,
            ha="center",
            va="center",
        )
    elif look.ndim == 1:
        across = np.linspace(left + 0.04, left + _SIDE - 0.04, len(look))
        ax.plot(across, top + _SIDE - 0.06 - look * (_SIDE - 0.12), color=theme.kept, linewidth=1)
    else:
        extent = (left, left + _SIDE, top + _SIDE, top)
        ax.imshow(look, extent=extent, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    width, colour = (2.4, theme.threshold) if example.changed else (0.8, theme.grid)
    if example.fate == "became right":
        colour = theme.kept
    ax.add_patch(Rectangle((left, top), _SIDE, _SIDE, fill=False, edgecolor=colour, linewidth=width))
    _write(ax, left + _SIDE / 2, top + _SIDE, example, theme)


def _write(ax: Axes, middle: float, bottom: float, example: Example, theme: Theme) -> None:
    answer = example.after
    if example.changed:
        answer = f"{MARKS[example.fate]} {example.before} → {example.after}"
    lines = [
        (answer, 0.05, theme.ink, "bold" if example.changed else "normal"),
        (f"#{example.index} is {example.target}", 0.27, theme.faint, "normal"),
    ]
    for text, below, colour, weight in lines:
        ax.text(middle, bottom + below, text, color=colour, fontweight=weight, ha="center", va="top",
                fontsize=theme.text_size)  # fmt: skip


def _look(inputs: Inputs, index: int) -> NDArray[np.float32] | None:
    """Return what an example looks like, in [0, 1]: ``(H, W)``, ``(H, W, 3)``, a line ``(L,)``, or None."""
    values = (inputs[0] if isinstance(inputs, tuple) else inputs)[index]
    if not values.is_floating_point() and values.ndim < 2:
        return None  # A number, or tokens.
    return _scaled(_shaped(values.detach().float().cpu()))


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
