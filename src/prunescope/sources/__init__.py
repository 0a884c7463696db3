"""Sources of weights: a module in memory, a checkpoint file, or one of the demos."""

from prunescope.sources.batches import MOST_EXAMPLES, Batches
from prunescope.sources.checkpoint import (
    FORMATS,
    Checkpoint,
    FileEntry,
    check_held,
    file_parts,
    file_size,
    is_pickled,
    offered,
    save_pruned,
    suffix_of,
    target_of,
    unwritten,
    write_file,
)
from prunescope.sources.copying import copy_of
from prunescope.sources.data import Training, examples
from prunescope.sources.inputs import Inputs, arguments, parts_of, rows_of, scores_of
from prunescope.sources.module import find_tensor, fingerprint, prunable_tensors, read_again
from prunescope.sources.source import (
    MODELS_VARIABLE,
    OPEN_VARIABLE,
    Source,
    checkpoint_source,
    demo_source,
    module_source,
)
from prunescope.sources.state import is_plain, layout_of, memory_of
from prunescope.sources.weights import Weights

__all__ = [
    "FORMATS",
    "MODELS_VARIABLE",
    "MOST_EXAMPLES",
    "OPEN_VARIABLE",
    "Batches",
    "Checkpoint",
    "FileEntry",
    "Inputs",
    "Source",
    "Training",
    "Weights",
    "arguments",
    "check_held",
    "checkpoint_source",
    "copy_of",
    "demo_source",
    "examples",
    "file_parts",
    "file_size",
    "find_tensor",
    "fingerprint",
    "is_pickled",
    "is_plain",
    "layout_of",
    "memory_of",
    "module_source",
    "offered",
    "parts_of",
    "prunable_tensors",
    "read_again",
    "rows_of",
    "save_pruned",
    "scores_of",
    "suffix_of",
    "target_of",
    "unwritten",
    "write_file",
]
