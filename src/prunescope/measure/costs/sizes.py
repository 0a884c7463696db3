"""How large the file of a model is: as it was given, with masks, after ``remove``, and compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from prunescope.sources import Entry, Weights, file_parts

CHUNK = 1 << 18
"""Bytes that are compressed at a time: some ten milliseconds of work."""

LEVEL = 6
"""How hard zlib tries: its own default, which gzip and zip use too."""


def dense_file(weights: Weights) -> list[Entry]:
    """Return what a file of the model holds without any pruning.

    Raises:
        RequestError: A tensor of a checkpoint is stored as a safetensors file cannot hold it.
    """
    return list(weights.entries().values())


def masked_file(weights: Weights, masks: Mapping[str, Tensor]) -> list[Entry]:
    """Return what a file holds while pruning is in place: ``_orig`` and ``_mask``.

    Args:
        weights: The model's weights.
        masks: Boolean masks by plain name, True where kept, of all that is pruned.
    """
    entries = []
    for name, entry in weights.entries().items():
        if name not in masks and name not in weights.pruned:
            entries.append(entry)
            continue
        entries.append(replace(entry, name=f"{name}_orig"))
        mask = partial(_as_mask, masks.get(name), entry)
        entries.append(replace(entry, name=f"{name}_mask", numbers=mask))
    return entries


def permanent_file(weights: Weights, masks: Mapping[str, Tensor]) -> list[Entry]:
    """Return what a file holds after ``remove``: plain names, zeros where pruned.

    Args:
        weights: The model's weights.
        masks: Boolean masks by plain name, True where kept, of all that is pruned.
    """
    return list(weights.entries(masks).values())


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


def _as_mask(mask: Tensor | None, entry: Entry) -> Tensor:
    return (torch.ones(entry.shape) if mask is None else mask).to(entry.dtype)
