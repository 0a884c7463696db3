"""Serialise tensors as a safetensors file in pieces, byte for byte as the library would.

The library serialises the whole file at once. In pieces, a file can be measured or compressed while only one
of its tensors is in memory twice.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.sources.checkpoint.stored import DTYPES

_WIDEST_FIRST = (
    *("U64", "I64", "F64", "C64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16"),
    *("F8_E5M2FNUZ", "F8_E4M3FNUZ", "F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"),
)
"""The order in which the library stores dtypes, so that each tensor is aligned; within a dtype, by name."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, eq=False)
class FileEntry:
    """One tensor of a file.

    Attributes:
        name: Its name.
        shape: Its shape.
        dtype: The type of its numbers.
        numbers: Makes the tensor when its bytes are needed.
        layout: Its memory layout: ``"strided"``, or one that safetensors cannot hold.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    numbers: Callable[[], Tensor]
    layout: str = "strided"

    @property
    def bytes(self) -> int:
        """Return its size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def file_size(entries: Iterable[FileEntry]) -> int:
    """Return the size in bytes of a safetensors file of ``entries``, without making the tensors.

    Example:
        >>> file_size([FileEntry("w", (2, 3), torch.float32, lambda: torch.zeros(2, 3))])
        120
    """
    ordered = _ordered(entries)
    return len(_header(ordered)) + sum(entry.bytes for entry in ordered)


def file_parts(entries: Iterable[FileEntry]) -> Iterator[memoryview]:
    """Yield the bytes of a safetensors file of ``entries``: its header, then one tensor after the other.

    The file is to the byte what ``safetensors.torch.save(tensors, {"format": "pt"})`` makes.
    """
    ordered = _ordered(entries)
    yield memoryview(_header(ordered))
    for entry in ordered:
        flat = entry.numbers().detach().cpu().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().data


def _ordered(entries: Iterable[FileEntry]) -> list[FileEntry]:
    entries = list(entries)
    for entry in entries:
        check_held(entry.name, entry.dtype, entry.layout)
    return sorted(entries, key=lambda entry: (_WIDEST_FIRST.index(_NAMES[entry.dtype]), entry.name))


def check_held(name: str, dtype: torch.dtype, layout: str) -> None:
    """Check that a safetensors file can hold a tensor.

    Raises:
        RequestError: It is sparse, nested, or of a type that the format does not have.

    Example:
        >>> check_held("x", torch.complex128, "strided")
        Traceback (most recent call last):
        prunescope.core.errors.RequestError: `model` holds x as complex128, which safetensors cannot hold.
    """
    if layout != "strided" or dtype not in _NAMES:
        kind = str(dtype).removeprefix("torch.") if layout == "strided" else f"a {layout} tensor"
        raise RequestError("model", f"`model` holds {name} as {kind}, which safetensors cannot hold.")


def _header(ordered: list[FileEntry]) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for entry in ordered:
        start, end = end, end + entry.bytes
        header[entry.name] = {
            "dtype": _NAMES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    padded = text + b" " * (-len(text) % 8)
    return struct.pack("<Q", len(padded)) + padded
