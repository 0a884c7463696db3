"""Metrics, costs, comparisons and importance scores of a model; computed, never drawn."""

from prunescope.measure.comparison import SIDES, Comparison, Row, Side
from prunescope.measure.costs.cutting import Savings, cut_out
from prunescope.measure.costs.flops import Flops, count_flops
from prunescope.measure.costs.report import (
    Costs,
    FileSizes,
    bytes_text,
    cost_facts,
    emissions_account,
    files_account,
    operations_account,
)
from prunescope.measure.costs.residual import Emission, measure_emissions
from prunescope.measure.costs.sizes import compress, dense_file, masked_file, permanent_file
from prunescope.measure.effect import ClassEffect, Effect, Example
from prunescope.measure.evaluation import Accuracy, EvalCopy, pruned_copy
from prunescope.measure.metric import Evaluate, Measure, Metric, Metrics, evaluated, name_of, number
from prunescope.measure.randomness import Randomness

__all__ = [
    "SIDES",
    "Accuracy",
    "ClassEffect",
    "Comparison",
    "Costs",
    "Effect",
    "Emission",
    "EvalCopy",
    "Evaluate",
    "Example",
    "FileSizes",
    "Flops",
    "Measure",
    "Metric",
    "Metrics",
    "Randomness",
    "Row",
    "Savings",
    "Side",
    "bytes_text",
    "compress",
    "cost_facts",
    "count_flops",
    "cut_out",
    "dense_file",
    "emissions_account",
    "evaluated",
    "files_account",
    "masked_file",
    "measure_emissions",
    "name_of",
    "number",
    "operations_account",
    "permanent_file",
    "pruned_copy",
]
