"""A file costs no more than it holds; what is odd about it gets one sentence; what was left is removed."""

import random
import signal
import subprocess
import sys
import types
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunescope import explore
from prunescope.core.errors import RequestError
from prunescope.core.spec import PruneSpec
from prunescope.export import save
from prunescope.measure.costs.measuring import measure
from prunescope.session import Session
from prunescope.sources import checkpoint_source, module_source
from prunescope.sources.checkpoint import open_checkpoint
from prunescope.sources.checkpoint.atomic import write_file, write_folder
from tests.support.checkpoint_files import safetensors_file, state, torch_file

# What a file unfolds to.


def test_an_expanded_tensor_is_refused_by_name(tmp_path: Path) -> None:
    path = torch_file(tmp_path, {"w": torch.ones(1).expand(1 << 15, 1 << 15), "fc.weight": torch.ones(2, 2)})
    assert path.stat().st_size < 3000
    session = Session(checkpoint_source(path))
    assert list(session.tensors) == ["fc.weight"]
    assert session.not_prunable["w"].startswith("repeats a few stored numbers")
    *_, costs = measure(session)
    assert "holds w as an expanded tensor" in costs.problems["files"]
    assert costs.nonzero == 4


def test_a_tensor_with_a_name_of_thousands_of_letters_is_not_shown(tmp_path: Path) -> None:
    tensors = {"a" * 2000: torch.ones(2, 2), "b" * 256: torch.ones(2, 2)}
    checkpoint = open_checkpoint(safetensors_file(tmp_path, tensors))
    assert list(checkpoint.tensors) == ["b" * 256]
    assert checkpoint.not_prunable["a" * 2000] == "has a name of 2,000 letters, and at most 256 are shown"


def test_views_of_one_storage_count_each(tmp_path: Path) -> None:
    whole = torch.zeros(1001)
    path = torch_file(tmp_path, {f"v{start}": whole[start : start + 900] for start in range(100)})
    assert checkpoint_source(path, largest=360_000).title == "m.pt"
    with pytest.raises(RequestError, match="unfolds to 360,000 bytes of tensors, and at most 359,999 are"):
        checkpoint_source(path, largest=359_999)


def test_an_upload_may_not_unfold_to_more_than_its_limit(tmp_path: Path) -> None:
    explorer = explore(nn.Linear(2, 2))
    explorer.screen.let_upload(tmp_path, 10_000)
    path = torch_file(tmp_path, {f"v{i}": torch.zeros(1001)[i:] for i in range(1)} | {"w": torch.zeros(3000)})
    assert "at most 10,000 are taken here" in str(explorer.screen._take_in(path))
    explorer.close()


def test_an_empty_tensor_is_no_hindrance(tmp_path: Path) -> None:
    path = torch_file(tmp_path, {"gone": torch.ones(0, 3), "fc.weight": torch.ones(2, 2)})
    *_, costs = measure(Session(checkpoint_source(path)))
    assert (costs.files is not None, costs.compressed is not None) == (True, True)


# Harmless, damaged.


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.5),
        np.int64(3),
        np.bool_(True),
        np.dtype("float32"),
        np.float32,
        np.ones(3),
        datetime(2020, 1, 1),
        types.SimpleNamespace(lr=0.1),
        frozenset({1}),
        range(3),
        torch.float16,
    ],
    ids=repr,
)
def test_harmless_values_beside_the_weights_are_no_hindrance(tmp_path: Path, value: object) -> None:
    content = {"epoch": 3, "best": value, "history": [{"loss": value}], "state_dict": state()}
    assert "conv.weight" in open_checkpoint(torch_file(tmp_path, content, "m.pth.tar")).tensors


def test_a_damaged_archive_is_called_damaged(tmp_path: Path) -> None:
    whole, rng, said = torch_file(tmp_path).read_bytes(), random.Random(0), set()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(3):
            data[-rng.randint(1, 600)] = rng.randrange(256)
        (tmp_path / "d.pt").write_bytes(data)
        try:
            open_checkpoint(tmp_path / "d.pt")
        except RequestError as problem:
            said.add(str(problem))
    assert said
    assert not [sentence for sentence in said if "Invalid argument" in sentence]


def test_a_file_that_changed_is_about_the_file_alone(tmp_path: Path) -> None:
    path = safetensors_file(tmp_path)
    session = Session(checkpoint_source(path))
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(RequestError) as caught:
        session.preview(session.resolve(PruneSpec("conv.weight")))
    assert caught.value.parameter == "model"
    assert str(caught.value).startswith("`model` m.safetensors has changed on disk")


# What a killed save leaves.

KILLED = """
import os, signal, sys
from pathlib import Path
from prunescope.sources.checkpoint.atomic import write_folder

def fill(folder):
    (folder / "half").write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)

write_folder(Path(sys.argv[1]), fill)
"""


def test_what_a_killed_save_left_is_removed_by_the_next(tmp_path: Path) -> None:
    target, others = tmp_path / "out", [".out.settings", ".out.part-notes", ".other.part-abcdefgh"]
    for name in others:
        (tmp_path / name).write_text("kept")
    assert subprocess.run([sys.executable, "-c", KILLED, target], check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 4
    write_folder(target, lambda folder: (folder / "whole").write_text("w"))
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([*others, "out"])
    assert [each.name for each in target.iterdir()] == ["whole"]


def test_what_another_save_is_writing_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def fill(folder: Path) -> None:
        write_file(target, lambda out: out.write(b"other"))
        target.unlink()
        (folder / "whole").write_text("w")

    write_folder(target, fill)
    assert [each.name for each in target.iterdir()] == ["whole"]


# Any name, any layout, any entry: a RequestError, or Python's own TypeError.

Folders = pytest.TempPathFactory
FUZZ = settings(deadline=None, max_examples=40)
SESSION = Session(module_source(nn.Linear(2, 2)))
NAMES = st.text(st.characters(codec=None), max_size=300).filter(lambda name: not set(name) & {"/", "~"})


@FUZZ
@given(name=NAMES, what=st.sampled_from(["plan", "state_dict", "masks"]))
def test_any_name_is_saved_under_or_refused(
    name: str, what: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, refused = tmp_path_factory.mktemp("any"), None
    try:
        assert save(SESSION, what, f"{folder}/{name}").is_file()
    except RequestError as problem:
        refused = problem
    assert refused is None or (refused.parameter, str(refused).isprintable()) == ("path", True)


@FUZZ
@given(
    what=st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text())),
    path=st.one_of(st.none(), st.integers()),
)
def test_what_is_no_path_is_a_wrong_call(what: object, path: object) -> None:
    with pytest.raises((RequestError, TypeError)):
        save(SESSION, what, path)


@FUZZ
@given(path=st.text(st.characters(codec=None), max_size=300).map(lambda text: f"~{text}"))
def test_any_path_is_refused_in_a_sentence(path: str) -> None:
    with pytest.raises(RequestError):
        open_checkpoint(path)


DTYPES = [torch.float32, torch.float16, torch.int8, torch.uint8, torch.int64, torch.bool, torch.float8_e4m3fn]
OWN = [
    *("weight", "bias", "weight_scale", "weight_scale_inv", "scale", "SCB", "weight_orig", "weight_mask"),
    *("qweight", "scales", "running_mean", "running_var", "weight_ih_l0", "weight_hh_l0", "weight.absmax"),
]
ENTRIES = st.dictionaries(
    st.tuples(st.sampled_from(["", "a.", "conv.0.", "up."]), st.sampled_from(OWN)).map("".join),
    st.tuples(st.lists(st.integers(0, 4), max_size=5), st.sampled_from(DTYPES)),
    max_size=6,
)


@FUZZ
@given(
    entries=ENTRIES, rest=st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.floats(), st.text()))
)
def test_any_entries_are_explored_or_refused(
    entries: dict[str, tuple[list[int], torch.dtype]],
    rest: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tensors = {name: torch.ones(shape).to(dtype) for name, (shape, dtype) in entries.items()}
    path = torch_file(tmp_path_factory.mktemp("any"), {**rest, **tensors})
    try:
        session = Session(checkpoint_source(path))
    except RequestError:
        return
    for name in session.tensors:
        spec = PruneSpec(name, amount=0.5)
        assert session.preview(session.resolve(spec)).mask.shape == session.tensor(name).shape
    *_, costs = measure(session)
    assert costs.parameters == session.parameters
