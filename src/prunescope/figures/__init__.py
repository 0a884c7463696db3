"""Matplotlib drawings of previews: figures and axes only, no pyplot and no widgets."""

from prunescope.figures.pruning import PruningFigure

__all__ = ["PruningFigure"]
