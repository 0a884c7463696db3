"""Accuracy class by class, before and after: a row for each, with intervals and counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from prunescope.figures.style import Theme, rc_theme
from prunescope.measure import Accuracy, ClassEffect, Effect

MAX_CLASSES = 20
"""Most rows; of more classes, those whose accuracy changed most are drawn."""

LONGEST_NAME = 14
"""Longest class name that is written, in characters."""

_APART = 0.17  # Between the middle of a row and the intervals above and below it.


def shown_classes(effect: Effect, most: int = MAX_CLASSES) -> list[ClassEffect]:
    """Return the ``most`` classes whose accuracy changed most, in index order."""
    moved = sorted(range(len(effect.classes)), key=lambda place: -effect.classes[place].moved)
    return [effect.classes[place] for place in sorted(moved[:most])]


def draw_classes(
    effect: Effect, ax: Axes | None = None, *, most: int = MAX_CLASSES, theme: Theme | None = None
) -> Axes:
    """Draw the accuracy of each class before and after, with 95 % intervals; return the axes.

    Args:
        effect: What to draw.
        ax: Empty axes; those of a new figure if None.
        most: Most rows; of more classes, those whose accuracy changed most are drawn.
        theme: The colours; those of matplotlib's ``rcParams`` if None.

    Example:
        >>> import torch
        >>> targets, was, now = torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
        >>> effect = Effect(torch.zeros(3, 2), targets, Accuracy(3, 3, was), Accuracy(2, 3, now))
        >>> ax = draw_classes(effect)
        >>> [text.get_text() for text in ax.texts]
        ['2 → 1 of 2', '1 → 1 of 1']
    """
    theme = rc_theme() if theme is None else theme
    ax = Figure(layout="constrained").add_subplot() if ax is None else ax
    classes = shown_classes(effect, most)
    rows = np.arange(len(classes))
    befores, afters = [each.before for each in classes], [each.after for each in classes]
    starts, ends = _fractions(befores), _fractions(afters)
    ax.hlines(rows, starts, ends, color=theme.pruned, linewidth=2)
    _intervals(ax, rows - _APART, befores, theme.faint)
    _intervals(ax, rows + _APART, afters, theme.kept)
    ax.plot(
        starts,
        rows,
        "o",
        markersize=6,
        markerfacecolor=theme.paper,
        markeredgecolor=theme.faint,
        clip_on=False,
    )
    ax.plot(ends, rows, "D", markersize=5.5, color=theme.kept, clip_on=False)
    for row, each in enumerate(classes):
        _write_counts(ax, row, each, theme)
    _dress(ax, [each.name for each in classes], theme)
    return ax


def _fractions(accuracies: Sequence[Accuracy]) -> NDArray[Any]:
    return np.array([each.fraction for each in accuracies])


def _intervals(ax: Axes, rows: NDArray[Any], accuracies: Sequence[Accuracy], colour: str) -> None:
    low, high = np.array([each.interval for each in accuracies]).reshape(-1, 2).T
    ax.hlines(rows, low, high, color=colour, linewidth=1.3)


def _write_counts(ax: Axes, row: float, each: ClassEffect, theme: Theme) -> None:
    ax.annotate(
        f"{each.before.right:,} → {each.after.right:,} of {each.after.total:,}",
        (1, row), xytext=(8, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
        va="center", color=theme.ink if each.moved else theme.faint, fontsize=theme.text_size,
        annotation_clip=False,
    )  # fmt: skip


def _dress(ax: Axes, names: list[str], theme: Theme) -> None:
    ax.set_facecolor(theme.paper)
    ax.set_xlim(0, 1)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    ax.set_yticks(range(len(names)), [_short(name) for name in names])
    ax.set_ylabel("class", color=theme.faint, fontsize=theme.text_size)
    ax.set_xlabel("share, with 95 % intervals", color=theme.faint, fontsize=theme.text_size)
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    ax.tick_params(colors=theme.faint, labelsize=theme.text_size, length=0)
    ax.grid(axis="x", color=theme.grid, linewidth=0.8)
    ax.set_axisbelow(True)
    for side, spine in ax.spines.items():
        spine.set_visible(side == "left")
        spine.set_color(theme.grid)
    ax.legend(
        handles=_handles(theme), loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False,
        borderpad=0, fontsize=theme.text_size, labelcolor=theme.ink, handlelength=1.4, columnspacing=1.4,
    )  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _handles(theme: Theme) -> list[Line2D]:
    hollow: dict[str, Any] = {"markerfacecolor": theme.paper, "markeredgecolor": theme.faint}
    return [
        Line2D([], [], linestyle="", marker="o", markersize=6, label="before", **hollow),
        Line2D([], [], linestyle="", marker="D", markersize=5.5, color=theme.kept, label="after"),
    ]
