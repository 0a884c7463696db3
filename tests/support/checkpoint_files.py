"""Makes checkpoint files of every kind for the tests."""

import json
import os
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes a number takes in safetensors' types that take more than one."""


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 8, 3), norm=nn.BatchNorm2d(8), head=nn.Linear(8, 5)))


def state() -> dict[str, Tensor]:
    return dict(network().state_dict())


def safetensors_file(folder: Path, tensors: dict[str, Tensor] | None = None, name: str = "m") -> Path:
    path = folder / f"{name}.safetensors"
    save_file(state() if tensors is None else tensors, path, {"format": "pt", "author": "me"})
    return path


def torch_file(folder: Path, content: object = None, name: str = "m.pt", **how: object) -> Path:
    path = folder / name
    torch.save(state() if content is None else content, path, **how)
    return path


def hub_folder(folder: Path, *, pickled: bool = False) -> Path:
    """Write a model in two shards with an index, as `transformers` does."""
    folder.mkdir()
    stem, suffix = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    names = list(state())
    parts = {f"{stem}-0000{i + 1}-of-00002.{suffix}": names[i::2] for i in range(2)}
    for file, part in parts.items():
        tensors = {name: state()[name] for name in part}
        torch.save(tensors, folder / file) if pickled else save_file(tensors, folder / file, {"format": "pt"})
    weight_map = {name: file for file, part in parts.items() for name in part}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text("{}")
    return folder


def raw_safetensors(path: Path, header: object, data: bytes = b"") -> Path:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)
    return path


def sparse_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], dtype: str = "F32") -> Path:
    """Write tensors of zeros that take no room on the disk, in a type of safetensors."""
    header, end, width = {}, 0, BYTES.get(dtype, 1)
    for name, shape in shapes.items():
        size = width * torch.Size(shape).numel()
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    raw_safetensors(path, header)
    os.truncate(path, path.stat().st_size + end)
    return path


def sparse_folder(folder: Path, shapes: dict[str, tuple[int, ...]], shards: int, dtype: str = "F32") -> Path:
    """Write a sharded checkpoint of zeros that takes no room on the disk."""
    folder.mkdir()
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        names = list(shapes)[shard * len(shapes) // shards : (shard + 1) * len(shapes) // shards]
        sparse_safetensors(folder / file, {name: shapes[name] for name in names}, dtype)
        weight_map.update(dict.fromkeys(names, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


class Payload:
    """A pickle that would make a file if it were loaded as code."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (f"touch {self.mark}",))


def repacked(path: Path, out: Path, change: dict[str, bytes], compress: int = zipfile.ZIP_STORED) -> Path:
    """Write a copy of an archive with other bytes in some members."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", compress) as new:
        for member in old.infolist():
            own = member.filename.partition("/")[2]
            new.writestr(member.filename, change.get(own, old.read(member)))
    return out
