"""The table of checkpoint formats, to which a format from outside the package can be added."""

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
"""The opener of each file name ending; if a folder holds several formats, the first is taken.

A new format is one row: ``FORMATS[".gguf"] = GgufFile`` lets files of it be opened, listed,
uploaded, explored and saved.
"""


def suffix_of(name: str) -> str:
    """Return the longest ending in `FORMATS` that ``name`` has, or "".

    Example:
        >>> suffix_of("model.pth.tar"), suffix_of("notes.txt")
        ('.pth.tar', '')
    """
    return max((suffix for suffix in FORMATS if name.endswith(suffix)), key=len, default="")


def is_pickled(name: str) -> bool:
    """Return whether a file called ``name`` has the format of ``torch.save``."""
    return FORMATS.get(suffix_of(name)) is TorchFile
