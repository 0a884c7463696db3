"""What a model is worth, pruned or not; computed, never drawn."""

from prunescope.analysis.accuracy import Accuracy, Twin, copy_of
from prunescope.analysis.comparison import Comparison, Row, Side
from prunescope.analysis.files import compress, dense_file, masked_file, permanent_file
from prunescope.analysis.flops import Flops, count_flops

__all__ = [
    "Accuracy",
    "Comparison",
    "Flops",
    "Row",
    "Side",
    "Twin",
    "compress",
    "copy_of",
    "count_flops",
    "dense_file",
    "masked_file",
    "permanent_file",
]
