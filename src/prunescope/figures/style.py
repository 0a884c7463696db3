"""Colours shared by the drawings. Safe for colour-blind eyes, and apart in lightness as well."""

from __future__ import annotations

from dataclasses import dataclass, replace

import matplotlib
from matplotlib.colors import to_hex

DASHES = (0, (5, 3))
"""Dashes of the threshold line, so that it differs by more than colour."""


@dataclass(frozen=True)
class Theme:
    """The colours of a picture.

    Attributes:
        paper: Background.
        ink, faint: Titles; labels, ticks and second lines.
        grid: Grid lines and frames.
        kept, pruned, earlier: A weight that is kept, that this step prunes, that an earlier step pruned.
        only_a, only_b: A weight that one of two states prunes and the other keeps.
        threshold: The threshold line.
        negative, zero, positive: The colour scale of weights.
        text_size: Size of labels and ticks in points, or matplotlib's name of one.

    Example:
        >>> LIGHT.paper, DARK.paper
        ('#ffffff', '#16191d')
    """

    paper: str = "#ffffff"
    ink: str = "#1f2933"
    faint: str = "#5b6771"
    grid: str = "#e3e7eb"
    kept: str = "#17507f"
    pruned: str = "#f2a93b"
    earlier: str = "#b9c0c7"
    only_a: str = "#52cca3"
    only_b: str = "#8c2f39"
    threshold: str = "#b3261e"
    negative: str = "#6a2c91"
    zero: str = "#ffffff"
    positive: str = "#146b3a"
    text_size: float | str = 9.0


LIGHT = Theme()
"""On a white page."""

DARK = replace(
    LIGHT,
    paper="#16191d",
    ink="#eceff2",
    faint="#aab4bd",
    grid="#3a424a",
    kept="#3f8fd2",
    pruned="#ffcf85",
    earlier="#5d676f",
    only_a="#5ce6e6",
    only_b="#e65c8a",
    threshold="#ff8a80",
)
"""On a dark page."""

KEPT, PRUNED, EARLIER = LIGHT.kept, LIGHT.pruned, LIGHT.earlier


def rc_theme() -> Theme:
    """Return the theme of matplotlib's ``rcParams``, with our data colours."""
    rc = matplotlib.rcParams
    grid = rc["grid.color"]
    return replace(
        LIGHT,
        paper=to_hex(rc["axes.facecolor"]),
        ink=to_hex(rc["text.color"]),
        faint=to_hex(rc["axes.labelcolor"]),
        grid=to_hex(rc["axes.edgecolor"] if isinstance(grid, str) and grid.startswith("axes.") else grid),
        text_size=rc["axes.labelsize"],
    )
