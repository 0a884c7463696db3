"""Matplotlib drawings of previews and their effects: figures and axes only, no pyplot and no widgets."""

from prunescope.figures.classes import draw_classes, shown_classes
from prunescope.figures.comparison import ComparisonFigure
from prunescope.figures.draw import draw_agreement, draw_both_norms, draw_heatmap, draw_histogram, draw_norms
from prunescope.figures.examples import MAX_EXAMPLES, draw_examples, strip_height
from prunescope.figures.pruning import Place, PruningFigure
from prunescope.figures.reading import sentence
from prunescope.figures.style import DARK, LIGHT, Theme
from prunescope.figures.view import VIEW_CHOICES, View

__all__ = [
    "DARK",
    "LIGHT",
    "MAX_EXAMPLES",
    "VIEW_CHOICES",
    "ComparisonFigure",
    "Place",
    "PruningFigure",
    "Theme",
    "View",
    "draw_agreement",
    "draw_both_norms",
    "draw_classes",
    "draw_examples",
    "draw_heatmap",
    "draw_histogram",
    "draw_norms",
    "sentence",
    "shown_classes",
    "strip_height",
]
