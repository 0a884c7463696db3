"""What a model is worth, pruned or not; computed, never drawn."""

from prunescope.analysis.accuracy import Accuracy, Twin

__all__ = ["Accuracy", "Twin"]
