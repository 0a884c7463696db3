"""How large the file of a model is: as it was given, with masks, after ``remove``, and compressed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from prunescope.prune.product import where_kept
from prunescope.sources import Checkpoint, Entry, file_parts, is_plain, layout_of, memory_of

CHUNK = 1 << 18
"""Bytes that are compressed at a time: some ten milliseconds of work."""

LEVEL = 6
"""How hard zlib tries: its own default, which gzip and zip use too."""


@dataclass(frozen=True, eq=False)
class State:
    """All that a file of a model holds, under plain names and without masks.

    Attributes:
        entries: The tensors by name, without zeros of pruning.
        own: Names of those that the model carries a mask for.
        pruned: Makes the entries with zeros where masks, given by name, are False.
    """

    entries: Mapping[str, Entry]
    own: frozenset[str]
    pruned: Callable[[Mapping[str, Tensor]], Mapping[str, Entry]]


def state_of(model: nn.Module | Checkpoint) -> State:
    """Return what a file of ``model`` holds; it is read, never written.

    Raises:
        RequestError: A tensor of a checkpoint is stored as a safetensors file cannot hold it.
    """
    if isinstance(model, Checkpoint):
        return State(model.entries(), frozenset(model.pruned), model.entries)
    state = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    own = frozenset(
        name.removesuffix("_orig")
        for name in state
        if name.endswith("_orig") and f"{name.removesuffix('_orig')}_mask" in state
    )
    plain = {
        name.removesuffix("_orig") if name.removesuffix("_orig") in own else name: value
        for name, value in state.items()
        if not (name.endswith("_mask") and name.removesuffix("_mask") in own)
    }
    return State(_entries(plain, {}), own, partial(_entries, plain))


def _entries(plain: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Entry]:
    # A tied weight that is made permanent has its zeros wherever it is used.
    of_memory = {_memory(plain[name]): mask for name, mask in masks.items()}
    return {
        name: Entry(
            name,
            () if value.is_nested else tuple(value.shape),
            value.dtype,
            partial(_with_zeros, value, of_memory.get(_memory(value))),
            layout_of(value),
        )
        for name, value in plain.items()
    }


def dense_file(state: State) -> list[Entry]:
    """Return what a file holds without any pruning."""
    return list(state.entries.values())


def masked_file(state: State, masks: Mapping[str, Tensor]) -> list[Entry]:
    """Return what a file holds while pruning is in place: ``_orig`` and ``_mask``.

    Args:
        state: The model's state.
        masks: Boolean masks by plain name, True where kept, of all that is pruned.
    """
    entries = []
    for name, entry in state.entries.items():
        if name not in masks and name not in state.own:
            entries.append(entry)
            continue
        entries.append(replace(entry, name=f"{name}_orig"))
        mask = partial(_as_mask, masks.get(name), entry)
        entries.append(replace(entry, name=f"{name}_mask", numbers=mask))
    return entries


def permanent_file(state: State, masks: Mapping[str, Tensor]) -> list[Entry]:
    """Return what a file holds after ``remove``: plain names, zeros where pruned.

    Args:
        state: The model's state.
        masks: Boolean masks by plain name, True where kept, of all that is pruned.
    """
    return list(state.pruned(masks).values())


def compress(entries: Iterable[Entry]) -> Iterator[int]:
    """Yield how many bytes zlib has made of a safetensors file so far; the last one is the compressed file's.

    Args:
        entries: What the file holds; it is made and compressed in pieces of `CHUNK` bytes.
    """
    packer = zlib.compressobj(LEVEL)
    size = 0
    for part in file_parts(entries):
        for start in range(0, len(part), CHUNK):
            size += len(packer.compress(part[start : start + CHUNK]))
            yield size
    yield size + len(packer.flush())


def _memory(value: Tensor) -> object:
    return (memory_of(value), value.shape) if is_plain(value) else id(value)


def _with_zeros(value: Tensor, mask: Tensor | None) -> Tensor:
    return value if mask is None else where_kept(mask.to(value.device), value)


def _as_mask(mask: Tensor | None, entry: Entry) -> Tensor:
    return (torch.ones(entry.shape) if mask is None else mask).to(entry.dtype)
