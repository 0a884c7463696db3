"""Files that are damaged, or made to do harm: one sentence each, and nothing of them is run."""

import json
import os
import pickle
import random
import re
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from prunescope.core.errors import RequestError
from prunescope.sources.checkpoint import Checkpoint, open_checkpoint
from tests.support.checkpoint_files import (
    Payload,
    hub_folder,
    network,
    raw_safetensors,
    repacked,
    safetensors_file,
    state,
    torch_file,
)

FUZZED_FILES = 600


def sentence(path: Path) -> str:
    with pytest.raises(RequestError) as caught:
        open_checkpoint(path)
    assert caught.value.parameter == "model"
    text = str(caught.value)
    assert text.startswith("`model` ")
    assert text.endswith(".")
    assert "\n" not in text
    return text


# A pickle that would run code.


def payload_in_torch_archive(folder: Path, mark: Path) -> Path:
    return torch_file(folder, {"w": torch.ones(2), "evil": Payload(mark)})


def payload_as_plain_pickle(folder: Path, mark: Path) -> Path:
    path = folder / "plain.pt"
    path.write_bytes(pickle.dumps(Payload(mark)))
    return path


def payload_in_the_old_format(folder: Path, mark: Path) -> Path:
    return torch_file(folder, {"evil": Payload(mark)}, "old.bin", _use_new_zipfile_serialization=False)


def payload_in_a_shard(folder: Path, mark: Path) -> Path:
    hub = hub_folder(folder / "hub", pickled=True)
    payload_in_torch_archive(folder, mark).rename(next(hub.glob("*-00002-*")))
    return hub


def payload_renamed_to_safetensors(folder: Path, mark: Path) -> Path:
    return payload_in_torch_archive(folder, mark).rename(folder / "m.safetensors")


@pytest.mark.parametrize("forced", ["0", "1"])
@pytest.mark.parametrize(
    "make",
    [
        payload_in_torch_archive,
        payload_as_plain_pickle,
        payload_in_the_old_format,
        payload_in_a_shard,
        payload_renamed_to_safetensors,
    ],
)
def test_a_pickle_that_would_run_code_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path, Path], Path], forced: str
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    mark = tmp_path / "ran"
    sentence(make(tmp_path, mark))
    assert not mark.exists()


def test_the_payload_would_have_run(tmp_path: Path) -> None:
    path = payload_in_torch_archive(tmp_path, tmp_path / "ran")
    torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists()


def test_a_pickle_with_code_names_what_was_refused(tmp_path: Path) -> None:
    assert sentence(payload_in_torch_archive(tmp_path, tmp_path / "ran")) == (
        "`model` m.pt holds more than tensors and plain values (posix.system): loading that could run code, "
        "so it was refused and nothing was run; if you trust it, load it where its code is, with "
        "`torch.load(..., weights_only=False)`, and save only the network's `state_dict()`, best as "
        "safetensors."
    )


def test_a_whole_module_names_what_to_save(tmp_path: Path) -> None:
    text = sentence(torch_file(tmp_path, network()))
    assert "(torch.nn.modules.container.Sequential)" in text
    assert "save only the network's `state_dict()`" in text


# Damaged, or not what the name says.


def header(size: int = 1, **change: object) -> dict[str, object]:
    return {"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size], **change}}


def bomb(path: Path) -> Path:
    path.write_bytes(struct.pack("<Q", 90_000_000) + b'{"a":' + b"[" * 1000)
    os.truncate(path, 90_000_008)
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


SAFETENSORS_REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "ends before its header"),
    "text": (lambda p: p.write_text("hello world, hello"), "its header would be"),
    "header bomb": (bomb, "its header would be 90,000,000 bytes long, and the longest that is read is"),
    "longest header": (
        lambda p: p.write_bytes(b"\xff" * 8),
        "its header would be 18,446,744,073,709,551,615",
    ),
    "no JSON": (lambda p: raw_safetensors(p, b"{nothing"), "a damaged one: invalid JSON in header"),
    "deep JSON": (lambda p: raw_safetensors(p, b'{"a":' + b"[" * 100_000), "a damaged one: invalid JSON"),
    "truncated": (lambda p: raw_safetensors(p, header(9), bytes(8)), "file not fully covered"),
    "too long": (lambda p: raw_safetensors(p, header(9), bytes(10)), "file not fully covered"),
    "overlap": (lambda p: raw_safetensors(p, header(4, shape=[9]), bytes(4)), "invalid shape, data type, or"),
    "huge": (
        lambda p: raw_safetensors(p, header(shape=[2**40, 2**40]), b"1"),
        "overflow computing buffer size",
    ),
    "unknown dtype": (lambda p: raw_safetensors(p, header(dtype="Q3"), b"1"), "unknown variant `Q3`"),
    "nothing in it": (lambda p: raw_safetensors(p, {}), "none of its 0 tensors holds weights"),
    "pipe": (pipe, "is not a regular file"),
}


@pytest.mark.parametrize("case", SAFETENSORS_REFUSED)
def test_a_bad_safetensors_file_gets_a_sentence(tmp_path: Path, case: str) -> None:
    path = tmp_path / "m.safetensors"
    make, expected = SAFETENSORS_REFUSED[case]
    make(path)
    assert expected in sentence(path)


def scripted(path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


def compressed(path: Path) -> None:
    repacked(torch_file(path.parent, name="a.pt"), path, {}, zipfile.ZIP_DEFLATED)


def long_pickle(path: Path) -> None:
    repacked(torch_file(path.parent, name="a.pt"), path, {"data.pkl": bytes(1 << 27)})


def cut(path: Path) -> None:
    whole = torch_file(path.parent, name="a.pt").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def other_order(path: Path) -> None:
    repacked(torch_file(path.parent, name="a.pt"), path, {"byteorder": b"big"})


def short_record(path: Path) -> None:
    repacked(torch_file(path.parent, name="a.pt"), path, {"data/0": b"1234"})


TORCH_REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "it is not a zip archive"),
    "text": (lambda p: p.write_text("hello"), "it is not a zip archive"),
    "cut": (cut, "it is not a zip archive"),
    "old": (
        lambda p: torch.save(state(), p, _use_new_zipfile_serialization=False),
        "two lines of Python convert it: `state = torch.load('m.pt', weights_only=True)` and "
        "`torch.save(state, 'm-converted.pt')`.",
    ),
    "scripted": (
        scripted,
        "`module = torch.jit.load('m.pt')` and `torch.save(module.state_dict(), 'm-converted.pt')`.",
    ),
    "compressed": (compressed, "is compressed"),
    "long pickle": (long_pickle, "its list of tensors has 134,217,728 bytes"),
    "other byte order": (other_order, "was written on a big-endian machine"),
    "short record": (short_record, "a damaged one" if sys.platform == "win32" else "damaged"),
    "a tensor": (lambda p: torch.save(torch.ones(2), p), "holds no tensors by name, but a Tensor"),
    "no tensors": (lambda p: torch.save({"epoch": 1}, p), "holds no tensors by name, but a dict"),
    "nothing to prune": (
        lambda p: torch.save({"a": torch.tensor(1)}, p),
        "none of its 1 tensors holds weights",
    ),
    "pipe": (pipe, "is not a regular file"),
}


@pytest.mark.parametrize("case", TORCH_REFUSED)
def test_a_bad_torch_file_gets_a_sentence(tmp_path: Path, case: str) -> None:
    path = tmp_path / "m.pt"
    make, expected = TORCH_REFUSED[case]
    make(path)
    assert expected in sentence(path)


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_a_file_that_git_lfs_has_not_fetched_says_how_to(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    assert sentence(tmp_path / name) == (
        f"`model` {name} is only a Git LFS pointer to the checkpoint: fetch it with `git lfs pull`."
    )


def test_a_state_dict_within_itself_ends(tmp_path: Path) -> None:
    around: dict[str, object] = {"w": torch.ones(2)}
    around["again"] = around
    assert "w" in open_checkpoint(torch_file(tmp_path, around)).tensors


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ("", "is not an index: it is not JSON."),
        ("[" * 100_000, "is not an index: it is not JSON."),
        ("[]", 'it has no "weight_map" of tensors to files.'),
        ('{"weight_map": {}}', 'it has no "weight_map" of tensors to files.'),
        ('{"weight_map": {"w": 3}}', "is not safe: '3' is not the name of a file beside it."),
        ('{"weight_map": {"w": "gone.safetensors"}}', "gone.safetensors cannot be opened: No such file"),
        (
            '{"weight_map": {"w": "m.safetensors"}}',
            "says that 'w' is in m.safetensors, which has no such tensor.",
        ),
    ],
)
def test_a_bad_index_gets_a_sentence(tmp_path: Path, index: str, expected: str) -> None:
    safetensors_file(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert expected in sentence(tmp_path)


@pytest.mark.parametrize(
    "file",
    [
        "../m.safetensors",
        "/etc/m.safetensors",
        "a/../../m.safetensors",
        "..\\m.safetensors",
        "C:m.safetensors",
        ".m.safetensors",
        "m.safetensors\0",
        "/etc/passwd",
    ],
)
def test_an_index_cannot_name_a_file_elsewhere(tmp_path: Path, file: str) -> None:
    safetensors_file(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv.weight": file}}))
    assert "is not the name of a file beside it" in sentence(index)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gone.safetensors", "gone.safetensors cannot be opened: No such file or directory."),
        ("gone", "gone cannot be opened: No such file or directory."),
        (
            "notes.txt",
            "notes.txt is not a checkpoint: its name must end in .safetensors, .pt, .pth, .bin, .ckpt, "
            ".pth.tar.",
        ),
        ("empty", "empty holds no checkpoint: no file there ends in .safetensors"),
        ("a\0b", "cannot be opened"),
        ("x" * 300, "cannot be opened: File name too long."),
    ],
)
def test_a_path_without_a_checkpoint_gets_a_sentence(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    assert expected in sentence(tmp_path / name)


def test_a_file_that_changed_is_not_read_any_more(tmp_path: Path) -> None:
    for path in (safetensors_file(tmp_path), torch_file(tmp_path)):
        opened = open_checkpoint(path)
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(RequestError, match="has changed on disk since it was opened: open it again"):
            opened.read("conv.weight")


def test_names_are_kept_as_they_are(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>.weight"
    path = safetensors_file(tmp_path, {name: torch.ones(2, 2)})
    assert name in open_checkpoint(path).tensors


# Fuzzing.


def corrupted(whole: bytes, rng: random.Random) -> bytes:
    """Return ``whole`` with some bytes changed, cut out, put in or cut off, mostly in its structure."""
    data = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        place = rng.choice(
            (rng.randrange(len(data)), rng.randrange(min(len(data), 900)), -rng.randint(1, 900))
        )
        place %= len(data)
        match rng.randrange(5):
            case 0:
                data[place] = rng.randrange(256)
            case 1:
                data[place] ^= 1 << rng.randrange(8)
            case 2:
                del data[place : place + rng.randint(1, 64)]
            case 3:
                data[place:place] = rng.randbytes(rng.randint(1, 64))
            case _ if rng.random() < 0.2:
                del data[place:]
        if len(data) < 10:
            break
    return bytes(data)


def explore_everything(opened: Checkpoint) -> None:
    for name in opened.tensors:
        assert opened.read(name).shape == opened.tensors[name].shape
        opened.own_mask(name)


def fuzz(folder: Path, count: int) -> dict[str, int]:
    """Open ``count`` corrupted files and return how many were explored and how many refused."""
    folder.mkdir(exist_ok=True)
    small = {"fc.weight": torch.ones(3, 2), "fc.bias": torch.ones(3), "q": torch.ones(2, 2).to(torch.int8)}
    index = next(hub_folder(folder / "hub").glob("*.index.json"))
    seeds = [safetensors_file(folder, small, "s"), torch_file(folder, {"state_dict": small}, "t.pt"), index]
    outcomes = {"explored": 0, "refused": 0}
    rng = random.Random(5)
    originals = [seed.read_bytes() for seed in seeds]
    for number in range(count):
        which = number % len(seeds)
        seeds[which].write_bytes(corrupted(originals[which], rng))
        try:
            explore_everything(open_checkpoint(seeds[which]))
            outcomes["explored"] += 1
        except RequestError as problem:
            outcomes["refused"] += bool(re.fullmatch(r"`model` .+\.", str(problem)))
    return outcomes


@pytest.mark.slow
def test_corrupted_files_are_explored_or_refused_with_a_sentence(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from tests.sources import test_checkpoint_refused as t;"
        "print(t.in_little_memory(pathlib.Path(sys.argv[1]), int(sys.argv[2])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "fuzz"), str(FUZZED_FILES)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout)
    print(f"{FUZZED_FILES} corrupted files: {outcomes}")
    assert sum(outcomes.values()) == FUZZED_FILES
    assert min(outcomes.values()) > FUZZED_FILES // 20


def in_little_memory(folder: Path, count: int) -> str:
    """Fuzz in a process that cannot allocate much, so that a file that asks for gigabytes is noticed."""
    resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))
    return json.dumps(fuzz(folder, count))
