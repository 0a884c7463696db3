"""Where weights come from: a module in memory, a checkpoint file, or one of the shipped demos."""

from prunescope.sources.checkpoint import (
    FORMATS,
    Checkpoint,
    Entry,
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
from prunescope.sources.module import find_tensor, fingerprint, prunable_tensors, read_again
from prunescope.sources.source import (
    MODELS_VARIABLE,
    OPEN_VARIABLE,
    Inputs,
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
    "OPEN_VARIABLE",
    "Checkpoint",
    "Entry",
    "Inputs",
    "Source",
    "Weights",
    "check_held",
    "checkpoint_source",
    "copy_of",
    "demo_source",
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
    "prunable_tensors",
    "read_again",
    "save_pruned",
    "suffix_of",
    "target_of",
    "unwritten",
    "write_file",
]
