"""Content of lessons besides exercises: sentences, tables and pictures computed in the notebook."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from IPython.display import HTML, Markdown, display
from matplotlib import rc_context
from matplotlib.figure import Figure
from torch import Tensor

from prunescope.lessons.writing import shortened, signed

if TYPE_CHECKING:
    from prunescope.lessons.exercise import Exercise

LEGIBLE = 600
"""Width in pixels below which the text in a picture is too small to read."""

BLUE, ORANGE, GREY = "#17507f", "#b35c00", "#5b6771"
"""Colours for drawings in lessons, distinguishable with red-green colour blindness."""

DARK: Mapping[str, str] = MappingProxyType({BLUE: "#7db7e8", ORANGE: "#f2a93b", GREY: "#a9b4bd"})
"""The same colours on a dark page."""

_VARIABLES = {
    "#000000": "currentColor",
    "#ffffff": "var(--jp-layout-color0, #fff)",
    "#cccccc": "var(--jp-border-color2, #ccc)",
    **{colour: f"var(--ps-drawn-{colour[1:]})" for colour in DARK},
}

_THEME = (
    ".ps-picture{overflow-x:auto;color:var(--jp-content-font-color1,#000);"
    + "".join(f"--ps-drawn-{light[1:]}:{light};" for light in DARK)
    + "}[data-jp-theme-light=false] .ps-picture,.theme-dark .ps-picture{"
    + "".join(f"--ps-drawn-{light[1:]}:{dark};" for light, dark in DARK.items())
    + "}"
)


def say(text: str) -> None:
    """Display Markdown ``text`` below the cell, such as prose with computed numbers."""
    display(Markdown(text))  # type: ignore[no-untyped-call]


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table, with cells formatted by ``str``.

    Args:
        headings: One per column; the first column is aligned left, the others right.
        rows: Each as long as ``headings``.

    Raises:
        ValueError: A row is shorter or longer.

    Example:
        >>> print(table(["method", "points"], [["l1", "-0.5"]]))
        | method | points |
        | :-- | --: |
        | l1 | −0.5 |
    """
    lines = [[_cell(each) for each in line] for line in (headings, *rows)]
    for line in lines:
        if len(line) != len(headings):
            raise ValueError(f"`rows` must be {len(headings)} long, as `headings` is, got {line}")
    lines.insert(1, [":--", *["--:"] * (len(headings) - 1)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(content: object) -> str:
    """Format a cell: real minus signs, no line break before a percent sign, bars escaped."""
    text = re.sub(r"(?<![\w.])-(?=[\d.])", "−", str(content))
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace("|", "\\|")


def grid(tensor: Tensor) -> str:
    """Return a matrix, or a vector as one row, as a Markdown table with indices.

    Args:
        tensor: Tensor of one or two axes, none of size 0.

    Raises:
        ValueError: It is anything else.

    Example:
        >>> print(grid(Tensor([[0.5, -2.0]])))
        |  | 0 | 1 |
        | :-- | --: | --: |
        | **0** | 0.5 | −2 |
    """
    if not isinstance(tensor, Tensor) or tensor.ndim not in (1, 2) or not tensor.numel():
        raise ValueError(f"`tensor` must be a tensor of one or two axes, got {shortened(tensor)}")
    rows = tensor.detach().reshape(-1, tensor.shape[-1]).tolist()
    body = [[f"**{index}**", *map(signed, row)] for index, row in enumerate(rows)]
    return table(["", *map(str, range(tensor.shape[-1]))], body)


def picture(figure: Figure, alt: str) -> HTML:
    """Return ``figure`` as a drawing in the colours of the page, light or dark, no wider than it.

    On a page too narrow to read it, it scrolls. Black, white and the colours of `DARK` follow the theme.

    Args:
        figure: Any matplotlib figure; `matplotlib.figure.Figure()` is enough, no pyplot.
        alt: Alternative text for screen readers.

    Example:
        >>> 'aria-label="nothing"' in picture(Figure(), "nothing").data
        True
    """
    svg = io.StringIO()
    with rc_context({"svg.hashsalt": "prunescope"}):
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    width = round(figure.get_size_inches()[0] * 96)
    style = f"width:{width}px;max-width:100%;min-width:{min(width, LEGIBLE)}px;height:auto;fill:currentColor"
    drawing = svg.getvalue()[svg.getvalue().index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>|(?<=<svg )[^>]*?(?=viewBox)", "", drawing, flags=re.DOTALL)
    drawing = drawing.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" style="{style}" ', 1)
    for colour, variable in _VARIABLES.items():
        drawing = drawing.replace(colour, variable)
    return HTML(f"<style>{_THEME}</style><div class='ps-picture'>{drawing}</div>")  # type: ignore[no-untyped-call]


def once_answered(exercise: Exercise[Any], *shown: Any) -> widgets.VBox:
    """Return a widget in which ``shown`` appears once ``exercise`` has been answered, right or wrong.

    A prediction is worth nothing if the result is already visible below it.

    Args:
        exercise: The prediction.
        *shown: Markdown texts, or anything else that a notebook can display.
    """
    waiting = widgets.HTML("<p class='ps-waiting'>What was found appears here, once you have answered.</p>")
    place = widgets.Output()
    box = widgets.VBox([waiting])

    def show() -> None:
        for each in shown:
            place.append_display_data(Markdown(each) if isinstance(each, str) else each)  # type: ignore[no-untyped-call]
        box.children = [place]

    exercise.once_answered(show)
    return box
