"""What a lesson puts on the page besides exercises: sentences, tables and pictures made from the run."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from html import escape

from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure
from torch import Tensor

from prunescope.lessons.writing import shortened, signed

LEGIBLE = 600
"""Pixels of width below which the text of a picture is too small."""


def say(text: str) -> None:
    """Show ``text``, Markdown, below the cell: prose whose numbers come from the run."""
    display(Markdown(text))  # type: ignore[no-untyped-call]


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown, numbers and all written by ``str``.

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
    """Return it as a table has it: real minus signs, units beside their numbers, no bar to end a cell."""
    text = re.sub(r"(?<![\w.])-(?=[\d.])", "−", str(content))
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace("|", "\\|")


def grid(tensor: Tensor) -> str:
    """Return a matrix, or a vector as one row, as a table in Markdown with its indices.

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
    """Return ``figure`` as a picture, no wider than the page; on one too narrow to read it, it scrolls.

    Args:
        figure: Any matplotlib figure; `matplotlib.figure.Figure()` is enough, no pyplot.
        alt: What a person who cannot see it is told.

    Example:
        >>> "alt=\\"nothing\\"" in picture(Figure(), "nothing").data
        True
    """
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=144)
    width = round(figure.get_size_inches()[0] * 96)
    source = base64.b64encode(png.getvalue()).decode()
    style = f"width:{width}px;max-width:100%;min-width:{min(width, LEGIBLE)}px;height:auto"
    image = f'<img alt="{escape(alt)}" style="{style}" src="data:image/png;base64,{source}">'
    return HTML(f'<div style="overflow-x:auto">{image}</div>')  # type: ignore[no-untyped-call]
