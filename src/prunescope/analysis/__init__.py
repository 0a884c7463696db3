"""What a model is worth, pruned or not; computed, never drawn."""

from prunescope.analysis.accuracy import Accuracy, Twin, copy_of
from prunescope.analysis.comparison import Comparison, Row, Side
from prunescope.analysis.cutting import Cut, cut_out
from prunescope.analysis.emission import Emission, measure_emissions
from prunescope.analysis.files import compress, dense_file, masked_file, permanent_file
from prunescope.analysis.flops import Flops, count_flops

__all__ = [
    "Accuracy",
    "Comparison",
    "Cut",
    "Emission",
    "Flops",
    "Row",
    "Side",
    "Twin",
    "compress",
    "copy_of",
    "count_flops",
    "cut_out",
    "dense_file",
    "masked_file",
    "measure_emissions",
    "permanent_file",
]
