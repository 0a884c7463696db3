"""Where weights come from: a module in memory, a checkpoint file, or one of the shipped demos."""

from prunescope.sources.batches import MOST_EXAMPLES, Batches
from prunescope.sources.checkpoint import (
    PICKLED,
    SUFFIXES,
    Checkpoint,
    Entry,
    file_parts,
    file_size,
    offered,
    save_pruned,
)
from prunescope.sources.data import Training, examples
from prunescope.sources.inputs import Inputs, arguments, parts_of, rows_of, scores_of
from prunescope.sources.module import find_tensor, fingerprint, prunable_tensors, read_again, version
from prunescope.sources.source import (
    MODELS_VARIABLE,
    OPEN_VARIABLE,
    Source,
    checkpoint_source,
    demo_source,
    module_source,
)
from prunescope.sources.weights import Weights

__all__ = [
    "MODELS_VARIABLE",
    "MOST_EXAMPLES",
    "OPEN_VARIABLE",
    "PICKLED",
    "SUFFIXES",
    "Batches",
    "Checkpoint",
    "Entry",
    "Inputs",
    "Source",
    "Training",
    "Weights",
    "arguments",
    "checkpoint_source",
    "demo_source",
    "examples",
    "file_parts",
    "file_size",
    "find_tensor",
    "fingerprint",
    "module_source",
    "offered",
    "parts_of",
    "prunable_tensors",
    "read_again",
    "rows_of",
    "save_pruned",
    "scores_of",
    "version",
]
