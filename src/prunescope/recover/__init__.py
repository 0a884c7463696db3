"""Recover accuracy after pruning: re-estimate batch-norm, fine-tune with masks kept. No widgets."""

from prunescope.recover.batchnorm import Reestimation
from prunescope.recover.finetune import FineTuning, Point
from prunescope.recover.outcomes import (
    FINE_TUNED,
    PRUNED,
    REESTIMATED,
    kept,
    outcomes,
    reasons,
    silence_what_can_be,
)
from prunescope.recover.progress import Progress
from prunescope.recover.recipe import OPTIMIZERS, PRUNING, RATES, TARGETS, Recipe
from prunescope.recover.recovering import fine_tune, reestimate_batchnorm, write_to_model

__all__ = [
    "FINE_TUNED",
    "OPTIMIZERS",
    "PRUNED",
    "PRUNING",
    "RATES",
    "REESTIMATED",
    "TARGETS",
    "FineTuning",
    "Point",
    "Progress",
    "Recipe",
    "Reestimation",
    "fine_tune",
    "kept",
    "outcomes",
    "reasons",
    "reestimate_batchnorm",
    "silence_what_can_be",
    "write_to_model",
]
