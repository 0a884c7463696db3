"""Where weights come from: a module in memory, or one of the shipped demos."""

from prunescope.sources.module import find_tensor, fingerprint, prunable_tensors, read_again, version
from prunescope.sources.source import Inputs, Source, demo_source, module_source

__all__ = [
    "Inputs",
    "Source",
    "demo_source",
    "find_tensor",
    "fingerprint",
    "module_source",
    "prunable_tensors",
    "read_again",
    "version",
]
