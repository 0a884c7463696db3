"""What can be taken home as a file, and writing it so that no half file is ever seen."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch

from prunescope.errors import RequestError
from prunescope.session import Session
from prunescope.sources import Checkpoint, save_pruned
from prunescope.takeaway.code import code
from prunescope.takeaway.model import sparse_state
from prunescope.takeaway.plan import plan


@dataclass(frozen=True)
class Saved:
    """One kind of file.

    Attributes:
        title: What a person reads.
        name: Suggested file name.
        content: Makes the file's bytes from the session.
    """

    title: str
    name: str
    content: Callable[[Session], bytes]


def _masks(session: Session) -> bytes:
    masks = {name: mask.cpu().contiguous().clone() for name, mask in session.history.masks().items()}
    return safetensors.torch.save(masks, {"format": "pt"})


FILES: Mapping[str, Saved] = {
    "state_dict": Saved(
        "Pruned weights (state_dict, safetensors)",
        "pruned.safetensors",
        lambda session: safetensors.torch.save(sparse_state(session), {"format": "pt"}),
    ),
    "masks": Saved("Masks (safetensors, 1 is kept)", "masks.safetensors", _masks),
    "plan": Saved("Plan (JSON)", "plan.json", lambda session: plan(session).encode()),
    "torch": Saved(
        "Code for torch.nn.utils.prune", "prune_with_torch.py", lambda session: code(session).encode()
    ),
    "prunescope": Saved(
        "Code for prunescope.prune",
        "prune_with_prunescope.py",
        lambda session: code(session, engine="prunescope").encode(),
    ),
}
"""The files that can be taken home, in the order they are offered."""


def save(session: Session, what: str, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write one of `FILES` and return its path.

    Args:
        session: The session.
        what: A key of `FILES`.
        path: Where to; its folder exists.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        RequestError: ``what`` is no such key, or the file is there already, or cannot be written.
    """
    if what not in FILES:
        raise RequestError("what", f"`what` must be one of {', '.join(FILES)}, got {what!r}.")
    target = Path(path)
    if target.exists() and not overwrite:
        raise RequestError("path", f"`path` {target} exists: pass `overwrite=True` to replace it.")
    if what == "state_dict" and isinstance(session.source.model, Checkpoint):
        return save_pruned(session.source.model, session.history.masks(), target, overwrite=overwrite)
    content = FILES[what].content(session)
    try:
        write_atomically(target, content)
    except OSError as error:
        raise RequestError("path", f"`path` {target} could not be written: {error.strerror}.") from error
    return target


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: into a temporary file beside it, to the disk, then renamed.

    Raises:
        OSError: It could not be written; what was there is untouched.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
