"""Writing a pruned copy of a checkpoint: one tensor in memory at a time, whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.sources.checkpoint.checkpoint import Checkpoint
from prunescope.sources.checkpoint.stored import TensorFile, Zeroes


def save_pruned(
    checkpoint: Checkpoint, masks: Mapping[str, Tensor], path: str | PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a copy of ``checkpoint`` with zeros where ``masks`` are False, and return its path.

    Names, order, dtypes, metadata and every other byte of the tensors stay as they are. A checkpoint of one
    file becomes a file, one with an index a folder of the same files. It is made beside ``path`` under a
    temporary name, forced to the disk, then renamed: no half copy is ever seen under ``path``.

    Args:
        checkpoint: The checkpoint; its files are read, never written.
        masks: Boolean masks by the tensors' names, of their shapes, True where kept.
        path: Where to; the folder around it exists.
        overwrite: Whether a file that is there may be replaced; a folder never is.

    Raises:
        RequestError: ``path`` cannot be written or is one of the checkpoint's own files; or one of these
            has changed since it was opened.
    """
    target = Path(path).expanduser()
    _check(checkpoint, target, overwrite)
    parts = checkpoint.zeroes(masks)
    try:
        if checkpoint.index is None:
            _write_file(checkpoint.files[0], parts[checkpoint.files[0]], target)
        else:
            _write_folder(checkpoint.index, parts, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RequestError("path", f"`path` {target} could not be written: {reason}.") from error
    return target


def _check(checkpoint: Checkpoint, target: Path, overwrite: bool) -> None:
    own = {file.path.resolve() for file in checkpoint.files}
    if target.resolve() in own:
        raise RequestError("path", f"`path` {target} is the checkpoint itself: give another name.")
    if checkpoint.index is None and target.suffix != checkpoint.files[0].path.suffix:
        suffix = checkpoint.files[0].path.suffix
        raise RequestError("path", f"`path` must end in {suffix}, as the original does, got {target.name}.")
    if target.is_dir():
        raise RequestError("path", f"`path` {target} is a folder that exists: give another name.")
    if target.exists() and (not overwrite or checkpoint.index is not None):
        raise RequestError("path", f"`path` {target} exists: pass `overwrite=True` to replace it.")


def _write_file(file: TensorFile, zeroed: Mapping[str, Zeroes], target: Path) -> None:
    handle, temporary = _temporary(target)
    try:
        with os.fdopen(handle, "wb") as out:
            file.write_copy(out, zeroed)
            out.flush()
            os.fchmod(out.fileno(), 0o666 & ~_umask())
            os.fsync(out.fileno())
            temporary = temporary or _named(out.fileno(), target)
        os.replace(temporary, target)
    except BaseException:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _temporary(target: Path) -> tuple[int, Path | None]:
    """Return a new file on the disk of ``target``, and its name if the system has none without a name.

    A file without a name is gone when its process is killed, whatever has been written.
    """
    if hasattr(os, "O_TMPFILE"):
        try:
            return os.open(target.parent, os.O_TMPFILE | os.O_RDWR, 0o600), None
        except OSError:
            pass  # Not every file system has them.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    return handle, Path(name)


def _named(handle: int, target: Path) -> Path:
    """Return the name beside ``target`` that a nameless file is given, for it to be renamed from."""
    name = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    # Only with a folder's handle does Python follow the link to the open file.
    os.link(f"/proc/self/fd/{handle}", name, src_dir_fd=handle, follow_symlinks=True)
    return name


def _write_folder(index: Path, parts: Mapping[TensorFile, Mapping[str, Zeroes]], target: Path) -> None:
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        for file, zeroed in parts.items():
            _write_file(file, zeroed, temporary / file.path.name)
        shutil.copyfile(index, temporary / index.name)
        os.chmod(temporary, 0o777 & ~_umask())
        _sync_folder(temporary)
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(target.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Force a rename to the disk, where the system can open folders for that."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
