import json
from argparse import Namespace
from pathlib import Path, WindowsPath

import pytest
import torch
import torch.nn.utils.prune as oracle
from safetensors.torch import save_file
from torch import nn

from prunescope.core.errors import RequestError
from prunescope.sources.checkpoint import offered, open_checkpoint
from tests.support.checkpoint_files import (
    hub_folder,
    network,
    raw_safetensors,
    safetensors_file,
    sparse_safetensors,
    state,
    torch_file,
)

NAMES = [
    "conv.weight",
    "head.weight",
    "conv.bias",
    "head.bias",
    "norm.bias",
    "norm.weight",
]


def every_kind(folder: Path) -> dict[str, Path]:
    nested = {"epoch": 3, "state_dict": network().state_dict(), "optimizer": {"lr": 0.1}}
    return {
        "safetensors": safetensors_file(folder),
        "pt": torch_file(folder),
        "pth": torch_file(folder, nested, "m.pth"),
        "bin": torch_file(folder, {"model": state()}, "m.bin"),
        "hub": hub_folder(folder / "hub"),
        "hub bin": hub_folder(folder / "hubbin", pickled=True),
        "index": folder / "hub" / "model.safetensors.index.json",
    }


def test_every_kind_of_checkpoint_holds_the_same_tensors(tmp_path: Path) -> None:
    for kind, path in every_kind(tmp_path).items():
        opened = open_checkpoint(path)
        assert sorted(opened.tensors) == sorted(NAMES), kind
        assert list(opened.tensors)[:2] == NAMES[:2], kind
        for name in NAMES:
            assert torch.equal(opened.tensors[name].weight, state()[name]), (kind, name)
        statistic = "is a running statistic, measured and not trained"
        assert opened.not_prunable == {
            "norm.running_mean": statistic,
            "norm.running_var": statistic,
            "norm.num_batches_tracked": "is a single number",
        }, kind
        assert opened.parameters == sum(state()[name].numel() for name in NAMES), kind


class SavedOnWindows:
    """A path there."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return WindowsPath, ("C:/runs",)


@pytest.mark.parametrize("path", [Path("runs"), SavedOnWindows()])
def test_what_training_scripts_keep_beside_weights_is_no_hindrance(tmp_path: Path, path: object) -> None:
    allowed = set(torch.serialization.get_safe_globals())
    kept = {"args": Namespace(lr=0.1, output_dir=path), "data_dir": path, "epoch": 3, "model": state()}
    opened = open_checkpoint(torch_file(tmp_path, kept))
    assert sorted(opened.tensors) == sorted(NAMES)
    assert set(torch.serialization.get_safe_globals()) == allowed


def test_names_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [f"layers.{i}.weight" for i in (10, 2, 1)]
    path = safetensors_file(tmp_path, {name: torch.ones(2, 2) for name in names})
    assert list(open_checkpoint(path).tensors) == names[::-1]


def test_labels_say_shape_kind_and_dtype(tmp_path: Path) -> None:
    path = safetensors_file(tmp_path, {"fc.weight": torch.ones(3, 2, dtype=torch.bfloat16)})
    assert open_checkpoint(path).tensors["fc.weight"].label == "fc.weight · 3×2 · likely Linear · bfloat16"


SHAPES = {
    "conv.weight": (8, 3, 5, 5),
    "up.weight": (8, 4, 2, 2),
    "up.bias": (4,),
    "conv1.weight": (8, 3, 5),
    "conv3.weight": (8, 3, 5, 5, 5),
    "embed_tokens.weight": (100, 8),
    "transformer.wte.weight": (100, 8),
    "transformer.wpe.weight": (7, 8),
    "position_embeddings.weight": (7, 8),
    "position_embedding.dense.weight": (8, 8),
    "position_embedding.dense.bias": (8,),
    "fc.weight": (4, 8),
    "c_fc.weight": (4, 8),
    "c_fc.bias": (8,),
    "rnn.weight_ih_l0": (32, 5),
    "rnn.weight_hh_l0": (32, 8),
    "gru.weight_hh_l1": (24, 8),
    "attn.in_proj_weight": (24, 8),
    "experts.weight": (4, 8, 16),
    "weight": (4, 8),
    "bias": (4,),
}


@pytest.mark.parametrize(
    ("name", "kind", "axes"),
    [
        (
            "conv.weight",
            "likely Conv2d",
            ("output channels", "input channels", "kernel rows", "kernel columns"),
        ),
        (
            "up.weight",
            "likely ConvTranspose2d",
            ("input channels", "output channels", "kernel rows", "kernel columns"),
        ),
        ("conv1.weight", "likely Conv1d", ("output channels", "input channels", "kernel")),
        ("embed_tokens.weight", "likely Embedding", ("vocabulary entries", "embedding features")),
        ("transformer.wte.weight", "likely Embedding", ("vocabulary entries", "embedding features")),
        ("transformer.wpe.weight", "likely Embedding", ("positions", "embedding features")),
        ("position_embeddings.weight", "likely Embedding", ("positions", "embedding features")),
        ("position_embedding.dense.weight", "likely Linear", ("output features", "input features")),
        ("fc.weight", "likely Linear", ("output features", "input features")),
        ("c_fc.weight", "likely Linear, transposed", ("input features", "output features")),
        ("rnn.weight_ih_l0", "LSTM", ("gates × hidden", "input features")),
        ("gru.weight_hh_l1", "GRU", ("gates × hidden", "hidden units")),
        (
            "attn.in_proj_weight",
            "MultiheadAttention",
            ("query, key, value features", "embedding features"),
        ),
        ("experts.weight", "tensor", ("axis 0", "axis 1", "axis 2")),
        ("weight", "likely Linear", ("output features", "input features")),
        ("bias", "vector", ("channels",)),
    ],
)
def test_kinds_are_guessed_and_axes_named(
    tmp_path: Path, name: str, kind: str, axes: tuple[str, ...]
) -> None:
    tensor = open_checkpoint(sparse_safetensors(tmp_path / "m.safetensors", SHAPES)).tensors[name]
    assert (tensor.layer_type, tensor.axes) == (kind, axes)


def test_pruning_by_torch_is_shown_under_the_plain_name(tmp_path: Path) -> None:
    net = network()
    oracle.l1_unstructured(net.head, "weight", 0.5)
    for path in (torch_file(tmp_path, net.state_dict()), safetensors_file(tmp_path, net.state_dict())):
        opened = open_checkpoint(path)
        assert torch.equal(opened.tensors["head.weight"].weight, net.head.weight_orig)
        assert torch.equal(opened.own_mask("head.weight"), net.head.weight_mask.bool())
        assert opened.own_mask("conv.weight") is None
        assert not any("_orig" in name or "_mask" in name for name in opened.tensors)


def test_layers_are_found_by_name(tmp_path: Path) -> None:
    opened = open_checkpoint(safetensors_file(tmp_path))
    assert opened.find("head").name == "head.weight"
    assert opened.find("head.bias").name == "head.bias"


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("nowhere", "head.bias, …: the checkpoint has no tensor named 'nowhere'."),
        ("norm.num_batches_tracked", "norm.num_batches_tracked is a single number."),
        (3, "the checkpoint has no tensor named 3."),
    ],
)
def test_a_layer_that_cannot_be_pruned_gets_a_sentence(tmp_path: Path, layer: object, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        open_checkpoint(safetensors_file(tmp_path)).find(layer)
    assert str(caught.value).startswith("`layer` must be one of conv.weight, head.weight, conv.bias,")
    assert str(caught.value).endswith(sentence)


def test_only_the_last_tensor_read_is_kept(tmp_path: Path) -> None:
    opened = open_checkpoint(safetensors_file(tmp_path))
    first = opened.read("conv.weight")
    assert opened.read("conv.weight") is first
    opened.read("head.weight")
    assert opened.read("conv.weight") is not first


def test_tied_tensors_of_a_pickle_are_one(tmp_path: Path) -> None:
    shared = torch.randn(3, 2)
    opened = open_checkpoint(torch_file(tmp_path, {"a": shared, "b": shared, "c": shared.t()}))
    assert list(opened.tensors) == ["a", "c"]
    assert torch.equal(opened.read("c"), shared.t())


# Numbers that torch cannot calculate with.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_keep_their_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    opened = open_checkpoint(safetensors_file(tmp_path, {"w": torch.ones(2, 2, dtype=dtype)}))
    assert opened.read("w").dtype is dtype


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("write", [safetensors_file, torch_file])
def test_float8_is_explored_as_float32(tmp_path: Path, dtype: torch.dtype, write: object) -> None:
    values = torch.tensor([[0.5, -2.0]])
    opened = open_checkpoint(write(tmp_path, {"w": values.to(dtype)}))
    assert torch.equal(opened.read("w"), values)
    assert opened.tensors["w"].detail.endswith(" as numbers, no scale in the file")


@pytest.mark.parametrize(
    ("name", "scale", "expected"),
    [
        ("fc.weight_scale", torch.tensor(0.5), [[1.0, 2.0], [3.0, -4.0]]),
        ("fc.weight_scale", torch.tensor([[0.5], [1.0]]), [[1.0, 2.0], [6.0, -8.0]]),
        ("fc.scale", torch.tensor([0.5, 1.0]), [[1.0, 2.0], [6.0, -8.0]]),
        ("fc.weight_scale_inv", torch.tensor([[0.5]]), [[1.0, 2.0], [3.0, -4.0]]),
    ],
)
def test_integers_are_multiplied_with_their_scale(
    tmp_path: Path, name: str, scale: torch.Tensor, expected: list[list[float]]
) -> None:
    bits = torch.tensor([[2, 4], [6, -8]], dtype=torch.int8)
    opened = open_checkpoint(safetensors_file(tmp_path, {"fc.weight": bits, name: scale}))
    assert opened.tensors["fc.weight"].detail == "int8 × scale"
    assert opened.read("fc.weight").tolist() == expected
    assert name not in opened.tensors
    if scale.ndim:
        assert opened.not_prunable[name] == "belongs to the quantisation of fc.weight"


def test_blocks_share_a_scale(tmp_path: Path) -> None:
    tensors = {"w": torch.ones(2, 4).to(torch.float8_e4m3fn), "w_scale_inv": torch.tensor([[1.0, 2], [3, 4]])}
    opened = open_checkpoint(safetensors_file(tmp_path, tensors))
    assert opened.read("w").tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]


def test_quantised_tensors_of_torch_are_read_with_their_scale(tmp_path: Path) -> None:
    values = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    rows = torch.quantize_per_channel(values, torch.tensor([0.5, 1.0]), torch.tensor([0, 3]), 0, torch.qint8)
    whole = torch.quantize_per_tensor(values, 0.5, 10, torch.quint8)
    opened = open_checkpoint(torch_file(tmp_path, {"rows": rows, "whole": whole}))
    assert torch.equal(opened.read("rows"), values)
    assert torch.equal(opened.read("whole"), values)
    assert opened.tensors["rows"].detail == "int8 × scale"


def test_what_is_no_weight_says_why(tmp_path: Path) -> None:
    tensors = {
        "fc.weight": torch.ones(2, 2),
        "ids": torch.arange(4),
        "phase": torch.ones(2, dtype=torch.complex64),
        "gone": torch.ones(0, 2),
        "q.qweight": torch.ones(2, 2, dtype=torch.int32),
        "flags": torch.ones(2, 2, dtype=torch.bool),
    }
    opened = open_checkpoint(safetensors_file(tmp_path, tensors))
    assert list(opened.tensors) == ["fc.weight"]
    assert opened.not_prunable == {
        "ids": "holds int64 numbers: counts, indices or flags, not weights",
        "phase": "holds complex numbers",
        "gone": "is empty",
        "q.qweight": "packs several small integers into each number",
        "flags": "holds bool numbers: counts, indices or flags, not weights",
    }


def test_a_packed_format_says_why(tmp_path: Path) -> None:
    header = {
        "four": {"dtype": "F4", "shape": [2, 2], "data_offsets": [0, 2]},
        "w": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]},
    }
    opened = open_checkpoint(raw_safetensors(tmp_path / "m.safetensors", header, bytes(6)))
    assert opened.not_prunable == {"four": "is stored as F4, which cannot be read as numbers"}


def test_sparse_tensors_of_torch_say_why(tmp_path: Path) -> None:
    path = torch_file(tmp_path, {"s": torch.eye(3).to_sparse(), "w": torch.ones(2)})
    assert open_checkpoint(path).not_prunable == {
        "s": "is stored as sparse_coo, which cannot be read as numbers"
    }


# What a folder of models offers.


def test_a_folder_offers_its_checkpoints(tmp_path: Path) -> None:
    every_kind(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    assert [path.name for path in offered(tmp_path)] == [
        "hub",
        "hubbin",
        "m.bin",
        "m.pt",
        "m.pth",
        "m.safetensors",
    ]
    assert [path.name for path in offered(tmp_path / "hub")] == ["model.safetensors.index.json"]


def test_nothing_outside_the_folder_can_be_opened(tmp_path: Path) -> None:
    inside = tmp_path / "models"
    hub = hub_folder(inside) if not inside.exists() else inside
    outside = safetensors_file(tmp_path, name="secret")
    (inside / "link.safetensors").symlink_to(outside)
    (inside / "away").symlink_to(tmp_path)
    for path in (outside, inside / "link.safetensors", inside / ".." / "secret.safetensors", inside / "away"):
        with pytest.raises(RequestError, match="lies outside the folder of models"):
            open_checkpoint(path, within=inside)
    shard = next(hub.glob("*-00001-*"))
    shard.unlink()
    shard.symlink_to(outside)
    with pytest.raises(RequestError, match="lies outside the folder of models"):
        open_checkpoint(hub / "model.safetensors.index.json", within=inside)


def test_a_folder_with_several_checkpoints_asks_which(tmp_path: Path) -> None:
    safetensors_file(tmp_path, name="a")
    safetensors_file(tmp_path, name="b")
    with pytest.raises(
        RequestError, match=r"holds several checkpoints: name one of a\.safetensors, b\."
    ) as caught:
        open_checkpoint(tmp_path)
    assert str(caught.value).endswith(f", or offer all: `prunescope --models {tmp_path.name}`.")


def test_a_module_can_be_loaded_from_what_was_read(tmp_path: Path) -> None:
    opened = open_checkpoint(torch_file(tmp_path))
    net = nn.Linear(8, 5)
    net.load_state_dict({own: opened.tensors[f"head.{own}"].weight for own in ("weight", "bias")})
    assert torch.equal(net.weight, state()["head.weight"])


def test_a_hub_folder_prefers_what_runs_no_code(tmp_path: Path) -> None:
    save_file({"safe": torch.ones(1)}, tmp_path / "model.safetensors")
    torch.save({"pickled": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "any"}))
    assert list(open_checkpoint(tmp_path).tensors) == ["safe"]
