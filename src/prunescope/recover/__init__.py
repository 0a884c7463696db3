"""What pruning has cost is won back: batch-norm re-estimated, and fine-tuning with masks kept; no widgets."""

from prunescope.recover.batchnorm import Reestimation
from prunescope.recover.finetune import FineTuning, Point
from prunescope.recover.progress import Progress
from prunescope.recover.recipe import OPTIMIZERS, PRUNING, RATES, Recipe
from prunescope.recover.recovering import fine_tune, reestimate_batchnorm, write_to_model

__all__ = [
    "OPTIMIZERS",
    "PRUNING",
    "RATES",
    "FineTuning",
    "Point",
    "Progress",
    "Recipe",
    "Reestimation",
    "fine_tune",
    "reestimate_batchnorm",
    "write_to_model",
]
