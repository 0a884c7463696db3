"""Choosing groups: the N:M patterns, one click each, and the size of a group for those who want another."""

from __future__ import annotations

import ipywidgets as widgets

from prunescope.core.glossary import GLOSSARY
from prunescope.core.patterns import PATTERNS, Pattern, fit, group_axes, group_sizes
from prunescope.core.preview import Preview
from prunescope.explorer.html import show
from prunescope.figures.reading import axes_text

LARGEST = 1 << 22
"""Weights up to which the groups that break a pattern are counted at every move of a hand."""


class GroupChoice:
    """The controls of pruning within groups.

    Attributes:
        patterns: The N:M patterns; the one that is asked, if any, is on.
        size: How many elements a group has; 0 stands for all along ``dim``.
        fits: In how many groups the mask shown breaks 2:4, or the pattern that is asked.
    """

    def __init__(self) -> None:
        self.patterns = widgets.ToggleButtons(
            description="N:M",
            tooltip=GLOSSARY["pattern"],
            options=[(each.name, each) for each in PATTERNS],
            value=None,
            tooltips=[
                f"Keep the {each.keep} largest of every {each.of} weights of a row" for each in PATTERNS
            ],
            style={"button_width": "auto"},
        ).add_class("ps-patterns")
        self.size = widgets.Dropdown(
            description="Group m", tooltip=GLOSSARY["group size"], layout={"width": "auto"}
        )
        self.fits = widgets.HTML().add_class("ps-fits")

    def render(self, preview: Preview) -> None:
        """Show ``preview``."""
        self.patterns.value = next((each for each in PATTERNS if each.is_asked(preview)), None)
        options = _sizes(preview)
        if list(self.size.options) != options:
            self.size.options = options
        self.size.value = preview.spec.group or 0
        words = _fits(preview, self.patterns.value or PATTERNS[0])
        self.fits.value = f"<span>{words}</span>" if words else ""
        show(self.fits, bool(words))


def _sizes(preview: Preview) -> list[tuple[str, int]]:
    tensor, axes, group = preview.tensor, group_axes(preview), preview.spec.group
    sizes = sorted({*group_sizes(tensor, axes), *([group] if group else [])})
    return [(f"all along {axes_text(tensor, axes)}", 0), *((f"{size:,}", size) for size in sizes)]


def _fits(preview: Preview, pattern: Pattern) -> str:
    """Return how the mask shown fits ``pattern``, or "" where there is nothing to say."""
    looked_at = len(preview.tensor.shape) > 1 and preview.mask.numel() <= LARGEST
    found = fit(preview, pattern) if looked_at and preview.pruned_weights else None
    return "" if found is None else f"The mask {found.in_words}."
