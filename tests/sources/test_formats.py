"""The table of formats: a row from outside the package is opened, listed, uploaded, pruned and saved."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from prunescope import explore
from prunescope.core.errors import RequestError
from prunescope.export import file_name, files_of, save
from prunescope.measure.costs.measuring import measure
from prunescope.session import Session
from prunescope.sources import FORMATS, checkpoint_source, module_source, offered
from prunescope.sources.checkpoint import open_checkpoint
from prunescope.sources.checkpoint.stored import StoredTensor, Zeroes
from tests.support.checkpoint_files import hub_folder, safetensors_file, state, torch_file


class NpzFile:
    """NumPy's archives of arrays, as somebody else might write a format."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata: Mapping[str, str] = {}
        self._arrays = dict(np.load(path))
        self.tensors = {
            name: StoredTensor(name, array.shape, torch.float32, "float32")
            for name, array in self._arrays.items()
        }

    def read(self, name: str) -> Tensor:
        return torch.from_numpy(self._arrays[name].copy())

    def write_copy(self, out: BinaryIO, zeroed: Mapping[str, Zeroes]) -> None:
        np.savez(
            out,
            **{
                n: (zeroed[n].put(self.read(n)) if n in zeroed else self.read(n)).numpy()
                for n in self.tensors
            },
        )


@pytest.fixture
def npz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setitem(FORMATS, ".npz", NpzFile)
    path = tmp_path / "model.npz"
    np.savez(
        path, **{"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "fc.bias": np.ones(2, np.float32)}
    )
    return path


def test_a_format_from_outside_is_explored_and_saved(npz: Path) -> None:
    assert [path.name for path in offered(npz.parent)] == ["model.npz"]
    assert list(open_checkpoint(npz.parent).tensors) == ["fc.weight", "fc.bias"]
    session = Session(checkpoint_source(npz))
    session.apply(session.preview(session.resolve(session.first_spec)))
    assert file_name(session, "state_dict") == "model-pruned.npz"
    out = save(session, "state_dict", npz.parent / "out.npz")
    assert dict(np.load(out))["fc.weight"].tolist() == [[0, 0, 2], [3, 4, 5]]
    *_, costs = measure(session)
    assert (costs.parameters, costs.nonzero) == (8, 7)
    with pytest.raises(RequestError, match="must end in .npz, as the original does"):
        save(session, "state_dict", npz.parent / "out.pt")


def test_a_format_from_outside_is_in_the_explorer_in_its_link_and_in_its_plan(npz: Path) -> None:
    explorer, other = explore(npz), explore(npz)
    try:
        explorer.request(layer="fc.weight", method="ln_structured", amount=1, dim=1)
        explorer.apply()
        assert other.open_link(explorer.query) is None
        assert other.history.masks()["fc.weight"].tolist() == [[False, True, True]] * 2
        with pytest.raises(RequestError, match="save its pruned weights or the plan"):
            explorer.code()  # A checkpoint has no module that code could prune.
        plan = explorer.save("plan", npz.parent / "plan.json")
        assert "ln_structured" in plan.read_text("utf-8")
    finally:
        explorer.close()
        other.close()


def test_a_format_from_outside_may_be_uploaded(npz: Path, tmp_path: Path) -> None:
    explorer = explore(torch.nn.Linear(2, 2))
    (tmp_path / "own").mkdir()
    explorer.screen.let_upload(tmp_path / "own", 1000)
    assert ".npz" in explorer.screen.upload.suffixes
    explorer.close()


def test_it_is_forgotten_again(tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match=r"must end in \.safetensors, \.pt, \.pth, \.bin, \.ckpt, \.pth\.tar\.$"
    ):
        open_checkpoint(torch_file(tmp_path, name="m.npz"))


def test_the_longest_ending_counts(tmp_path: Path) -> None:
    session = Session(checkpoint_source(torch_file(tmp_path, name="m.pth.tar")))
    assert file_name(session, "state_dict") == "m-pruned.pth.tar"
    save(session, "state_dict", tmp_path / "out.pth.tar")
    assert sorted(open_checkpoint(tmp_path / "out.pth.tar").tensors) == sorted(session.tensors)
    with pytest.raises(RequestError, match="must end in .pth.tar"):
        save(session, "state_dict", tmp_path / "out.tar")


# Sources answer for themselves.


def test_a_source_says_whether_it_can_run_and_where_it_lies(tmp_path: Path) -> None:
    path = safetensors_file(tmp_path)
    files, module = checkpoint_source(path), module_source(torch.nn.Linear(3, 2))
    assert (files.can_run, list(files.weights().files)) == (False, [path])
    assert (module.can_run, list(module.weights().files)) == (True, [])
    assert set(module.weights().entries()) == {"weight", "bias"}
    assert set(files.weights().entries()) == set(state())
    assert [files_of(Session(source)) for source in (files, module)] == [
        ("state_dict", "masks", "plan"),
        ("state_dict", "masks", "plan", "torch", "prunescope"),
    ]
    with pytest.raises(RequestError, match="is in memory, not in files"):
        module.weights().save_copy({}, tmp_path / "x.pt")


# Links, as a hub's cache has them.


def cache(folder: Path) -> Path:
    blob = folder / "models--me--tiny" / "blobs" / "c1b9b30e"
    snapshot = folder / "models--me--tiny" / "snapshots" / "42f5c1"
    blob.parent.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    save_file(state(), blob)
    (snapshot / "model.safetensors").symlink_to("../../blobs/c1b9b30e")
    return snapshot


def test_a_linked_file_keeps_its_name(tmp_path: Path) -> None:
    snapshot = cache(tmp_path)
    assert checkpoint_source(snapshot / "model.safetensors").title == "model.safetensors"
    assert checkpoint_source(snapshot).title == "me/tiny"


def test_a_snapshot_opens_what_it_lists(tmp_path: Path) -> None:
    snapshot = cache(tmp_path)
    (listed,) = offered(snapshot)
    assert checkpoint_source(listed, within=snapshot).title == "model.safetensors"
    secret = safetensors_file(tmp_path, name="secret")
    (snapshot / "secret.safetensors").symlink_to(secret)
    assert offered(snapshot) == [listed]


def test_links_that_lead_out_are_not_listed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "models", tmp_path / "elsewhere"
    for folder in (inside, outside):
        folder.mkdir()
        safetensors_file(folder)
    hub_folder(outside / "hub")
    (inside / "file.safetensors").symlink_to(outside / "m.safetensors")
    (inside / "hub").symlink_to(outside / "hub")
    (inside / "gone.safetensors").symlink_to(outside / "nothing")
    (inside / "own.safetensors").symlink_to("m.safetensors")
    assert [path.name for path in offered(inside)] == ["m.safetensors", "own.safetensors"]
