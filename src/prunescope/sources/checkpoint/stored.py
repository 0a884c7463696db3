"""One tensor in a file, and what a file of tensors can do, whatever its format."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import torch
from torch import Tensor

from prunescope.core.errors import RequestError

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "U16": torch.uint16,
    "I16": torch.int16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}
"""Torch's types by the names that safetensors gives them."""


@dataclass(frozen=True, eq=False)
class Affine:
    """The numbers that integers stand for: ``(integer - zero_point) * scale``.

    Attributes:
        scale: Tensor that `prunescope.sources.checkpoint.numbers.spread` fits to the weight.
        zero_point: Likewise.
    """

    scale: Tensor
    zero_point: Tensor


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor in a file, as its header describes it.

    Attributes:
        name: Its name in the file.
        shape: Its shape.
        dtype: How the numbers are stored; None for a format torch has no type for.
        dtype_name: The same as a person reads it, such as ``"bfloat16"``.
        affine: Scale and zero point that are part of the tensor, as torch's quantised tensors have; or None.
        repeated: Whether it has more numbers than the file holds for it, which are repeated.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype | None
    dtype_name: str
    affine: Affine | None = None
    repeated: bool = False


class TensorFile(Protocol):
    """A file of tensors that is read one tensor at a time."""

    path: Path
    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str]

    def read(self, name: str) -> Tensor:
        """Return the tensor ``name`` as it is stored, in memory of its own."""

    def write_copy(self, out: BinaryIO, zeroed: Mapping[str, Zeroes]) -> None:
        """Write a copy of the file in which some tensors have zeros, one tensor in memory at a time."""


@dataclass(frozen=True, eq=False)
class Zeroes:
    """Where a stored tensor gets the number that means zero.

    Attributes:
        mask: Boolean tensor of the tensor's shape, True where kept.
        zero: What is stored for a zero: the zero point of integers, else 0; fits the tensor by broadcasting.
    """

    mask: Tensor
    zero: Tensor = field(default_factory=lambda: torch.zeros(()))

    def put(self, stored: Tensor) -> Tensor:
        """Return ``stored`` with zeros put into it; all other numbers are kept to the bit."""
        pruned = ~self.mask.cpu()
        if stored.is_floating_point() and stored.element_size() == 1:
            stored.view(torch.uint8).masked_fill_(pruned, 0)  # float8 has no arithmetic; its zero is byte 0.
        elif self.zero.numel() == 1:
            stored.masked_fill_(pruned, self.zero.to(stored.dtype).reshape(()))
        else:
            stored.copy_(torch.where(pruned, self.zero.to(stored.dtype), stored))
        return stored


class ChangedFile(AbstractContextManager[None]):
    """Refuses a file that is no longer the one that was opened, before and after reading from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = self._now()

    def _now(self) -> tuple[int, ...]:
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise unreadable(self.path, error) from error
        if not stat.S_ISREG(found.st_mode):
            raise refused(self.path, "is no regular file")
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    @property
    def size(self) -> int:
        """Return the size of the file in bytes when it was opened."""
        return self._opened[2]

    def _check(self) -> None:
        if self._now() != self._opened:
            raise refused(self.path, "has changed on disk since it was opened: open it again")

    def __enter__(self) -> None:
        """Check before."""
        self._check()

    def __exit__(self, *_: object) -> None:
        """Check after."""
        self._check()


def read_bytes(path: Path, start: int, size: int) -> Tensor:
    """Return ``size`` bytes of a file from ``start`` on, in memory of their own.

    Raises:
        RequestError: It has not so many, or cannot be read.
    """
    data = torch.empty(size, dtype=torch.uint8)
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(start)
            view, filled = data.numpy().data, 0
            while filled < size:
                count = file.readinto(view[filled:])
                if not count:
                    raise OSError("the file ended early")
                filled += count
    except OSError as error:
        raise unreadable(path, error) from error
    return data


def refused(path: Path, why: str) -> RequestError:
    """Return the error for a file that cannot be explored; ``why`` follows its name."""
    return RequestError("model", f"`model` {path.name} {why}.")


def unreadable(path: Path, error: OSError) -> RequestError:
    """Return the error for a file that the operating system does not let us read."""
    if error.errno == errno.EINVAL:  # A place in the file that there cannot be.
        return refused(path, "is damaged: its parts do not lie where it says they do")
    return refused(path, f"cannot be read: {error.strerror or error}")
