"""Export the result: the pruned model, its masks, the plan as JSON, and code that reproduces it."""

from prunescope.export.code import code
from prunescope.export.files import FILES, Saved, file_name, files_of, save
from prunescope.export.model import pruned_model, sparse_state
from prunescope.export.plan import load_plan, plan

__all__ = [
    "FILES",
    "Saved",
    "code",
    "file_name",
    "files_of",
    "load_plan",
    "plan",
    "pruned_model",
    "save",
    "sparse_state",
]
