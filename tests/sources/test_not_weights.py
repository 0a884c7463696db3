"""What is not a weight is known by name and neighbours; an unknown quantisation is refused by name."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from prunescope.measure.costs.measuring import measure
from prunescope.session import Session
from prunescope.sources import checkpoint_source
from prunescope.sources.checkpoint import Checkpoint, open_checkpoint, save_pruned
from tests.support.checkpoint_files import safetensors_file, torch_file

F8 = torch.float8_e4m3fn


def ints(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
    return torch.ones(shape, dtype=dtype)


def opened(folder: Path, **tensors: Tensor) -> Checkpoint:
    named = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return open_checkpoint(safetensors_file(folder, {**named, "n.weight": torch.ones(2, 2)}))


# float8 in blocks.


def in_blocks(folder: Path, block: object, rows: int = 5) -> Path:
    folder.mkdir()
    scale = torch.tensor([[1.0, 10.0], [100.0, 1000.0], [1e4, 1e5]])
    tensors = {
        "a.weight": torch.ones(rows, 4).to(F8),
        "a.weight_scale_inv": scale,
        "n.weight": torch.ones(2, 2),
    }
    safetensors_file(folder, tensors, "model")
    config = {"quantization_config": {"quant_method": "fp8", "weight_block_size": block}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("opens", ["folder", "file"])
def test_the_last_block_may_be_partial(tmp_path: Path, opens: str) -> None:
    folder = in_blocks(tmp_path / "hub", [2, 2])
    checkpoint = open_checkpoint(folder if opens == "folder" else folder / "model.safetensors")
    pair = [[1.0, 1, 10, 10], [100.0, 100, 1000, 1000]]
    assert checkpoint.read("a.weight").tolist() == [pair[0]] * 2 + [pair[1]] * 2 + [[1e4, 1e4, 1e5, 1e5]]


@pytest.mark.parametrize("block", [None, [128, 128], [0, 2], [2], "2", [2.0, 2.0], [True, 2]])
def test_blocks_of_unknown_size_are_refused_by_name(tmp_path: Path, block: object) -> None:
    checkpoint = open_checkpoint(in_blocks(tmp_path / "hub", block))
    assert list(checkpoint.tensors) == ["n.weight"]
    told = "is quantised in blocks that a.weight_scale_inv of shape 3×2 leaves open"
    assert checkpoint.not_prunable["a.weight"].startswith(told)


@pytest.mark.parametrize("config", ["", "[]", "{", "[" * 100_000, '{"quantization_config": 3}'])
def test_a_configuration_that_says_nothing_is_no_hindrance(tmp_path: Path, config: str) -> None:
    folder = in_blocks(tmp_path / "hub", [2, 2], rows=6)
    (folder / "config.json").write_text(config)
    assert open_checkpoint(folder).read("a.weight")[:, 0].tolist() == [1, 1, 100, 100, 1e4, 1e4]


# Other rules.


def test_the_scale_of_bitsandbytes_is_what_127_stands_for(tmp_path: Path) -> None:
    scb = torch.tensor([1.27, 254.0])
    checkpoint = opened(
        tmp_path, fc__weight=torch.tensor([[100, -127], [1, 0]], dtype=torch.int8), fc__SCB=scb
    )
    assert checkpoint.read("fc.weight").tolist() == [[pytest.approx(1.0), pytest.approx(-1.27)], [2.0, 0.0]]
    out = tmp_path / "p.safetensors"
    save_pruned(checkpoint, {"fc.weight": torch.tensor([[True, False], [True, True]])}, out)
    assert load_file(out)["fc.weight"].tolist() == [[100, 0], [1, 0]]


def test_a_scale_may_stand_before_the_name(tmp_path: Path) -> None:
    checkpoint = opened(
        tmp_path,
        fc__weight=torch.tensor([[2.0, 4.0]]).to(F8),
        fc__scale_weight=torch.tensor([0.5]),
        fc__scale_input=torch.ones(1),
    )
    assert list(checkpoint.tensors) == ["fc.weight", "n.weight"]
    assert checkpoint.read("fc.weight").tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("beside", "why"),
    [
        (
            {"weight_scale": torch.ones(2, 1), "weight_scale_2": torch.ones(1)},
            "fc.weight_scale_2 is part of it",
        ),
        ({"weight_scale": torch.ones(3)}, "fc.weight_scale of shape 3 leaves open"),
        ({"weight_scale": torch.ones(2, 1, dtype=torch.uint8)}, "stored as uint8, an unknown rule"),
        ({"weight.absmax": torch.ones(2)}, "fc.weight.absmax is part of it"),
        ({"weight_zero_point": torch.ones(2)}, "has a zero point and no scale"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.int8, F8])
def test_a_rule_that_is_not_known_is_not_guessed(
    tmp_path: Path, beside: dict[str, Tensor], why: str, dtype: torch.dtype
) -> None:
    tensors = {f"fc.{own}": tensor for own, tensor in beside.items()}
    checkpoint = opened(tmp_path, fc__weight=torch.ones(2, 4).to(dtype), **tensors)
    assert list(checkpoint.tensors) == ["n.weight"]
    assert why in checkpoint.not_prunable["fc.weight"]


def test_four_bits_in_a_byte_are_not_taken_for_a_byte(tmp_path: Path) -> None:
    byte = ints(4, 2, dtype=torch.uint8)
    checkpoint = opened(tmp_path, fc__weight=byte, fc__weight_scale=torch.ones(4, 1))
    assert checkpoint.not_prunable["fc.weight"].startswith(
        "is uint8 with a scale (fc.weight_scale) and no zero"
    )


PACKED = {
    "gptq": {
        "qweight": ints(8, 32),
        "qzeros": ints(4, 4),
        "scales": torch.rand(4, 32).half(),
        "g_idx": ints(64),
    },
    "aqlm": {
        "codes": ints(4, 4, 1, dtype=torch.int8),
        "codebooks": torch.rand(1, 8, 1, 8),
        "scales": torch.rand(4, 1),
    },
    "compressed": {"weight_packed": ints(4, 4), "weight_scale": torch.rand(4, 2), "weight_shape": ints(2)},
    "mxfp4": {"up_blocks": ints(2, 4, 4, dtype=torch.uint8), "up_scales": ints(2, 4, dtype=torch.uint8)},
    "nf4": {
        "weight": ints(64, 1, dtype=torch.uint8),
        "weight.absmax": torch.rand(2),
        "weight.quant_map": torch.rand(16),
        "weight.nested_absmax": torch.rand(3),
        "weight.quant_state.bitsandbytes__nf4": ints(70, dtype=torch.uint8),
    },
}


@pytest.mark.parametrize("how", PACKED)
def test_of_a_packed_layer_only_the_bias_is_offered(tmp_path: Path, how: str) -> None:
    tensors = {f"q.{own}": tensor for own, tensor in PACKED[how].items()}
    every = {**tensors, "q.bias": torch.ones(4), "n.weight": torch.ones(2, 2)}
    checkpoint = open_checkpoint(safetensors_file(tmp_path, every))
    assert list(checkpoint.tensors) == ["n.weight", "q.bias"]
    assert {name for name in tensors if not checkpoint.not_prunable.get(name)} == set()


# What is computed, and not trained.


def test_running_statistics_are_not_counted_and_stay_in_the_file(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
    session = Session(checkpoint_source(safetensors_file(tmp_path, dict(model.state_dict()))))
    assert list(session.tensors) == ["0.weight", "1.bias", "1.weight"]
    assert session.parameters == sum(each.numel() for each in model.parameters()) == 232
    assert session.not_prunable["1.running_var"] == "is a running statistic, measured and not trained"
    *_, costs = measure(session)
    assert costs.files.dense == len(safetensors.torch.save(dict(model.state_dict()), {"format": "pt"}))


def test_a_weight_that_is_only_called_so_is_one(tmp_path: Path) -> None:
    checkpoint = opened(
        tmp_path, a__running_mean=torch.ones(3), b__scale=torch.ones(3), b__scales=torch.ones(2, 2)
    )
    assert {"a.running_mean", "b.scale", "b.scales"} <= set(checkpoint.tensors)


def test_vectors_of_spectral_norm_are_no_weights(tmp_path: Path) -> None:
    older = nn.utils.spectral_norm(nn.Linear(4, 3))
    newer = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
    state = nn.ModuleDict({"older": older, "newer": newer}).state_dict()
    names = list(open_checkpoint(torch_file(tmp_path, state)).tensors)
    assert not [name for name in names if name.endswith(("_u", "_v"))]
    assert {"older.weight_orig", "newer.parametrizations.weight.original"} <= set(names)


# Optimizers.


@pytest.mark.parametrize("key", ["optimizer", "optimizer_state", "opt", "anything"])
def test_the_state_of_an_optimizer_is_dropped_under_any_key(tmp_path: Path, key: str) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    for nest in ("model_state", "mine"):
        content = {
            key: optimizer.state_dict(),
            nest: model.state_dict(),
            "all": {key: optimizer.state_dict()},
        }
        names = list(open_checkpoint(torch_file(tmp_path, content)).tensors)
        assert names == (["weight", "bias"] if nest == "model_state" else ["mine.weight", "mine.bias"])


def test_the_state_of_an_optimizer_is_dropped_under_flat_names(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, optimizer__state__0__exp_avg=torch.ones(2, 2))
    assert checkpoint.not_prunable["optimizer.state.0.exp_avg"] == "is the state of an optimizer"


def test_an_optimizer_alone_is_no_checkpoint(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    path = torch_file(tmp_path, optimizer.state_dict())
    with pytest.raises(ValueError, match="holds no tensors by name"):
        open_checkpoint(path)
