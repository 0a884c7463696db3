"""The files that can be exported, written so that no partial file is ever seen."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.export.code import all_scores, code
from prunescope.export.model import sparse_state
from prunescope.export.plan import plan
from prunescope.session import Session
from prunescope.sources import check_held, is_pickled, layout_of, suffix_of, target_of, unwritten, write_file


@dataclass(frozen=True)
class Saved:
    """One kind of file.

    Attributes:
        title: Its title on the page.
        name: Suggested file name.
        content: Returns the file's bytes for a session.
    """

    title: str
    name: str
    content: Callable[[Session], bytes]


MOST_THROUGH_PAGE = 64_000_000
"""Largest checkpoint, in bytes, that a page exports a pruned copy of: it is held in memory on the way."""


def _weights(session: Session) -> bytes:
    weights = session.source.weights()
    files = weights.files
    if not files:
        return _safetensors(sparse_state(session))
    size = sum(file.stat().st_size for file in files)
    if size > MOST_THROUGH_PAGE or len(files) > 1:
        why = f"has {size / 1e6:,.0f} MB" if len(files) == 1 else f"lies in {len(files)} files"
        raise RequestError(
            "what",
            f"`what`: {session.source.title} {why}, and a page takes one file of at most "
            f"{MOST_THROUGH_PAGE // 10**6} MB. Take the plan, then: explorer = explore(FILE); "
            'explorer.load_plan(PLAN); explorer.save("state_dict", PATH).',
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"pruned{suffix_of(files[0].name)}")
        return weights.save_copy(session.history.masks(), path).read_bytes()


def file_name(session: Session, what: str) -> str:
    """Return the suggested name of one of `FILES`; a checkpoint's pruned copy keeps its format."""
    files = session.source.weights().files
    if what == "state_dict" and files:
        suffix, title = suffix_of(files[0].name), session.source.title
        return f"{title.removesuffix(suffix).replace('/', '-')}-pruned{suffix}"
    return FILES[what].name


def _masks(session: Session) -> dict[str, Tensor]:
    return {name: mask.cpu().contiguous().clone() for name, mask in session.history.masks().items()}


def _safetensors(tensors: dict[str, Tensor]) -> bytes:
    for name, tensor in tensors.items():
        check_held(name, tensor.dtype, layout_of(tensor))
    return safetensors.torch.save(tensors, {"format": "pt"})


FILES: Mapping[str, Saved] = {
    "state_dict": Saved(
        "Pruned weights (state_dict)",
        "pruned.safetensors",
        _weights,
    ),
    "masks": Saved(
        "Masks (safetensors, 1 is kept)", "masks.safetensors", lambda session: _safetensors(_masks(session))
    ),
    "plan": Saved("Plan (JSON)", "plan.json", lambda session: plan(session).encode()),
    "scores": Saved(
        "Importance scores (safetensors, for the code)",
        "scores.safetensors",
        lambda session: _safetensors(all_scores(session)),
    ),
    "torch": Saved(
        "Code for torch.nn.utils.prune", "prune_with_torch.py", lambda session: code(session).encode()
    ),
    "prunescope": Saved(
        "Code for prunescope.prune",
        "prune_with_prunescope.py",
        lambda session: code(session, engine="prunescope").encode(),
    ),
}
"""The files that can be exported, in the order they are offered."""


def files_of(session: Session) -> tuple[str, ...]:
    """Return the keys of `FILES` that can be made; code needs a network, which a checkpoint does not have."""
    code = () if session.source.can_run else ("torch", "prunescope")
    scores = () if any(step.importance for step in session.history.done) else ("scores",)
    return tuple(key for key in FILES if key not in (*code, *scores))


def save(session: Session, what: str, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write one of `FILES` and return its path.

    Args:
        session: The session.
        what: A key of `FILES`.
        path: Where to write; its folder must exist. Tensors are written with ``torch.save`` if the name ends
            in ``.pt``, ``.pth``, ``.bin`` or ``.ckpt``, else as safetensors.
        overwrite: Whether to replace an existing file.

    Raises:
        RequestError: ``what`` is not such a key, or the file already exists or cannot be written.
    """
    if what not in FILES:
        raise RequestError("what", f"`what` must be one of {', '.join(FILES)}, got {what!r}.")
    target = target_of(path)
    if target.is_dir():
        raise RequestError("path", f"`path` {target} is a folder that exists: give another name.")
    if target.exists() and not overwrite:
        raise RequestError("path", f"`path` {target} exists: pass `overwrite=True` to replace it.")
    weights = session.source.weights()
    if what == "state_dict" and weights.files:
        return weights.save_copy(session.history.masks(), target, overwrite=overwrite)
    _save_scores(session, what, target, overwrite)
    tensors = {"state_dict": sparse_state, "masks": _masks}.get(what)
    if tensors is not None and is_pickled(target.name):
        content = _pickled(tensors(session))
    else:
        content = FILES[what].content(session)
    try:
        write_file(target, lambda out: out.write(content))
    except (OSError, ValueError) as error:
        raise unwritten(target, error) from error
    return target


def _save_scores(session: Session, what: str, target: Path, overwrite: bool) -> None:
    """Write the scores that the code needs next to it, if it needs any."""
    if what in ("torch", "prunescope") and all_scores(session):
        save(session, "scores", target.with_name(FILES["scores"].name), overwrite=overwrite)


def _pickled(tensors: dict[str, Tensor]) -> bytes:
    file = io.BytesIO()
    try:
        torch.save(tensors, file)
    except (NotImplementedError, RuntimeError) as error:  # A library's own tensor layout cannot be saved.
        reason = str(error).splitlines()[0].rstrip(".")
        raise RequestError("model", f"`model` cannot be saved by torch: {reason}.") from error
    return file.getvalue()
