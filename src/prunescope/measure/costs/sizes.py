"""Size of the model's file: original, with masks, after ``remove``, and compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from prunescope.sources import FileEntry, Weights, file_parts

CHUNK = 1 << 18
"""Bytes compressed at a time: about ten milliseconds of work."""

LEVEL = 6
"""Compression level of zlib: its default, which gzip and zip use too."""


def dense_file(weights: Weights) -> list[FileEntry]:
    """Return the entries of the model's file without any pruning.

    Raises:
        RequestError: A tensor of a checkpoint is stored as a safetensors file cannot hold it.
    """
    return list(weights.entries().values())


def masked_file(weights: Weights, masks: Mapping[str, Tensor]) -> list[FileEntry]:
    """Return the entries of a file with masks: ``_orig`` and ``_mask``.

    Args:
        weights: The model's weights.
        masks: Boolean masks by full name without ``_orig``, True where kept, of all that is pruned.
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


def permanent_file(weights: Weights, masks: Mapping[str, Tensor]) -> list[FileEntry]:
    """Return the entries of a file after ``remove``: names without ``_orig``, zeros where pruned.

    Args:
        weights: The model's weights.
        masks: Boolean masks by full name without ``_orig``, True where kept, of all that is pruned.
    """
    return list(weights.entries(masks).values())


def compress(entries: Iterable[FileEntry]) -> Iterator[int]:
    """Yield the compressed bytes of a safetensors file so far; the last value is the compressed size.

    Args:
        entries: The file's entries; it is written and compressed in pieces of `CHUNK` bytes.
    """
    packer = zlib.compressobj(LEVEL)
    size = 0
    for part in file_parts(entries):
        for start in range(0, len(part), CHUNK):
            size += len(packer.compress(part[start : start + CHUNK]))
            yield size
    yield size + len(packer.flush())


def _as_mask(mask: Tensor | None, entry: FileEntry) -> Tensor:
    return (torch.ones(entry.shape) if mask is None else mask).to(entry.dtype)
