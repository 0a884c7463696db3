"""A PyTorch checkpoint (`.pt`, `.pth`, `.bin`, `.ckpt`): an archive of tensors and a pickle that names them.

The pickle is read by ``torch.load(weights_only=True, mmap=True)``, which runs no code and maps the data
without reading it. The offset of each tensor is computed once; then the mapping is dropped, so that pages of
tensors shown earlier do not stay in memory, and a file that shrinks later cannot crash the process.
"""

from __future__ import annotations

import argparse
import math
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import torch
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.sources.checkpoint.safetensors_file import copy_bytes
from prunescope.sources.checkpoint.stored import (
    Affine,
    ChangedFile,
    StoredTensor,
    Zeroes,
    read_bytes,
    refused,
    unreadable,
)

NESTS = (
    *("state_dict", "model_state_dict", "model_state", "model", "module"),
    *("net", "network", "weights", "params"),
)
"""Keys under which training scripts store the state dict, in the order they are tried."""

MAX_PICKLE_BYTES = 1 << 26
_MAX_DEPTH = 16
_PAGE = 4096
_ALIGNED = 64
_INTEGERS = {torch.qint8: torch.int8, torch.quint8: torch.uint8, torch.qint32: torch.int32}


@dataclass(frozen=True)
class _Record:
    """A member of the archive: its name, where its bytes start in the file, how many there are."""

    name: str
    start: int
    size: int


@dataclass(frozen=True)
class _Place:
    record: _Record
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def view(self, data: Tensor) -> Tensor:
        """Return the tensor within the bytes of its record."""
        whole = data[: len(data) // self.dtype.itemsize * self.dtype.itemsize].view(self.dtype)
        return whole.as_strided(self.shape, self.stride, self.offset)


class TorchFile:
    """One PyTorch checkpoint.

    Args:
        path: Its path.

    Attributes:
        path: Its path.
        tensors: The tensors of its state dict, by name; a tensor with several names has the first one.
        metadata: Empty: the format has none.

    Raises:
        RequestError: It is not a PyTorch checkpoint, is damaged, needs code to load, or holds no tensors.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unchanged = ChangedFile(path)
        self.metadata: Mapping[str, str] = {}
        records = _records(path, self._unchanged.size)
        content = _load(path)
        named = dict(_tensors_of(_state_dict(path, content)))
        self._places = _places(path, named, records)
        seen: set[_Place] = set()
        tensors: dict[str, StoredTensor] = {}
        for name, tensor in named.items():
            place = self._places.get(name)
            if place is None or place not in seen:
                tensors[name] = _described(name, tensor, stored=place is not None)
            if place is not None:
                seen.add(place)
        self.tensors: Mapping[str, StoredTensor] = tensors

    def read(self, name: str) -> Tensor:
        """Read the tensor ``name`` as stored, in its own memory.

        Raises:
            RequestError: The file has changed since it was opened, or cannot be read.
        """
        if not math.prod(self.tensors[name].shape):
            return torch.empty(self.tensors[name].shape, dtype=self.tensors[name].dtype)
        place = self._places[name]
        with self._unchanged:
            return place.view(read_bytes(self.path, place.record.start, place.record.size))

    def write_copy(self, out: BinaryIO, zeroed: Mapping[str, Zeroes]) -> None:
        """Write a copy of the file with zeros in some tensors; everything else is copied unchanged.

        Args:
            out: Where to write, opened for binary writing.
            zeroed: Where to put zeros, by tensor name.

        Raises:
            OSError: It could not be written.
            RequestError: The file has changed since it was opened.
        """
        changed: dict[str, list[str]] = {}
        for name in zeroed:
            changed.setdefault(self._places[name].record.name, []).append(name)
        with self._unchanged, zipfile.ZipFile(self.path) as old, zipfile.ZipFile(out, "w") as new:
            for member in old.infolist():
                with old.open(member) as source, new.open(_aligned(member, out.tell()), "w") as target:
                    if member.filename in changed:
                        target.write(self._with_zeros(changed[member.filename], zeroed))
                    else:
                        copy_bytes(source, target, member.file_size)  # type: ignore[arg-type]

    def _with_zeros(self, names: list[str], zeroed: Mapping[str, Zeroes]) -> memoryview:
        record = self._places[names[0]].record
        data = read_bytes(self.path, record.start, record.size)
        for name in names:
            zeroed[name].put(self._places[name].view(data))
        return data.numpy().data


def _aligned(member: zipfile.ZipInfo, position: int) -> zipfile.ZipInfo:
    """Return the header of a copy of ``member`` whose data starts where mapped tensors are aligned.

    The padding is an extra field, as in torch's own archives.
    """
    info = zipfile.ZipInfo(member.filename, member.date_time)
    info.file_size = member.file_size
    long = 20 if member.file_size * 1.05 > zipfile.ZIP64_LIMIT else 0
    padding = -(position + 30 + len(info.filename.encode()) + 4 + long) % _ALIGNED
    info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    return info


def _records(path: Path, size: int) -> dict[str, _Record]:
    """Return the archive's members that hold tensor data; refuse what torch would unpack into memory."""
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
            members = archive.infolist()
            records = {member.filename: _record(file, member) for member in members}
            _check_archive(path, members)
            order = [archive.read(each) for each in members if _is_byte_order(each)]
    except OSError as error:
        raise unreadable(path, error) from error
    except RequestError:
        raise
    except Exception as error:  # zipfile raises whatever a damaged archive leads it to.
        raise refused(path, _no_archive(path)) from error
    if order not in ([], [b"little"]):
        raise refused(path, "was written on a big-endian machine: save it again on one like this")
    for name, record in records.items():
        if record.start + record.size > size:
            raise refused(path, f"is damaged: its part {name[:80]!r} extends beyond its end")
    return {name: record for name, record in records.items() if "/data/" in name}


def _check_archive(path: Path, members: list[zipfile.ZipInfo]) -> None:
    if any(member.filename.partition("/")[2] == "constants.pkl" for member in members):
        raise refused(
            path,
            "is a TorchScript program, not a state dict; two lines of Python make one of it: "
            f"`module = torch.jit.load({path.name!r})` and `torch.save(module.state_dict(), "
            f"{_converted(path)!r})`",
        )
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise refused(path, f"was not written by torch: its part {member.filename[:80]!r} is compressed")
        if member.filename.endswith(".pkl") and member.file_size > MAX_PICKLE_BYTES:
            size = f"{member.file_size:,} bytes, and at most {MAX_PICKLE_BYTES:,} are read"
            raise refused(path, f"is not safe: its list of tensors has {size}")


def _is_byte_order(member: zipfile.ZipInfo) -> bool:
    return member.filename.endswith("/byteorder") and member.file_size < 16


def _no_archive(path: Path) -> str:
    with open(path, "rb") as file:
        start = file.read(2)
    if start in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return (
            "is a pickle without torch's archive around it, as torch wrote before 1.6, and cannot be read "
            "piece by piece; two lines of Python convert it: "
            f"`state = torch.load({path.name!r}, weights_only=True)` and `torch.save(state, "
            f"{_converted(path)!r})`"
        )
    return "is not a PyTorch checkpoint, or a damaged one: it is not a zip archive"


def _converted(path: Path) -> str:
    return f"{path.name.partition('.')[0]}-converted.pt"


def _record(file: BinaryIO, member: zipfile.ZipInfo) -> _Record:
    file.seek(member.header_offset + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    return _Record(member.filename, member.header_offset + 30 + name + extra, member.file_size)


class _Ignored:
    """Placeholder for a stored value that is not a weight: accepts anything and does nothing."""

    def __new__(cls, *_: object, **__: object) -> _Ignored:
        """Accept any arguments."""
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        """Accept any state."""


_NUMPY = (
    *("dtype", "ndarray", "bool", "bool_", "str_"),
    *(f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)[kind == "float" :]),
    *(f"{core}.multiarray.{name}" for core in ("_core", "core") for name in ("scalar", "_reconstruct")),
    *(f"dtypes.{kind}{bits}DType" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)),
    *(f"dtypes.{kind}DType" for kind in ("Float16", "Float32", "Float64", "Bool", "Str")),
)
_PLAIN = ("datetime", "date", "time", "timedelta", "timezone")

# What training scripts keep beside their weights, and torch does not take for plain values: their arguments;
# paths, which become mere names; metrics, dates and the like, of which nothing is made at all.
_HARMLESS: list[Any] = [
    *((_Ignored, f"numpy.{name}") for name in _NUMPY),
    *((_Ignored, f"datetime.{name}") for name in _PLAIN),
    *((_Ignored, f"builtins.{name}") for name in ("frozenset", "range", "slice")),
    (_Ignored, "types.SimpleNamespace"),
    argparse.Namespace,
    *((PurePosixPath, f"{module}.PosixPath") for module in ("pathlib", "pathlib._local")),
    *((PureWindowsPath, f"{module}.WindowsPath") for module in ("pathlib", "pathlib._local")),
]


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.serialization.safe_globals(_HARMLESS):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise refused(path, _why_not(str(error))) from error
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # torch raises whatever a damaged pickle leads it to.
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise refused(path, f"is not a PyTorch checkpoint, or a damaged one: {reason.rstrip('.')}") from error


def _why_not(message: str) -> str:
    found = re.search(r"(?:GLOBAL|global|function|class) ([\w.]+)", message)
    what = f" ({found[1]})" if found else ""
    return (
        f"holds more than tensors and plain values{what}: loading that could run code, so it was refused and "
        "nothing was run; if you trust it, load it where its code is, with "
        "`torch.load(..., weights_only=False)`, and save only the network's `state_dict()`, best as "
        "safetensors"
    )


def _state_dict(path: Path, content: object) -> Mapping[Any, Any]:
    """Return the checkpoint's mapping of names to tensors, at the top level or under a usual key."""
    if isinstance(content, Mapping):
        for key in NESTS:
            inner = content.get(key)
            if isinstance(inner, Mapping) and any(_tensors_of(inner)):
                return inner
        if any(_tensors_of(content)):
            return content
    raise refused(path, f"holds no tensors by name, but a {type(content).__name__}")


def _tensors_of(mapping: Mapping[Any, Any], depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    if depth > _MAX_DEPTH or _is_optimizer(mapping):
        return
    for key, value in mapping.items():
        if isinstance(value, Tensor):
            yield str(key), value
        elif isinstance(value, Mapping):
            for name, tensor in _tensors_of(value, depth + 1):
                yield f"{key}.{name}", tensor


def _is_optimizer(mapping: Mapping[Any, Any]) -> bool:
    """Return whether ``mapping`` looks like an optimizer's ``state_dict()``."""
    return "param_groups" in mapping and isinstance(mapping.get("state"), Mapping)


def _places(path: Path, named: Mapping[str, Tensor], records: Mapping[str, _Record]) -> dict[str, _Place]:
    """Return the offset of each tensor in the file, from its address in the mapping."""
    mapped = {name: tensor for name, tensor in named.items() if _is_plain(tensor)}
    by_start = {record.start: record for record in records.values()}
    if not mapped:
        return {}
    base = _mapping_start(path, list(mapped.values()), by_start)
    return {
        name: _Place(
            by_start[tensor.untyped_storage().data_ptr() - base],
            _INTEGERS.get(tensor.dtype, tensor.dtype),
            tuple(tensor.shape),
            tensor.stride(),
            int(tensor.storage_offset()),
        )
        for name, tensor in mapped.items()
    }


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.device.type == "cpu" and tensor.numel() > 0


def _mapping_start(path: Path, tensors: list[Tensor], by_start: Mapping[int, _Record]) -> int:
    """Return the address of the file's mapping: the one that matches tensors to records of their size."""
    found = {(t.untyped_storage().data_ptr(), t.untyped_storage().nbytes()) for t in tensors}
    some = next(iter(found))
    for start in by_start:
        base = some[0] - start
        if base % _PAGE == 0 and all(
            pointer - base in by_start and by_start[pointer - base].size == size for pointer, size in found
        ):
            return base
    raise refused(path, "is damaged: its tensors and its list of tensors disagree")


def _described(name: str, tensor: Tensor, *, stored: bool) -> StoredTensor:
    plain = _INTEGERS.get(tensor.dtype, tensor.dtype)
    if not stored:
        kind = str(tensor.layout).removeprefix("torch.")
        known = None if tensor.numel() else plain
        return StoredTensor(name, tuple(tensor.shape), known, kind if known is None else str(plain)[6:])
    affine = _affine(tensor) if tensor.is_quantized else None
    repeated = tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
    return StoredTensor(name, tuple(tensor.shape), plain, str(plain).removeprefix("torch."), affine, repeated)


def _affine(tensor: Tensor) -> Affine:
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return Affine(torch.tensor(tensor.q_scale()), torch.tensor(tensor.q_zero_point()))
    sizes = [1] * tensor.ndim
    sizes[tensor.q_per_channel_axis()] = -1
    scales, points = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    return Affine(scales.clone().view(sizes), points.clone().view(sizes))
