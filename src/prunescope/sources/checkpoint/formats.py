"""The formats of checkpoint files: a table that a format from outside the package is entered into as well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prunescope.sources.checkpoint.safetensors_file import SafetensorsFile
from prunescope.sources.checkpoint.stored import TensorFile
from prunescope.sources.checkpoint.torch_file import TorchFile

FORMATS: dict[str, Callable[[Path], TensorFile]] = {
    ".safetensors": SafetensorsFile,
    ".pt": TorchFile,
    ".pth": TorchFile,
    ".bin": TorchFile,
    ".ckpt": TorchFile,
    ".pth.tar": TorchFile,
}
"""What opens a file, by how its name ends; where a folder holds several formats, the first one is taken.

A row is all that a new format takes: ``FORMATS[".gguf"] = GgufFile`` lets files of it be opened, listed,
uploaded, explored and saved.
"""


def suffix_of(name: str) -> str:
    """Return by which of `FORMATS` a file called ``name`` is opened, the longest; "" if by none.

    Example:
        >>> suffix_of("model.pth.tar"), suffix_of("notes.txt")
        ('.pth.tar', '')
    """
    return max((suffix for suffix in FORMATS if name.endswith(suffix)), key=len, default="")


def is_pickled(name: str) -> bool:
    """Return whether a file called ``name`` is one that ``torch.save`` writes."""
    return FORMATS.get(suffix_of(name)) is TorchFile
