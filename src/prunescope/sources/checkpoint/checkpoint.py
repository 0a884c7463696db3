"""A checkpoint as the explorer sees it: tensors by name, read when they are shown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.core.tensor import PrunableTensor
from prunescope.sources.checkpoint.formats import suffix_of
from prunescope.sources.checkpoint.kinds import likely_kind
from prunescope.sources.checkpoint.layout import Layout, open_files, repository_of
from prunescope.sources.checkpoint.numbers import Reading, as_numbers, reading, spread
from prunescope.sources.checkpoint.roles import Neighbours
from prunescope.sources.checkpoint.stored import DTYPES, StoredTensor, TensorFile, Zeroes, refused
from prunescope.sources.checkpoint.stream import FileEntry
from prunescope.sources.checkpoint.write import save_pruned

LONGEST_NAME = 256
"""Longest name of a tensor, in characters: longer ones are not real names, and slow to display."""


@dataclass(frozen=True, eq=False)
class Unread:
    """The values of one tensor of a checkpoint, read on demand.

    Attributes:
        checkpoint: The checkpoint that holds them.
        name: The tensor's name.
        shape: The tensor's shape.
    """

    checkpoint: Checkpoint
    name: str
    shape: tuple[int, ...]

    def read(self) -> Tensor:
        """Read the values; see `Checkpoint.read`."""
        return self.checkpoint.read(self.name)


class Checkpoint:
    """The tensors of one or more files, explored by name.

    Args:
        path: The path that was opened.
        layout: Its files.

    Attributes:
        path: The path that was opened.
        index: The index of the shards, or None for a single file.
        parts: The files, opened.
        files: Their paths.
        tensors: What can be pruned, by full name without ``_orig``: matrices and kernels first, then vectors.
        not_prunable: Why each of the other tensors cannot be pruned, by name.
        parameters: Number of parameters in the prunable tensors.

    Raises:
        RequestError: An index names a missing tensor, or nothing can be pruned.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.index = layout.index
        self.parts = [file for file, _ in layout.files]
        self.files = [file.path for file in self.parts]
        self._file_of: dict[str, TensorFile] = {}
        for file, names in layout.files:
            if names is not None and not names <= file.tensors.keys():
                missing = min(names - file.tensors.keys())
                raise refused(path, f"says that {missing!r} is in {file.path.name}, which has no such tensor")
            self._file_of.update(dict.fromkeys(file.tensors if names is None else names, file))
        stored = {name: file.tensors[name] for name, file in self._file_of.items()}
        near = Neighbours(stored)
        self._readings = {name: _reading(each, near, layout.block) for name, each in stored.items()}
        self._last: tuple[str, Tensor] | None = None
        self._masks = {name: f"{name[: -len('_orig')]}_mask" for name in stored if _is_pruned(name, stored)}
        shapes = {_plain(name, self._masks): each.shape for name, each in stored.items()}
        masks = set(self._masks.values())
        self.not_prunable = {
            name: each.problem for name, each in self._readings.items() if each.problem and name not in masks
        }
        prunable = [name for name in stored if name not in self.not_prunable and name not in masks]
        prunable.sort(key=lambda name: (len(stored[name].shape) < 2, _natural(name)))
        self._stored_name = {_plain(name, self._masks): name for name in prunable}
        self.tensors = {
            plain: self._tensor(plain, stored[name], self._readings[name], shapes)
            for plain, name in self._stored_name.items()
        }
        self._pruned = {plain for plain, name in self._stored_name.items() if name in self._masks}
        self._unread_masks = set(self._pruned)
        self.parameters = sum(math.prod(tensor.shape) for tensor in self.tensors.values())
        if not self.tensors:
            raise refused(path, f"has nothing to prune: none of its {len(stored)} tensors holds weights")

    def _tensor(
        self, plain: str, stored: StoredTensor, read: Reading, shapes: Mapping[str, tuple[int, ...]]
    ) -> PrunableTensor:
        kind = likely_kind(plain, shapes)
        data = Unread(self, plain, stored.shape)
        return PrunableTensor(plain, kind.name, data, kind.axes, detail=read.detail)

    @property
    def title(self) -> str:
        """Return its title in the list of models: the name of what was opened."""
        name = self.path.name or self.path.resolve().name
        return repository_of(self.path) or name

    @property
    def suffix(self) -> str:
        """Return the file name ending, such as ``".safetensors"``."""
        return suffix_of(self.files[0].name)

    @property
    def note(self) -> str:
        """Return a note on the checkpoint."""
        count = f"{len(self.tensors):,} tensors, {self.parameters:,} weights"
        guess = "Kinds of layer are guessed from names and shapes."
        own = " Model sparsity counts the pruning of tensors looked at so far." if self._masks else ""
        return f"A checkpoint: {count}, read one at a time. {guess}{own}"

    def read(self, name: str) -> Tensor:
        """Read the tensor ``name``, which stays in memory until another one is read.

        Raises:
            RequestError: Its file has changed, is damaged, or cannot be read.
        """
        if self._last is None or self._last[0] != name:
            self._last = None  # Free the old one before the new one takes memory.
            self._last = (name, self._numbers(self._stored_name[name]))
        return self._last[1]

    def _numbers(self, name: str) -> Tensor:
        how, file = self._readings[name], self._file_of[name]
        affine = file.tensors[name].affine
        if affine is not None:
            return as_numbers(file.read(name), affine.scale, affine.zero_point)
        scale, point = self._companion(how.scale), self._companion(how.zero_point)
        scale = None if scale is None else scale.to(torch.float32) * how.factor
        return as_numbers(file.read(name), scale, point, how.block)

    def _companion(self, name: str | None) -> Tensor | None:
        return None if name is None else self._file_of[name].read(name)

    largest_pool: int | None = 1 << 27
    """Most weights that may be ranked together: about two gigabytes of memory."""

    def current(self, layer: object) -> PrunableTensor:
        """Return the tensor that ``layer`` names, with the mask its file holds for it, which is read once.

        Raises:
            RequestError: ``layer`` names nothing that can be pruned, or its file cannot be read.
        """
        tensor = self.find(layer)
        if tensor.name in self._unread_masks:
            tensor = replace(tensor, default_mask=self.own_mask(tensor.name))
            self.tensors[tensor.name] = tensor
            self._unread_masks.remove(tensor.name)
        return tensor

    def state(self, name: str) -> object:
        """Return the state of the tensor ``name``: constant, since a file that changes is refused."""
        return None

    def own_masks(self) -> Mapping[str, Tensor]:
        """Return the stored masks of the tensors shown so far."""
        looked_at = {name: self.tensors[name].default_mask for name in self._pruned - self._unread_masks}
        return {name: mask for name, mask in looked_at.items() if mask is not None}

    def state_of_all(self) -> tuple[object, ...]:
        """Return the state of the checkpoint: constant."""
        return ()

    def own_mask(self, name: str) -> Tensor | None:
        """Return the mask that torch's or our pruning stored beside the tensor ``name``, True where kept.

        Raises:
            RequestError: Its file has changed, is damaged, or cannot be read.
        """
        mask = self._masks.get(self._stored_name[name])
        if mask is None:
            return None
        kept = self._file_of[mask].read(mask) != 0
        return None if bool(kept.all()) else kept

    def find(self, layer: object) -> PrunableTensor:
        """Return the tensor that ``layer`` names: in full, or without ``.weight``.

        Raises:
            RequestError: There is no such tensor, or it is not prunable; the sentence says why.
        """
        for name in (layer, f"{layer}.weight"):
            if isinstance(name, str) and name in self.tensors:
                return self.tensors[name]
        some = ", ".join(list(self.tensors)[:4]) + (", …" if len(self.tensors) > 4 else "")
        if isinstance(layer, str) and layer in self.not_prunable:
            why = f"{layer} {self.not_prunable[layer]}"
        else:
            why = f"the checkpoint has no tensor named {layer!r}"
        raise RequestError("layer", f"`layer` must be one of {some}: {why}.")

    @property
    def pruned(self) -> Set[str]:
        """Return the full names, without ``_orig``, of the tensors that the files hold a mask for."""
        return self._pruned

    def entries(self, masks: Mapping[str, Tensor] | None = None) -> dict[str, FileEntry]:
        """Return every tensor of the files as it is stored, by full name without ``_orig`` and without masks.

        Args:
            masks: Boolean masks by full name without ``_orig``, True where kept; their tensors have zeros
                elsewhere.

        Raises:
            RequestError: A safetensors file cannot hold one of them.
        """
        zeroes = {name: put for part in self.zeroes(masks or {}).values() for name, put in part.items()}
        of_masks = set(self._masks.values())
        entries = {}
        for name, file in self._file_of.items():
            stored = file.tensors[name]
            if name in of_masks:
                continue
            if stored.dtype is None or stored.dtype not in DTYPES.values():
                raise refused(self.path, f"holds {name} as {stored.dtype_name}, which is not measured")
            if stored.repeated:
                raise refused(self.path, f"holds {name} as an expanded tensor, which is not measured")
            plain = _plain(name, self._masks)
            read = partial(_stored_numbers, file, name, zeroes.get(name))
            entries[plain] = FileEntry(plain, stored.shape, stored.dtype, read)
        return entries

    @property
    def unfolded(self) -> int:
        """Return how many bytes all tensors take in memory, as stored; views count as tensors."""
        known = [file.tensors[name] for name, file in self._file_of.items()]
        return sum(math.prod(each.shape) * each.dtype.itemsize for each in known if each.dtype is not None)

    def values(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each prunable tensor with its name, one by one, zero where the files hold a mask."""
        for name in list(self.tensors):
            yield name, self.current(name).effective

    def save_copy(
        self, masks: Mapping[str, Tensor], path: str | PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Write a pruned copy; see `prunescope.sources.checkpoint.write.save_pruned`."""
        return save_pruned(self, masks, path, overwrite=overwrite)

    def zeroes(self, masks: Mapping[str, Tensor]) -> Mapping[TensorFile, Mapping[str, Zeroes]]:
        """Return what to set to zero in each file, by the names in the files.

        Args:
            masks: Boolean masks by full name without ``_orig``, True where kept.
        """
        parts: dict[TensorFile, dict[str, Zeroes]] = {file: {} for file in self.parts}
        for plain, mask in masks.items():
            name = self._stored_name[plain]
            parts[self._file_of[name]][name] = Zeroes(mask, self._zero(name))
            if name in self._masks:
                kept = self._masks[name]
                parts[self._file_of[kept]][kept] = Zeroes(mask)
        return parts

    def _zero(self, name: str) -> Tensor:
        """Return what is stored for a zero of the tensor ``name``; broadcasts to its shape."""
        stored, how = self._file_of[name].tensors[name], self._readings[name]
        point = self._companion(how.zero_point)
        if stored.affine is not None:
            point = stored.affine.zero_point
        return torch.zeros(()) if point is None else spread(point, stored.shape, how.block)


def _reading(stored: StoredTensor, near: Neighbours, block: tuple[int, ...]) -> Reading:
    if len(stored.name) > LONGEST_NAME:
        return Reading(f"has a name of {len(stored.name):,} letters, and at most {LONGEST_NAME} are shown")
    return reading(stored, near, block)


def _stored_numbers(file: TensorFile, name: str, zeroes: Zeroes | None) -> Tensor:
    numbers = file.read(name)
    return numbers if zeroes is None else zeroes.put(numbers)


def _is_pruned(name: str, stored: Mapping[str, StoredTensor]) -> bool:
    mask = stored.get(f"{name.removesuffix('_orig')}_mask")
    plain = name.removesuffix("_orig")
    return name != plain and plain not in stored and mask is not None and mask.shape == stored[name].shape


def _plain(name: str, masks: Mapping[str, str]) -> str:
    return name.removesuffix("_orig") if name in masks else name


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that puts ``layers.2`` before ``layers.10``."""
    return [(len(part), part) if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def open_checkpoint(path: str | PathLike[str], *, within: Path | None = None) -> Checkpoint:
    """Open the checkpoint at ``path``; no code in it is run, and no tensor is read.

    Args:
        path: A file with an ending in `FORMATS`, an index of shards, or a folder that holds them under the
            names that model hubs use.
        within: A folder that all files must lie in, links followed; None allows any place.

    Raises:
        RequestError: There is no checkpoint, or it is not safe or readable; the sentence says why.

    Example:
        >>> open_checkpoint("nowhere.pt")
        Traceback (most recent call last):
        prunescope.core.errors.RequestError: `model` nowhere.pt cannot be opened: No such file or directory.
    """
    try:
        where = Path(path).expanduser()
    except (RuntimeError, ValueError) as error:  # There is no such home, or can be none.
        raise RequestError("model", f"`model` {path!r} cannot be opened: no such file.") from error
    return Checkpoint(where, open_files(where, within))
