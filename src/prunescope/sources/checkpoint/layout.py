"""The files of a checkpoint: one file, the shards of an index, or a folder as model hubs lay it out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prunescope.core.errors import RequestError
from prunescope.sources.checkpoint.formats import FORMATS, suffix_of
from prunescope.sources.checkpoint.stored import TensorFile, refused, unreadable

_LFS = b"version https://git-lfs.github.com/spec/"

INDEX = ".index.json"
MAX_INDEX_BYTES = 1 << 26
MAX_CONFIG_BYTES = 1 << 20

_USUAL = (
    "model.safetensors.index.json",
    "model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
"""File names that hubs use for weights, best first."""


@dataclass(frozen=True)
class Layout:
    """The files of a checkpoint.

    Attributes:
        index: The index of the shards, or None for a single file.
        files: The files, each with the tensor names to take from it; None takes all.
        block: How many rows and columns of float8 share a scale, from the configuration beside the files;
            empty if not given.
    """

    index: Path | None
    files: list[tuple[TensorFile, frozenset[str] | None]]
    block: tuple[int, ...] = ()


def open_files(path: Path, within: Path | None = None) -> Layout:
    """Open the files of a checkpoint.

    Args:
        path: A checkpoint file, an index, or a folder.
        within: A folder that every file must lie in, links followed; None allows any place.

    Raises:
        RequestError: There is no checkpoint, or it is not safe or readable.
    """
    path = _allowed(path, within)
    if path.is_dir():
        path = _allowed(_in_folder(path), within)
    if path.name.endswith(INDEX):
        shards = _shards(path)
        files = [(_allowed(path.parent / file, within), frozenset(names)) for file, names in shards.items()]
        return Layout(path, [(_open(file), names) for file, names in files], _block(path.parent, within))
    return Layout(None, [(_open(path), None)], _block(path.parent, within))


def repository_of(path: Path) -> str:
    """Return the model's name if the folder ``path`` is a snapshot in a hub's cache, or "".

    Example:
        >>> repository_of(Path("hub/models--me--tiny/snapshots/42f5c1"))
        'me/tiny'
    """
    start, name = "models--", path.parent.parent.name
    of_cache = path.parent.name == "snapshots" and name.startswith(start)
    return name.removeprefix(start).replace("--", "/") if of_cache else ""


def _block(folder: Path, within: Path | None) -> tuple[int, ...]:
    """Return the ``weight_block_size`` of the configuration beside the files, or ()."""
    try:
        config = _allowed(folder / "config.json", within)
        if config.stat().st_size > MAX_CONFIG_BYTES:
            return ()
        block = json.loads(config.read_bytes())["quantization_config"]["weight_block_size"]
    except (RequestError, OSError, ValueError, RecursionError, KeyError, TypeError):
        return ()
    sizes = block if isinstance(block, list) and len(block) == 2 else ()
    return tuple(sizes) if all(type(size) is int and size > 0 for size in sizes) else ()


def offered(folder: Path) -> list[Path]:
    """Return what can be opened in ``folder``: its checkpoint files, and its folders that hold one.

    A file that is one of several shards is not listed; its index is. Nor is a link that leads out of the
    folder, for it could not be opened.

    Raises:
        RequestError: ``folder`` is not a folder that can be read.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise RequestError("models", f"`models` {folder} cannot be read: {error.strerror}.") from error
    found = [entry for entry in entries if _is_offer(entry) and _leads_not_out(entry, folder)]
    shards = {name for entry in found if entry.name.endswith(INDEX) for name in _shard_names(entry)}
    return [entry for entry in found if entry.name not in shards]


def _leads_not_out(path: Path, folder: Path) -> bool:
    try:
        _allowed(path, folder)
    except RequestError:
        return False
    return True


def _is_offer(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return any(child.name.endswith((*FORMATS, *_indexes())) for child in _children(path))
    return path.is_file() and path.name.endswith((*FORMATS, *_indexes()))


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _indexes() -> tuple[str, ...]:
    return tuple(suffix + INDEX for suffix in FORMATS)


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
    if within is not None and not any(real.is_relative_to(each) for each in _allowed_folders(within)):
        raise refused(path, "lies outside the folder of models served here")
    return path


def _allowed_folders(within: Path) -> tuple[Path, ...]:
    """Return ``within``, plus the targets of its links if it is a snapshot in a hub's cache."""
    folder = within.resolve()
    blobs = folder.parent.parent / "blobs"
    return (folder, blobs) if folder.parent.name == "snapshots" else (folder,)


def _in_folder(folder: Path) -> Path:
    try:
        there = {entry.name: entry for entry in folder.iterdir()}
    except OSError as error:
        raise unreadable(folder, error) from error
    for name in _USUAL:
        if name in there:
            return there[name]
    for suffixes in _in_order():
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
    raise refused(folder, f"holds no checkpoint: no file there ends in {', '.join(FORMATS)}")


def _in_order() -> list[tuple[str, ...]]:
    """Return the endings of checkpoint names in order of preference: by format, an index first."""
    openers = dict.fromkeys(FORMATS.values())
    formats = [tuple(suffix for suffix in FORMATS if FORMATS[suffix] is each) for each in openers]
    return [each for suffixes in formats for each in (tuple(s + INDEX for s in suffixes), suffixes)]


def _open(path: Path) -> TensorFile:
    _check_fetched(path)
    suffix = suffix_of(path.name)
    if not suffix:
        raise refused(path, f"is not a checkpoint: its name must end in {', '.join(FORMATS)}")
    return FORMATS[suffix](path)


def _check_fetched(path: Path) -> None:
    """Refuse a Git LFS pointer, left where a large file has not been fetched."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return
        with open(path, "rb") as file:
            start = file.read(len(_LFS))
    except OSError as error:
        raise unreadable(path, error) from error
    if start == _LFS:
        raise refused(path, "is only a Git LFS pointer to the checkpoint: fetch it with `git lfs pull`")


def _shards(index: Path) -> Mapping[str, list[str]]:
    """Return the names of the tensors in each shard, by the shard's file name."""
    weights = _weight_map(index)
    shards: dict[str, list[str]] = {}
    for name, file in weights.items():
        if not isinstance(file, str) or not _is_plain_name(file):
            raise refused(index, f"is not safe: {str(file)[:80]!r} is not the name of a file beside it")
        shards.setdefault(file, []).append(name)
    return shards


def _is_plain_name(name: str) -> bool:
    return bool(suffix_of(name)) and not set(name) & set("/\\:\0") and not name.startswith(".")


def _weight_map(index: Path) -> Mapping[str, object]:
    try:
        if index.stat().st_size > MAX_INDEX_BYTES:
            raise refused(index, f"is longer than {MAX_INDEX_BYTES:,} bytes, too long for an index")
        document = json.loads(index.read_bytes())
    except OSError as error:
        raise unreadable(index, error) from error
    except (ValueError, RecursionError) as error:
        raise refused(index, "is not an index: it is not JSON") from error
    weights = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weights, dict) or not weights:
        raise refused(index, 'is not an index: it has no "weight_map" of tensors to files')
    return weights
