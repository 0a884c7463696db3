"""Write files atomically: under a temporary name, to the disk, then renamed.

Where the system allows, a file has no name until it is complete, so that nothing of it outlives its process.
Named temporaries are locked while they are written: a lock ends with its process, so that what a killed
process left can be told from what another is writing, and is removed by the next save to that path.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def write_file(target: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Create or replace the file ``target`` with what ``fill`` writes.

    Args:
        target: Where to write; its folder exists.
        fill: Called with a file opened for binary reading and writing.

    Raises:
        OSError: It could not be written; what was there is untouched.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(Path(folder, "a"), lambda out: out.write(b"whole"))
        ...     [(each.name, each.read_bytes()) for each in Path(folder).iterdir()]
        [('a', b'whole')]
    """
    _remove_left(target)
    handle, temporary = _temporary(target)
    try:
        with os.fdopen(handle, "w+b") as out:
            _lock(out.fileno())
            fill(out)
            out.flush()
            if hasattr(os, "fchmod"):
                os.fchmod(out.fileno(), 0o666 & ~_umask())
            os.fsync(out.fileno())
            temporary = temporary or _named(out.fileno(), target)
            if fcntl is not None:  # While it is locked; on Windows an open file cannot be renamed.
                os.replace(temporary, target)
        if fcntl is None:
            os.replace(temporary, target)
    except BaseException:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def write_folder(target: Path, fill: Callable[[Path], object]) -> None:
    """Create the folder ``target`` with what ``fill`` puts into a temporary one.

    Args:
        target: Where to write; it does not exist, but its parent does.
        fill: Called with the path of an empty folder.

    Raises:
        OSError: It could not be written; then there is no such folder.
    """
    _remove_left(target)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=_prefix(target)))
    try:
        with _held(temporary):
            fill(temporary)
            os.chmod(temporary, 0o777 & ~_umask())
            _sync_folder(temporary)
            os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(target.parent)


def _prefix(target: Path) -> str:
    return f".{target.name}.part-"


def _remove_left(target: Path) -> None:
    """Remove what a killed process that was writing ``target`` has left beside it."""
    if fcntl is None:
        return
    try:
        beside = [each for each in target.parent.iterdir() if _is_temporary(each, target)]
    except OSError:
        return
    for left in beside:
        with suppress(OSError), _held(left):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _is_temporary(path: Path, target: Path) -> bool:
    """Return whether ``path`` is named like a temporary of `tempfile` or `_named` for ``target``."""
    prefix, rest = _prefix(target), path.name.removeprefix(_prefix(target))
    plain = len(rest) == 8 and rest.replace("_", "a").isalnum()
    return path.name.startswith(prefix) and plain and not path.is_symlink()


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder.

    Raises:
        OSError: Another process holds it.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _temporary(target: Path) -> tuple[int, Path | None]:
    """Return a new file on the disk of ``target``, and its name if the system has none without a name."""
    if hasattr(os, "O_TMPFILE"):
        # Not every file system has them.
        with suppress(OSError):
            return os.open(target.parent, os.O_TMPFILE | os.O_RDWR, 0o600), None
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=_prefix(target))
    return handle, Path(name)


def _named(handle: int, target: Path) -> Path:
    """Return the name beside ``target`` that a nameless file is given, for it to be renamed from."""
    name = target.with_name(_prefix(target) + secrets.token_hex(4))
    # Only with a folder's handle does Python follow the link to the open file.
    os.link(f"/proc/self/fd/{handle}", name, src_dir_fd=handle, follow_symlinks=True)
    return name


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
