from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from prunescope.cli import main


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 12), nn.Linear(12, 8), nn.Linear(8, 4))
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def zeros(path: Path) -> dict[str, int]:
    return {name: int((value == 0).sum()) for name, value in load_file(path).items()}


@pytest.mark.parametrize("rule", ["uniform", "global", "lamp", "erk"])
def test_writes_a_copy_with_so_many_zeros(
    checkpoint: Path, tmp_path: Path, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = checkpoint.read_bytes()
    out = tmp_path / "out.safetensors"
    assert main(["prune", str(checkpoint), "--target", "0.5", "--rule", rule, "-o", str(out)]) == 0
    assert sum(zeros(out).values()) == round(0.5 * (192 + 96 + 32))
    assert checkpoint.read_bytes() == before
    said = capsys.readouterr()
    assert "50.0 % of weights" in said.out
    assert "0.weight" in said.out


def test_takes_channels_pins_and_exclusions(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    words = ["--method", "ln_structured", "--n", "1", "--exclude", "2", "--pin", "1=3", "--quiet"]
    assert main(["prune", str(checkpoint), "--target", "0.4", "-o", str(out), *words]) == 0
    found = zeros(out)
    assert (found["1.weight"], found["2.weight"]) == (36, 0)
    assert found["0.weight"] % 16 == 0
    assert sum(found.values()) >= 0.4 * 320


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--target", "1.5"], "`target`"),
        (["--target", "0.5", "--exclude", "nowhere"], "`exclude`"),
        (["--target", "0.9", "--exclude", "0"], "Cannot"),
        (["--target", "0.5", "--round-to", "8"], "`round_to`"),
    ],
)
def test_one_sentence_where_it_cannot_be(
    checkpoint: Path, tmp_path: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    assert main(["prune", str(checkpoint), "-o", str(out), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_what_is_there_is_not_replaced_unasked(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"kept")
    words = ["prune", str(checkpoint), "--target", "0.5", "-o", str(out)]
    assert main(words) == 2
    assert out.read_bytes() == b"kept"
    assert main([*words, "--overwrite"]) == 0


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", str(tmp_path / "no.pt"), "--target", "0.5", "-o", str(tmp_path / "o.pt")]) == 2
    assert "cannot be opened" in capsys.readouterr().err
