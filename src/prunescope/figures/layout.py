"""How a live picture is laid out: axes at places in pixels, a title over each, and a line below it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from prunescope.figures.quicktext import QuickText
from prunescope.figures.style import Theme

LEFT, RIGHT, TOP, BETWEEN, BOTTOM = 76, 14, 46, 98, 84
"""Pixels around and between the axes, at 100 dots an inch."""

NARROW = 640
"""Pixels of width below which axes stand under each other."""

LEGEND_ROW, TOOLBAR = 20, 36
"""Pixels of a row of the legend, and of the strip that ipympl's toolbar needs below a narrow picture."""

BOLD_PIXELS, LETTER_PIXELS = 9.2, 6.9
"""How wide a letter of a title and of the line below it is, at the most and on the whole."""


def add_axes(figure: Figure, theme: Theme) -> Axes:
    """Return new axes in the colours of ``theme``, to be put in their place later."""
    axes: Axes = figure.add_axes((0, 0, 1, 1), label=str(len(figure.axes)))
    axes.set_facecolor(theme.paper)
    axes.tick_params(colors=theme.faint, labelsize=9, length=3, which="both")
    for spine in axes.spines.values():
        spine.set_color(theme.grid)
    return axes


def dress_chart(axes: Axes, theme: Theme) -> None:
    """Give ``axes`` of a chart level grid lines, and no frame above and on the right."""
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def place(axes: Axes, left: float, bottom: float, across: float, up: float) -> None:
    """Put ``axes`` at a place in pixels at 100 dots an inch, the label of the y axis on the left edge."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches() * 100
    axes.set_position((left / width, bottom / height, across / width, up / height))
    beside = blended_transform_factory(figure.transFigure, axes.transAxes)
    axes.yaxis.set_label_coords((left - LEFT + 20) / width, 0.5, beside)


def title(axes: Axes, theme: Theme) -> Annotation:
    """Return an empty title over ``axes``."""
    return axes.annotate(
        "", (0, 1), xytext=(0, 20), xycoords="axes fraction", textcoords="offset points", color=theme.ink,
        fontsize=10, fontweight="bold", va="baseline", ha="left", annotation_clip=False,
    )  # fmt: skip


def line(axes: Axes, theme: Theme) -> QuickText:
    """Return an empty line of text between the title and ``axes``."""
    above = ScaledTranslation(0, 6 / 72, axes.figure.dpi_scale_trans)
    text = QuickText(0, 1, "", transform=axes.transAxes + above, color=theme.faint, fontsize=9)
    axes.add_artist(text)
    text.set_clip_on(False)  # Else it would be cut off at the edge of the axes, which it stands above.
    return text


def room(axes: Axes, letter: float) -> int:
    """Return how many letters of ``letter`` pixels each stand over ``axes``, at 100 dots an inch."""
    return int(axes.bbox.width * 100 / axes.figure.dpi / letter)


def beginning(text: str, room: int) -> str:
    """Return the beginning of ``text`` that fits into ``room`` letters."""
    return text if len(text) <= room else text[: room - 1] + "…"
