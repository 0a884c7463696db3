"""What a model is worth, pruned or not; computed, never drawn."""

from prunescope.analysis.accuracy import Accuracy, Twin, copy_of
from prunescope.analysis.comparison import Comparison, Row, Side

__all__ = ["Accuracy", "Comparison", "Row", "Side", "Twin", "copy_of"]
