"""Which files make a checkpoint: one file, the shards of an index, or a folder as model hubs lay it out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prunescope.core.errors import RequestError
from prunescope.sources.checkpoint.safetensors_file import SafetensorsFile
from prunescope.sources.checkpoint.stored import TensorFile, refused, unreadable
from prunescope.sources.checkpoint.torch_file import TorchFile

SAFETENSORS = (".safetensors",)
PICKLED = (".pt", ".pth", ".bin", ".ckpt")
SUFFIXES = SAFETENSORS + PICKLED
"""How the names of checkpoint files end."""

_LFS = b"version https://git-lfs.github.com/spec/"

INDEX = ".index.json"
MAX_INDEX_BYTES = 1 << 26

_USUAL = (
    "model.safetensors.index.json",
    "model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
"""What hubs call a model's weights, the best first."""


@dataclass(frozen=True)
class Layout:
    """The files of a checkpoint.

    Attributes:
        index: The index of the shards, or None for a single file.
        files: The files, each with the names it answers for; None means all it has.
    """

    index: Path | None
    files: list[tuple[TensorFile, frozenset[str] | None]]


def open_files(path: Path, within: Path | None = None) -> Layout:
    """Return the files of a checkpoint, opened.

    Args:
        path: A checkpoint file, an index, or a folder.
        within: A folder that every file must lie in, links followed; None allows any place.

    Raises:
        RequestError: There is none, or it cannot be trusted or read.
    """
    path = _allowed(path, within)
    if path.is_dir():
        path = _allowed(_in_folder(path), within)
    if path.name.endswith(INDEX):
        shards = _shards(path)
        files = [(_allowed(path.parent / file, within), frozenset(names)) for file, names in shards.items()]
        return Layout(path, [(_open(file), names) for file, names in files])
    return Layout(None, [(_open(path), None)])


def offered(folder: Path) -> list[Path]:
    """Return what can be opened in ``folder``: its checkpoint files, and its folders that hold one.

    A file that is one of several shards is not listed; its index is.

    Raises:
        RequestError: ``folder`` is no folder that can be read.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise RequestError("models", f"`models` {folder} cannot be read: {error.strerror}.") from error
    found = [entry for entry in entries if _is_offer(entry)]
    shards = {name for entry in found if entry.name.endswith(INDEX) for name in _shard_names(entry)}
    return [entry for entry in found if entry.name not in shards]


def _is_offer(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return any(child.name.endswith((*SUFFIXES, *_indexes())) for child in _children(path))
    return path.is_file() and path.name.endswith((*SUFFIXES, *_indexes()))


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _indexes() -> tuple[str, ...]:
    return tuple(suffix + INDEX for suffix in SUFFIXES)


def _shard_names(index: Path) -> list[str]:
    try:
        return list(_shards(index))
    except RequestError:
        return []


def _allowed(path: Path, within: Path | None) -> Path:
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no such file"
        raise refused(path, f"cannot be opened: {reason}") from error
    if within is not None and not real.is_relative_to(within.resolve()):
        raise refused(path, "lies outside the folder of models that is offered here")
    return path


def _in_folder(folder: Path) -> Path:
    try:
        there = {entry.name: entry for entry in folder.iterdir()}
    except OSError as error:
        raise unreadable(folder, error) from error
    for name in _USUAL:
        if name in there:
            return there[name]
    for suffixes in (tuple(s + INDEX for s in SAFETENSORS), SAFETENSORS, _indexes(), PICKLED):
        found = sorted(name for name in there if name.endswith(suffixes))
        if len(found) > 1:
            some = ", ".join(found[:4])
            raise refused(
                folder,
                f"holds several checkpoints: name one of {some}, or offer all: "
                f"`prunescope --models {folder.name}`",
            )
        if found:
            return there[found[0]]
    raise refused(folder, f"holds no checkpoint: no file there ends in {', '.join(SUFFIXES)}")


def _open(path: Path) -> TensorFile:
    _check_fetched(path)
    if path.name.endswith(SAFETENSORS):
        return SafetensorsFile(path)
    if path.name.endswith(PICKLED):
        return TorchFile(path)
    raise refused(path, f"is no checkpoint: its name must end in {', '.join(SUFFIXES)}")


def _check_fetched(path: Path) -> None:
    """Refuse the note that Git LFS leaves where a large file has not been fetched."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return
        with open(path, "rb") as file:
            start = file.read(len(_LFS))
    except OSError as error:
        raise unreadable(path, error) from error
    if start == _LFS:
        raise refused(path, "is not the checkpoint but Git LFS's note of it: fetch it with `git lfs pull`")


def _shards(index: Path) -> Mapping[str, list[str]]:
    """Return the names of the tensors in each shard, by the shard's file name."""
    weights = _weight_map(index)
    shards: dict[str, list[str]] = {}
    for name, file in weights.items():
        if not isinstance(file, str) or not _is_plain_name(file):
            raise refused(
                index, f"is not to be trusted: {str(file)[:80]!r} is no name of a file that lies beside it"
            )
        shards.setdefault(file, []).append(name)
    return shards


def _is_plain_name(name: str) -> bool:
    return name.endswith(SUFFIXES) and not set(name) & set("/\\:\0") and not name.startswith(".")


def _weight_map(index: Path) -> Mapping[str, object]:
    try:
        if index.stat().st_size > MAX_INDEX_BYTES:
            raise refused(index, f"is longer than {MAX_INDEX_BYTES:,} bytes: that is no index")
        document = json.loads(index.read_bytes())
    except OSError as error:
        raise unreadable(index, error) from error
    except (ValueError, RecursionError) as error:
        raise refused(index, "is no index: it is no JSON") from error
    weights = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weights, dict) or not weights:
        raise refused(index, 'is no index: it has no "weight_map" of tensors to files')
    return weights
