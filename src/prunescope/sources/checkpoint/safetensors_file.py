"""A safetensors file: read with the library, written tensor by tensor in the documented format.

The library's own writer needs every tensor in memory. The format is eight bytes with the header's length, the
header as JSON, and the data: https://huggingface.co/docs/safetensors#format
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from prunescope.sources.checkpoint.stored import (
    DTYPES,
    ChangedFile,
    StoredTensor,
    Zeroes,
    read_bytes,
    refused,
    unreadable,
)

MAX_HEADER_BYTES = 1 << 25
"""Longest header that is read: some 300,000 tensors; the library itself would read 100 MB."""

_COPY_BYTES = 1 << 22


class SafetensorsFile:
    """One safetensors file.

    Args:
        path: Its path.

    Attributes:
        path: Its path.
        tensors: Its tensors, by name.
        metadata: The metadata its author stored.

    Raises:
        RequestError: It is not a safetensors file, is damaged, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unchanged = ChangedFile(path)
        self._check_header()
        try:
            with safe_open(path, framework="pt") as file:
                self.metadata: Mapping[str, str] = dict(file.metadata() or {})
                self.tensors: Mapping[str, StoredTensor] = {
                    name: _described(name, file.get_slice(name))
                    for name in file.keys()  # noqa: SIM118
                }
        except OSError as error:
            raise unreadable(path, error) from error
        except (SafetensorError, ValueError) as error:
            raise _damaged(path, error) from error

    def _check_header(self) -> None:
        """Check the header's length first: the library would allocate all of it."""
        size = self._header_size()
        if size > MAX_HEADER_BYTES:
            raise refused(
                self.path,
                f"is not a safetensors file, or not a safe one: its header would be {size:,} bytes long, "
                f"and the longest that is read is {MAX_HEADER_BYTES:,}",
            )

    def _header_size(self) -> int:
        try:
            with open(self.path, "rb") as file:
                start = file.read(8)
        except OSError as error:
            raise unreadable(self.path, error) from error
        if len(start) < 8:
            raise refused(self.path, "is not a safetensors file: it ends before its header")
        return int(struct.unpack("<Q", start)[0])

    def read(self, name: str) -> Tensor:
        """Read the tensor ``name`` as stored, in its own memory.

        Raises:
            RequestError: The file has changed since it was opened, or cannot be read.
        """
        stored, (start, end) = self.tensors[name], self._offsets[name]
        assert stored.dtype is not None
        if end - start != math.prod(stored.shape) * stored.dtype.itemsize:
            raise refused(self.path, f"is damaged: the size of {name[:80]!r} does not match its shape")
        with self._unchanged:
            data = read_bytes(self.path, 8 + self._header_size() + start, end - start)
        return data.view(stored.dtype).reshape(stored.shape)

    @cached_property
    def _offsets(self) -> Mapping[str, tuple[int, int]]:
        """Return where each tensor starts and ends, counted from the end of the header.

        The library does not give offsets, and maps the file to read: the mapped pages would count as memory
            twice.
        """
        with self._unchanged, open(self.path, "rb") as file:
            header = json.loads(file.read(8 + self._header_size())[8:])
        return {
            name: tuple(entry["data_offsets"]) for name, entry in header.items() if name != "__metadata__"
        }

    def write_copy(self, out: BinaryIO, zeroed: Mapping[str, Zeroes]) -> None:
        """Write a copy of the file with zeros in some tensors; the header and all other bytes stay the same.

        Args:
            out: Where to write, opened for binary writing.
            zeroed: Where to put zeros, by tensor name.

        Raises:
            OSError: It could not be written.
            RequestError: The file has changed since it was opened.
        """
        with self._unchanged, open(self.path, "rb") as file:
            length = self._header_size()
            head = file.read(8 + length)
            out.write(head)
            for name, (start, end) in sorted(self._offsets.items(), key=itemgetter(1)):
                if name in zeroed:
                    out.write(_bytes_of(zeroed[name].put(self.read(name))))
                else:
                    file.seek(8 + length + start)
                    copy_bytes(file, out, end - start)


def copy_bytes(file: BinaryIO, out: BinaryIO, count: int) -> None:
    """Copy ``count`` bytes from where ``file`` is, a few megabytes at a time."""
    while count:
        part = file.read(min(count, _COPY_BYTES))
        if not part:
            raise OSError("the file ended early")
        out.write(part)
        count -= len(part)


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _described(name: str, stored: Any) -> StoredTensor:
    dtype = DTYPES.get(stored.get_dtype())
    known = stored.get_dtype() if dtype is None else str(dtype).removeprefix("torch.")
    return StoredTensor(name, tuple(stored.get_shape()), dtype, known)


def _damaged(path: Path, error: Exception) -> Exception:
    reason = str(error).removeprefix("Error while deserializing header: ").strip().rstrip(".")
    return refused(path, f"is not a safetensors file, or a damaged one: {reason[:200]}")
