"""Checkpoint files without their code: safetensors and PyTorch state dicts, single, sharded or in a folder.

No code in a file is run. Opening reads names, shapes and dtypes; a tensor's values are read when it is shown,
and only the last one read is kept.
"""

from prunescope.sources.checkpoint.atomic import write_file, write_folder
from prunescope.sources.checkpoint.checkpoint import Checkpoint, open_checkpoint
from prunescope.sources.checkpoint.formats import FORMATS, is_pickled, suffix_of
from prunescope.sources.checkpoint.layout import offered
from prunescope.sources.checkpoint.stream import FileEntry, check_held, file_parts, file_size
from prunescope.sources.checkpoint.write import save_pruned, target_of, unwritten

__all__ = [
    "FORMATS",
    "Checkpoint",
    "FileEntry",
    "check_held",
    "file_parts",
    "file_size",
    "is_pickled",
    "offered",
    "open_checkpoint",
    "save_pruned",
    "suffix_of",
    "target_of",
    "unwritten",
    "write_file",
    "write_folder",
]
