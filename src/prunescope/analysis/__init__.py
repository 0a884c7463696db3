"""What a model is worth, pruned or not; computed, never drawn."""

from prunescope.analysis.accuracy import Accuracy, Twin, copy_of

__all__ = ["Accuracy", "Twin", "copy_of"]
