"""The layout of a live picture: axes at pixel positions, each with a title and a line below it."""

from __future__ import annotations

from bisect import bisect_right

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from prunescope.figures.fast.quicktext import QuickText, text_width
from prunescope.figures.style import Theme

LEFT, RIGHT, TOP, BETWEEN, BOTTOM = 76, 14, 46, 98, 84
"""Pixels around and between the axes, at 100 dots per inch."""

NARROW = 640
"""Width in pixels below which axes are stacked."""

LEGEND_ROW, TOOLBAR = 20, 36
"""Pixels of a row of the legend, and of the strip that ipympl's toolbar needs below a narrow picture."""

EDGE = 8
"""Pixels between text and the edge of the figure."""


def add_axes(figure: Figure, theme: Theme) -> Axes:
    """Return new axes in the colours of ``theme``, to be positioned later."""
    axes: Axes = figure.add_axes((0, 0, 1, 1), label=str(len(figure.axes)))
    axes.set_facecolor(theme.paper)
    axes.tick_params(colors=theme.faint, labelsize=9, length=3, which="both")
    for spine in axes.spines.values():
        spine.set_color(theme.grid)
    return axes


def dress_chart(axes: Axes, theme: Theme) -> None:
    """Give chart ``axes`` horizontal grid lines, and no frame at the top and right."""
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def place(axes: Axes, left: float, bottom: float, across: float, up: float) -> None:
    """Position ``axes`` in pixels at 100 dots per inch, with the y label at the left edge."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches() * 100
    axes.set_position((left / width, bottom / height, across / width, up / height))
    beside = blended_transform_factory(figure.transFigure, axes.transAxes)
    axes.yaxis.set_label_coords((left - LEFT + 20) / width, 0.5, beside)


def label_across(axes: Axes, words: str, theme: Theme) -> None:
    """Write ``words`` under ``axes``: centred, or shifted left to end where the axes do."""
    axes.set_xlabel(words, color=theme.faint, fontsize=theme.text_size)
    if text_width(axes.xaxis.label, words) > width_of(axes):
        axes.set_xlabel(words, loc="right")


def width_of(axes: Axes) -> float:
    """Return the width of ``axes`` in pixels, at 100 dots per inch."""
    return float(axes.bbox.width * 100 / axes.figure.dpi)


def fitting(text: Text, pixels: float, *words: str) -> str:
    """Return the first of ``words`` that fits ``pixels`` when drawn by ``text``, or the last, truncated."""
    for each in words:
        if text_width(text, each) <= pixels:
            return each
    last = words[-1]
    end = bisect_right(range(len(last)), pixels, key=lambda end: text_width(text, f"{last[:end]}…"))
    return f"{last[: max(0, end - 1)]}…"


class Heading:
    """A title above axes and a line of text below it, as far as they fit.

    They start where the axes do, or at the left edge of a narrow figure.

    Args:
        axes: What they stand over; they are written anew when its place has changed.
        theme: The colours.

    Attributes:
        axes: What they stand over.
        title: The title.
        line: The line, which may change often.
    """

    def __init__(self, axes: Axes, theme: Theme) -> None:
        self.axes = axes
        self.title = axes.annotate(
            "", (0, 1), xytext=(0, 20), xycoords="axes fraction", textcoords="offset points", color=theme.ink,
            fontsize=10, fontweight="bold", va="baseline", ha="left", annotation_clip=False,
        )  # fmt: skip
        above = ScaledTranslation(0, 6 / 72, axes.figure.dpi_scale_trans)
        self.line = QuickText(0, 1, "", transform=axes.transAxes + above, color=theme.faint, fontsize=9)
        axes.add_artist(self.line)
        # Else it would be cut off at the edge of the axes, which it stands above.
        self.line.set_clip_on(False)

    def write_title(self, *words: str) -> None:
        """Write the first of ``words`` that fits, or the last, truncated."""
        left = self._left()
        self.title.xy = (left, 1)
        self.title.set_text(fitting(self.title, self._room(left), *words))

    def write_line(self, *words: str) -> None:
        """Write the first of ``words`` that fits, or the last, truncated."""
        left = self._left()
        self.line.set_x(left)
        self.line.set_text(fitting(self.line, self._room(left), *words))

    def _left(self) -> float:
        """Return where the text starts, as a fraction of the axes' width."""
        box, figure = self.axes.get_position(), self.axes.get_figure(root=True)
        assert figure is not None
        pixels = figure.get_figwidth() * 100
        return 0.0 if pixels >= NARROW else (EDGE / pixels - box.x0) / box.width

    def _room(self, left: float) -> float:
        return width_of(self.axes) * (1 - left) + EDGE
