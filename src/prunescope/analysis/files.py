"""How large the file of a model is: as it was given, with masks, after ``remove``, and compressed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from prunescope.sources import Entry, file_parts

CHUNK = 1 << 18
"""Bytes that are compressed at a time: some ten milliseconds of work."""

LEVEL = 6
"""How hard zlib tries: its own default, which gzip and zip use too."""


def dense_file(model: nn.Module) -> list[Entry]:
    """Return what a file of ``model`` holds without any pruning: no masks, no zeros that pruning put there.

    Args:
        model: Any module, pruned or not. Read, never written.
    """
    return [_entry(name, value) for name, value in _plain_state(model)[0].items()]


def masked_file(model: nn.Module, masks: Mapping[str, Tensor]) -> list[Entry]:
    """Return what a file of ``model`` holds while pruning is in place: ``_orig`` and ``_mask``.

    Args:
        model: Any module, pruned or not. Read, never written.
        masks: Boolean masks by plain name, True where kept, of all that is pruned.
    """
    plain, own = _plain_state(model)
    entries = []
    for name, value in plain.items():
        if name not in masks and name not in own:
            entries.append(_entry(name, value))
            continue
        entries.append(_entry(f"{name}_orig", value))
        entries.append(_entry(f"{name}_mask", value, _mask_maker(masks.get(name), value)))
    return entries


def permanent_file(model: nn.Module, masks: Mapping[str, Tensor]) -> list[Entry]:
    """Return what a file of ``model`` holds after ``remove``: plain names, zeros where pruned.

    Args:
        model: Any module, pruned or not. Read, never written.
        masks: Boolean masks by plain name, True where kept, of all that is pruned.
    """
    plain = _plain_state(model)[0]
    # A tied weight that is made permanent has its zeros wherever it is used.
    of_memory = {_memory(plain[name]): mask for name, mask in masks.items()}
    return [
        _entry(name, value, _zero_maker(of_memory.get(_memory(value)), value))
        for name, value in plain.items()
    ]


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


def _plain_state(model: nn.Module) -> tuple[dict[str, Tensor], set[str]]:
    """Return the model's state under plain names, without masks; and the names it carries a mask for."""
    state = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    own = {
        name.removesuffix("_orig")
        for name in state
        if name.endswith("_orig") and f"{name.removesuffix('_orig')}_mask" in state
    }
    masks = {f"{name}_mask" for name in own}
    plain = {
        name.removesuffix("_orig") if name.removesuffix("_orig") in own else name: value
        for name, value in state.items()
        if name not in masks
    }
    return plain, own


def _memory(value: Tensor) -> tuple[int, torch.Size]:
    return value.data_ptr(), value.shape


def _entry(name: str, value: Tensor, numbers: Callable[[], Tensor] | None = None) -> Entry:
    return Entry(name, tuple(value.shape), value.dtype, numbers or (lambda: value))


def _mask_maker(mask: Tensor | None, value: Tensor) -> Callable[[], Tensor]:
    return lambda: torch.ones_like(value) if mask is None else mask.to(value.dtype)


def _zero_maker(mask: Tensor | None, value: Tensor) -> Callable[[], Tensor]:
    return lambda: value if mask is None else torch.where(mask.to(value.device), value, 0)
