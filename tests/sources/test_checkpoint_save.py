"""Pruned copies: the same file with zeros in it, written whole or not at all, in little memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from prunescope import prune
from prunescope.core.errors import RequestError
from prunescope.sources.checkpoint import open_checkpoint, save_pruned
from tests.support.checkpoint_files import (
    hub_folder,
    network,
    safetensors_file,
    sparse_safetensors,
    state,
    torch_file,
)


def half_mask(name: str = "conv.weight") -> dict[str, Tensor]:
    return {name: prune.L1Unstructured(0.5).rank(state()[name]).mask(state()[name].numel() // 2)}


def engine_says() -> dict[str, Tensor]:
    net = network()
    prune.remove(prune.l1_unstructured(net.conv, "weight", 0.5), "weight")
    return dict(net.state_dict())


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return list(left) == list(right) and all(
        torch.equal(left[name], right[name]) and left[name].dtype is right[name].dtype for name in left
    )


def test_a_pruned_safetensors_file_equals_the_engine(tmp_path: Path) -> None:
    path, out = safetensors_file(tmp_path), tmp_path / "pruned.safetensors"
    before = path.read_bytes()
    assert save_pruned(open_checkpoint(path), half_mask(), out) == out
    assert same(load_file(out), {name: engine_says()[name] for name in load_file(path)})
    with safe_open(out, "pt") as file:
        assert file.metadata() == {"format": "pt", "author": "me"}
    assert path.read_bytes() == before


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
def test_a_pruned_torch_file_equals_the_engine_and_keeps_the_rest(tmp_path: Path, nest: str | None) -> None:
    content = state() if nest is None else {"epoch": 7, nest: state(), "best": [0.5, "note"]}
    out = tmp_path / "pruned.pt"
    save_pruned(open_checkpoint(torch_file(tmp_path, content)), half_mask(), out)
    for mapped in (False, True):
        loaded = torch.load(out, weights_only=True, mmap=mapped)
        found = loaded if nest is None else loaded.pop(nest)
        assert same(found, engine_says())
        if nest is not None:
            assert loaded == {"epoch": 7, "best": [0.5, "note"]}


@pytest.mark.parametrize("pickled", [False, True])
def test_a_pruned_folder_has_the_same_files(tmp_path: Path, pickled: bool) -> None:
    hub = hub_folder(tmp_path / "hub", pickled=pickled)
    out = save_pruned(open_checkpoint(hub), half_mask(), tmp_path / "pruned")
    index = next(hub.glob("*.index.json"))
    shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    assert sorted(path.name for path in out.iterdir()) == sorted([*shards, index.name])
    load = (lambda path: torch.load(path, weights_only=True)) if pickled else load_file
    loaded = {name: tensor for shard in shards for name, tensor in load(out / shard).items()}
    assert same(dict(sorted(loaded.items())), dict(sorted(engine_says().items())))


@pytest.mark.parametrize(
    "dtype",
    [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2, torch.int8],
)
@pytest.mark.parametrize("write", [safetensors_file, torch_file])
def test_dtypes_are_kept_to_the_bit(tmp_path: Path, dtype: torch.dtype, write: object) -> None:
    values = torch.tensor([[1.5, -2.0], [-3.0, 4.0]]).to(dtype)
    path = write(tmp_path, {"w": values})
    out = tmp_path / f"pruned{path.suffix}"
    save_pruned(open_checkpoint(path), {"w": torch.tensor([[True, False], [False, True]])}, out)
    pruned = load_file(out)["w"] if path.suffix == ".safetensors" else torch.load(out, weights_only=True)["w"]
    assert pruned.dtype is dtype
    assert (
        pruned.view(torch.uint8)[0].tolist()[: dtype.itemsize]
        == values.view(torch.uint8)[0].tolist()[: dtype.itemsize]
    )
    assert pruned.float().tolist() == [[float(values[0, 0]), 0], [0, 4.0]]


def test_an_integer_zero_is_its_zero_point(tmp_path: Path) -> None:
    tensors = {
        "fc.weight": torch.tensor([[2, 4], [6, 8]], dtype=torch.uint8),
        "fc.weight_scale": torch.tensor([0.5, 1.0]),
        "fc.weight_zero_point": torch.tensor([3, 7], dtype=torch.uint8),
    }
    path, out = safetensors_file(tmp_path, tensors), tmp_path / "pruned.safetensors"
    mask = torch.tensor([[False, True], [True, False]])
    save_pruned(open_checkpoint(path), {"fc.weight": mask}, out)
    assert load_file(out)["fc.weight"].tolist() == [[3, 4], [6, 7]]
    assert open_checkpoint(out).read("fc.weight").tolist() == [[0, 0.5], [-1, 0]]


def test_a_quantised_tensor_of_torch_stays_one(tmp_path: Path) -> None:
    values = torch.tensor([[0.5, -1.0]])
    path = torch_file(tmp_path, {"q": torch.quantize_per_tensor(values, 0.5, 10, torch.quint8)})
    save_pruned(open_checkpoint(path), {"q": torch.tensor([[False, True]])}, tmp_path / "p.pt")
    loaded = torch.load(tmp_path / "p.pt", weights_only=True)["q"]
    assert loaded.is_quantized
    assert loaded.dequantize().tolist() == [[0, -1]]


def test_masks_in_the_file_are_pruned_too(tmp_path: Path) -> None:
    net = network()
    prune.l1_unstructured(net.conv, "weight", 0.25)
    out = tmp_path / "pruned.pt"
    save_pruned(open_checkpoint(torch_file(tmp_path, net.state_dict())), half_mask(), out)
    again = network()
    prune.load_pruned_state_dict(again, torch.load(out, weights_only=True))
    assert torch.equal(again.conv.weight, engine_says()["conv.weight"])
    assert torch.equal(again.conv.weight_mask.bool(), half_mask()["conv.weight"])


def test_a_shared_storage_is_pruned_once_for_all_names(tmp_path: Path) -> None:
    shared = torch.arange(1.0, 7).view(2, 3)
    path = torch_file(tmp_path, {"a": shared, "tied": shared, "part": shared[1]})
    mask = torch.tensor([[True, False, True], [False, True, True]])
    save_pruned(open_checkpoint(path), {"a": mask}, tmp_path / "p.pt")
    loaded = torch.load(tmp_path / "p.pt", weights_only=True)
    assert loaded["tied"].tolist() == [[1, 0, 3], [0, 5, 6]]
    assert loaded["part"].tolist() == [0, 5, 6]


# Where it may be written.


@pytest.mark.parametrize(
    ("name", "overwrite", "expected"),
    [
        ("m.safetensors", True, "is the checkpoint itself: give another name."),
        ("there.safetensors", False, "exists: pass `overwrite=True` to replace it."),
        ("p.pt", False, "must end in .safetensors, as the original does, got p.pt."),
        ("nowhere/p.safetensors", False, "could not be written: No such file or directory."),
        ("folder.safetensors", True, "is a folder that exists: give another name."),
    ],
)
def test_a_place_that_will_not_do_gets_a_sentence(
    tmp_path: Path, name: str, overwrite: bool, expected: str
) -> None:
    opened = open_checkpoint(safetensors_file(tmp_path))
    (tmp_path / "there.safetensors").write_text("precious")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(RequestError, match=r"^`path` ") as caught:
        save_pruned(opened, half_mask(), tmp_path / name, overwrite=overwrite)
    assert str(caught.value).endswith(expected)
    assert (tmp_path / "there.safetensors").read_text() == "precious"


def test_a_file_can_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "there.safetensors").write_text("old")
    opened = open_checkpoint(safetensors_file(tmp_path))
    save_pruned(opened, half_mask(), tmp_path / "there.safetensors", overwrite=True)
    assert torch.equal(load_file(tmp_path / "there.safetensors")["conv.weight"], engine_says()["conv.weight"])


def test_a_file_that_changed_is_not_saved(tmp_path: Path) -> None:
    for path in (safetensors_file(tmp_path), torch_file(tmp_path)):
        opened = open_checkpoint(path)
        path.write_bytes(path.read_bytes() + b"x")
        with pytest.raises(RequestError, match="has changed on disk"):
            save_pruned(opened, half_mask(), tmp_path / f"p{path.suffix}")
        assert not list(tmp_path.glob("*p.*p*")), "nothing is left behind"


# A kill and a full disk in the middle.

SAVE = """
import os, resource, signal, sys
import torch
from pathlib import Path
from prunescope.sources.checkpoint import open_checkpoint, save_pruned, stored, write

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

source, target, how = sys.argv[1:]
opened = open_checkpoint(source)
name = list(opened.tensors)[1]
if how == "full disk":
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
elif how == "killed while writing":
    stored.Zeroes.put = die
elif how == "killed before the disk has it":
    write.os.fsync = die
elif how == "killed before it has its name":
    write.os.replace = write.os.rename = die
try:
    save_pruned(opened, {name: torch.zeros(opened.tensors[name].shape, dtype=torch.bool)}, target)
except Exception as error:
    print(type(error).__name__, error)
    sys.exit(3)
"""

DISASTERS = [
    "full disk",
    "killed while writing",
    "killed before the disk has it",
    "killed before it has its name",
]


def large(folder: Path, kind: str) -> Path:
    tensors = {name: torch.randn(100, 100) for name in "abc"}
    if kind == "folder":
        (folder / "hub").mkdir()
        torch_file(folder / "hub", tensors, "pytorch_model-1.bin")
        index = {"weight_map": dict.fromkeys(tensors, "pytorch_model-1.bin")}
        (folder / "hub" / "pytorch_model.bin.index.json").write_text(json.dumps(index))
        return folder / "hub"
    return safetensors_file(folder, tensors) if kind == "safetensors" else torch_file(folder, tensors)


def content(path: Path) -> list[bytes]:
    return [each.read_bytes() for each in sorted(path.iterdir())] if path.is_dir() else [path.read_bytes()]


@pytest.mark.parametrize("kind", ["safetensors", "pt", "folder"])
def test_a_disaster_in_the_middle_leaves_no_half_file(tmp_path: Path, kind: str) -> None:
    path = large(tmp_path, kind)
    before = content(path)
    target = tmp_path / "out" / f"pruned{path.suffix}"
    target.parent.mkdir()
    children = {
        how: subprocess.Popen(
            [sys.executable, "-c", SAVE, path, target, how], stdout=subprocess.PIPE, text=True
        )
        for how in (DISASTERS if kind == "safetensors" else DISASTERS[:2])
    }
    for how, child in children.items():
        said, _ = child.communicate(timeout=300)
        if how == "full disk":
            assert child.returncode == 3
            assert said == f"RequestError `path` {target} could not be written: File too large.\n"
        else:
            assert child.returncode == -9, how
        assert not target.exists(), how
    assert content(path) == before
    left = [each for each in target.parent.rglob("*") if each.is_file()]
    assert all(each.parent != target.parent or content(each)[0] for each in left)
    for each in left:  # only one that had everything but its name
        assert open_checkpoint(each.rename(each.with_name(f"whole{path.suffix or '.bin'}"))).tensors
    save_pruned(open_checkpoint(path), {}, target)
    assert content(target) == before or kind != "safetensors"
    assert same(
        {name: open_checkpoint(path).read(name) for name in "abc"},
        {name: open_checkpoint(target).read(name) for name in "abc"},
    )


# Size.

MEASURE = """
import json, sys, time
import torch
from prunescope.sources.checkpoint import open_checkpoint, save_pruned

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

opened = open_checkpoint(sys.argv[3])  # whatever is imported late
opened.read("w")
start, began = peak(), time.perf_counter()
opened = open_checkpoint(sys.argv[1])
names = list(opened.tensors)
seconds, listed = time.perf_counter() - began, peak()
read = saved = start
if not sys.argv[2]:
    for name in names[:10]:
        opened.read(name)
    read = peak()
else:
    masks = {name: torch.zeros(opened.tensors[name].shape, dtype=torch.bool) for name in names[:2]}
    save_pruned(opened, masks, sys.argv[2])
    saved = peak()
used = dict(opened=listed - start, read=read - start, saved=saved - start)
print(json.dumps(dict(names=len(names), seconds=seconds, **used)))
"""


def measured(folder: Path, path: Path, out: Path | str = "") -> dict[str, float]:
    warm = sparse_safetensors(folder / "warm.safetensors", {"w": (2, 2)})
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, path, out, warm], capture_output=True, text=True, check=True
    )
    print(done.stdout)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_saving_takes_the_memory_of_a_tensor_not_of_the_file(tmp_path: Path, kind: str) -> None:
    layer = 4 * 1024 * 2048
    shapes = {f"layers.{i}.weight": (1024, 2048) for i in range(16)}
    path = sparse_safetensors(tmp_path / "m.safetensors", shapes)
    if kind == "pt":
        path = torch_file(tmp_path, load_file(path))
    out = tmp_path / f"out.{kind}"
    assert measured(tmp_path, path, out)["saved"] < 5 * layer
    assert os.path.getsize(out) > 16 * layer


def test_ten_thousand_tensors_are_listed(tmp_path: Path) -> None:
    shapes = {f"model.layers.{i}.self_attn.q_proj.weight": (2, 2) for i in range(10_000)}
    opened = open_checkpoint(sparse_safetensors(tmp_path / "m.safetensors", shapes))
    assert list(opened.tensors) == list(shapes)
