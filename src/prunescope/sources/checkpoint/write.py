"""Write a pruned copy of a checkpoint atomically, one tensor in memory at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.sources.checkpoint.atomic import write_file, write_folder
from prunescope.sources.checkpoint.stored import TensorFile, Zeroes

if TYPE_CHECKING:
    from prunescope.sources.checkpoint.checkpoint import Checkpoint


def save_pruned(
    checkpoint: Checkpoint, masks: Mapping[str, Tensor], path: str | PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a copy of ``checkpoint`` with zeros where ``masks`` are False, and return its path.

    Names, order, dtypes, metadata and every other byte stay the same. A checkpoint of one file becomes a
    file, one with an index a folder of the same files. The copy is written under a temporary name, flushed to
    disk, then renamed: no partial copy ever appears at ``path``.

    Args:
        checkpoint: The checkpoint; its files are read, never written.
        masks: Boolean masks by the tensors' names, of their shapes, True where kept.
        path: Where to write; its parent folder exists.
        overwrite: Whether an existing file may be replaced; a folder never is.

    Raises:
        RequestError: ``path`` cannot be written or is one of the checkpoint's own files; or one of these
            has changed since it was opened.
    """
    target = target_of(path)
    _check(checkpoint, target, overwrite)
    parts = checkpoint.zeroes(masks)
    try:
        if checkpoint.index is None:
            file = checkpoint.parts[0]
            write_file(target, partial(file.write_copy, zeroed=parts[file]))
        else:
            _write_folder(checkpoint.index, parts, target)
    except (OSError, ValueError) as error:
        raise unwritten(target, error) from error
    return target


def target_of(path: str | PathLike[str]) -> Path:
    """Check ``path`` and return it as a `Path`.

    Raises:
        TypeError: It is not a path.
        RequestError: No file can have such a name.
    """
    target = Path(path)
    try:
        target = target.expanduser()
        os.lstat(target)
    except FileNotFoundError:
        return target
    except (OSError, ValueError, RuntimeError) as error:
        raise unwritten(target, error) from error
    return target


def unwritten(target: Path, error: Exception) -> RequestError:
    """Return the error for a file that could not be written; invalid names are quoted."""
    if isinstance(error, RequestError):
        return error
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    name = str(target) if str(target).isprintable() else ascii(str(target))
    return RequestError("path", f"`path` {name[:200]} could not be written: {reason}.")


def _check(checkpoint: Checkpoint, target: Path, overwrite: bool) -> None:
    own = {file.resolve() for file in checkpoint.files}
    if target.resolve() in own:
        raise RequestError("path", f"`path` {target} is the checkpoint itself: give another name.")
    suffix = checkpoint.suffix
    if checkpoint.index is None and not target.name.endswith(suffix):
        raise RequestError("path", f"`path` must end in {suffix}, as the original does, got {target.name}.")
    if target.is_dir():
        raise RequestError("path", f"`path` {target} is a folder that exists: give another name.")
    if target.exists() and (not overwrite or checkpoint.index is not None):
        raise RequestError("path", f"`path` {target} exists: pass `overwrite=True` to replace it.")


def _write_folder(index: Path, parts: Mapping[TensorFile, Mapping[str, Zeroes]], target: Path) -> None:
    def fill(folder: Path) -> None:
        for file, zeroed in parts.items():
            write_file(folder / file.path.name, partial(file.write_copy, zeroed=zeroed))
        shutil.copyfile(index, folder / index.name)

    write_folder(target, fill)
