"""A tensor in a file, and the interface of tensor files of any format."""

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
"""Torch's dtypes by their safetensors names."""


@dataclass(frozen=True, eq=False)
class Affine:
    """The values that integers represent: ``(integer - zero_point) * scale``.

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
        dtype: Its dtype; None for a format torch has no dtype for.
        dtype_name: Its dtype as text, such as ``"bfloat16"``.
        affine: Scale and zero point stored with the tensor, as in torch's quantised tensors; or None.
        repeated: Whether it is expanded: the file holds fewer values than its shape has.
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
        """Read the tensor ``name`` as stored, in its own memory."""

    def write_copy(self, out: BinaryIO, zeroed: Mapping[str, Zeroes]) -> None:
        """Write a copy of the file with zeros in some tensors, one tensor in memory at a time."""


@dataclass(frozen=True, eq=False)
class Zeroes:
    """Where to put zeros in a stored tensor.

    Attributes:
        mask: Boolean tensor of the tensor's shape, True where kept.
        zero: The stored value of zero: the zero point of integers, else 0; broadcasts to the tensor.
    """

    mask: Tensor
    zero: Tensor = field(default_factory=lambda: torch.zeros(()))

    def put(self, stored: Tensor) -> Tensor:
        """Return ``stored`` with zeros put in; all other values are kept to the bit."""
        pruned = ~self.mask.cpu()
        if stored.is_floating_point() and stored.element_size() == 1:
            stored.view(torch.uint8).masked_fill_(pruned, 0)  # float8 has no arithmetic; its zero is byte 0.
        elif self.zero.numel() == 1:
            stored.masked_fill_(pruned, self.zero.to(stored.dtype).reshape(()))
        else:
            stored.copy_(torch.where(pruned, self.zero.to(stored.dtype), stored))
        return stored


class ChangedFile(AbstractContextManager[None]):
    """Refuse a file that has changed since it was opened, before and after reading from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = self._now()

    def _now(self) -> tuple[int, ...]:
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise unreadable(self.path, error) from error
        if not stat.S_ISREG(found.st_mode):
            raise refused(self.path, "is not a regular file")
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
    """Read ``size`` bytes of a file from ``start`` on, in their own memory.

    Raises:
        RequestError: The file is shorter, or cannot be read.
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
        return refused(path, "is damaged: its parts are not where its header says")
    return refused(path, f"cannot be read: {error.strerror or error}")
