"""What is cut out is really gone, and what is left answers as the silenced network does."""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.export.compact import (
    CompactModel,
    compact_model,
    compacting,
    gate_rows,
    graph,
    possible_cuts,
    rebuild,
    staircase,
)
from prunescope.measure.latency import Latency, Quartiles
from prunescope.session import Session
from prunescope.sources import demo_source, module_source
from prunescope.sources.demos.models import NETWORKS

TOLERANCE = 1e-5


def prune(session: Session, *layers: str, **spec: Any) -> None:
    wanted = {"method": "ln_structured", "amount": 0.5, "n": 2, "dim": 0, **spec}
    for layer in layers:
        step = replace(session.first_spec, layer=layer, **wanted)
        session.apply(session.preview(session.resolve(step)))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


DEMOS = {
    "cnn": (["stem", "block1.conv1", "block2.conv1"], "block1.conv1.weight", (16, 32, 3, 3)),
    "mlp": (["fc1", "fc2"], "fc2.weight", (64, 64)),
    "vit": (["blocks.0.fc1", "blocks.2.fc1"], "blocks.2.fc2.weight", (64, 64)),
}


@pytest.mark.parametrize(("layers", "cut", "shape"), DEMOS.values(), ids=DEMOS)
def test_demos_come_out_smaller_and_the_same(
    layers: list[str], cut: str, shape: tuple[int, ...], request: pytest.FixtureRequest
) -> None:
    key = request.node.callspec.id
    session = Session(demo_source(key))
    model, before = session.source.module, state(session.source.module)
    prune(session, *layers)
    smaller = compact_model(session, seconds=0)
    assert smaller.shapes[cut] == shape
    assert smaller.difference <= TOLERANCE
    assert smaller.parameters == (parameters(model), parameters(smaller.model))
    assert smaller.flops.after < smaller.flops.before
    assert smaller.metric.before.right > smaller.metric.after.right
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_difference_is_that_to_a_network_silenced_by_hand() -> None:
    session = Session(demo_source("mlp"))
    prune(session, "fc1")
    smaller = compact_model(session, seconds=0)
    silenced = copy.deepcopy(session.source.module)
    mask = session.history.masks()["fc1.weight"]
    with torch.no_grad():
        silenced.fc1.weight *= mask
        silenced.fc1.bias *= mask.any(1)
        inputs = session.source.inputs[0][:256]
        expected = (silenced(inputs) - smaller.model(inputs)).abs().max()
    assert smaller.difference == pytest.approx(float(expected), abs=1e-6)
    assert float(expected) <= TOLERANCE


def test_half_the_channels_of_the_cnn_save_what_arithmetic_says() -> None:
    session = Session(demo_source("cnn"))
    prune(session, "block1.conv1", "block2.conv1")
    smaller = compact_model(session, seconds=0)
    lost = 16 * 32 * 9 * 2 + 2 * 16 + 32 * (32 + 64) * 9 + 2 * 32
    assert smaller.parameters.before - smaller.parameters.after == lost
    flops = 2 * 64 * (16 * 32 * 9) * 2 + 2 * 16 * 32 * (32 + 64) * 9
    assert smaller.flops.before - smaller.flops.after == flops


def test_layers_that_are_added_lose_the_same_channels() -> None:
    session = Session(demo_source("cnn"))
    prune(session, "block2.conv2", amount=0, prune_channels=(1, 2, 3))
    cuts, refused = possible_cuts(session)
    assert cuts == []
    assert refused == {"block2.conv2": "its channels are added to those of block2.skip, where they are kept"}
    with pytest.raises(RequestError, match=r"has nothing to cut out: block2\.conv2: its channels are added"):
        compact_model(session)
    prune(session, "block2.skip", amount=0, prune_channels=(2, 3, 4))
    assert [cut.sentence for cut in possible_cuts(session)[0]] == [
        "block2.conv2 and block2.skip lose the same 2 channels"
    ]
    assert [cut.channels for cut in possible_cuts(session, "any")[0]] == [(1, 2, 3, 4)]
    smaller = compact_model(session, "any", seconds=0)
    assert smaller.shapes["head.weight"] == (10, 60)
    assert smaller.difference <= TOLERANCE


def test_channels_that_nobody_reads_go_too() -> None:
    session = Session(demo_source("mlp"))
    prune(session, "fc2", dim=1, amount=10)
    smaller = compact_model(session, seconds=0)
    assert smaller.shapes["fc1.weight"] == (118, 64)
    assert smaller.difference <= TOLERANCE


def test_hidden_units_of_an_lstm() -> None:
    session = Session(demo_source("lstm"))
    units = [0, 5, 63]
    rows = gate_rows(session.source.module.lstm, units)
    assert rows == [0, 5, 63, 64, 69, 127, 128, 133, 191, 192, 197, 255]
    prune(session, "lstm.weight_ih_l0", amount=0, prune_channels=tuple(rows))
    assert possible_cuts(session) == ([], {}), "rows of one matrix alone are no units"
    prune(session, "lstm.weight_hh_l0", amount=0, prune_channels=tuple(rows))
    smaller = compact_model(session, seconds=0)
    assert smaller.cuts[0].sentence == "lstm loses 3 hidden units"
    assert smaller.shapes["lstm.weight_hh_l0"] == (4 * 61, 61)
    assert smaller.shapes["head.weight"] == (10, 61)
    assert smaller.difference <= TOLERANCE


@pytest.mark.parametrize("kind", [nn.GRU, nn.RNN])
def test_other_recurrent_layers(kind: type[nn.RNNBase]) -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = kind(3, 6, batch_first=True)
            self.head = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(x)[1][0])

    torch.manual_seed(0)
    model = Reader()
    rows = gate_rows(model.rnn, [1, 4])
    with torch.no_grad():
        model.rnn.weight_ih_l0[rows] = 0
        model.rnn.weight_hh_l0[rows] = 0
    smaller = compact_model(Session(module_source(model, example=torch.randn(5, 7, 3))), seconds=0)
    assert smaller.model.rnn.hidden_size == 4
    assert smaller.difference <= TOLERANCE


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.down: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.down = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.down(x))


def resnet18(width: int = 64) -> nn.Sequential:
    """ResNet-18: K. He et al., "Deep residual learning for image recognition", CVPR 2016."""
    torch.manual_seed(0)
    stem = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    widths = [width, width, 2 * width, 4 * width, 8 * width]
    blocks = [
        block
        for stage in range(4)
        for block in (
            Block(widths[stage], widths[stage + 1], 1 if stage == 0 else 2),
            Block(widths[stage + 1], widths[stage + 1], 1),
        )
    ]
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, 10))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return model.eval()


def test_a_resnet_18() -> None:
    model = resnet18(16)
    session = Session(module_source(model, example=torch.randn(8, 3, 32, 32)))
    prune(session, *(f"{block}.conv1" for block in range(4, 12)))
    prune(session, "0", "4.conv2", "5.conv2", amount=0, prune_channels=(0, 3, 7))
    smaller = compact_model(session, seconds=0)
    assert smaller.difference <= TOLERANCE
    assert smaller.shapes["0.weight"] == (13, 3, 7, 7)
    assert smaller.shapes["11.conv1.weight"] == (64, 128, 3, 3)
    assert {cut.sentence for cut in smaller.cuts} >= {"0, 4.conv2 and 5.conv2 lose the same 3 channels"}


REFUSED = {
    "layer norm": ("vit", "blocks.1.attention.proj", "its channels go into blocks.0.norm1, a LayerNorm"),
    "heads": ("vit", "blocks.1.attention.qkv", "(of attention, heads go whole)"),
    "answers": ("mlp", "head", "its channels are what the model answers"),
}


@pytest.mark.parametrize(("key", "layer", "why"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_cut_says_why(key: str, layer: str, why: str) -> None:
    session = Session(demo_source(key))
    prune(session, layer, amount=4)
    history = session.history
    with pytest.raises(RequestError, match=r"^`compact_model` has nothing to cut out") as caught:
        compact_model(session)
    assert why in str(caught.value)
    assert session.history is history


def test_a_channel_that_is_not_silent_behind_a_function_is_not_cut() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    session = Session(module_source(model, example=torch.randn(5, 4)))
    prune(session, "0", "2", amount=2)
    smaller = compact_model(session, seconds=0)
    assert [cut.layer for cut in smaller.cuts] == ["2"]
    assert "without them the model answers differently" in smaller.refused["0"]


def test_unpruned_uninstalled_and_unrunnable(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(demo_source("mlp"))
    with pytest.raises(RequestError, match="no whole channel is pruned; prune with method 'ln_structured'"):
        compact_model(session)
    with pytest.raises(RequestError, match="`coupled` must be 'same' or 'any', got 'all'"):
        compact_model(session, "all")
    with pytest.raises(RequestError, match="needs `data` or `example`"):
        compact_model(Session(module_source(nn.Linear(3, 2))))

    def missing(_name: str) -> None:
        raise ImportError

    monkeypatch.setattr(graph.importlib, "import_module", missing)
    with pytest.raises(RequestError, match=r"pip install 'prunescope\[remove\]'"):
        compact_model(session)


def test_it_is_saved_and_rebuilt_from_the_original_class(tmp_path: Path) -> None:
    session = Session(demo_source("cnn"))
    prune(session, "stem", "block1.conv2", amount=0, prune_channels=(1, 2))
    prune(session, "block2.conv1")
    smaller = compact_model(session, seconds=0)
    weights, script = smaller.save(tmp_path / "small.safetensors")
    inputs = session.source.inputs[0][:4]
    found = importlib.util.spec_from_file_location("small", script)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    for make in (rebuild, module.rebuild):
        again = make(NETWORKS["cnn"](), weights).eval()
        assert torch.equal(again(inputs), smaller.model(inputs))
        assert (again.stem.out_channels, again.norm.num_features) == (30, 30)
    with pytest.raises(RequestError, match="exists: pass `overwrite=True`"):
        smaller.save(weights)


def test_it_says_what_it_knows_as_it_comes() -> None:
    session = Session(demo_source("mlp"))
    prune(session, "fc1")
    seen = [each for each in compacting(session, seconds=0, examples=8) if isinstance(each, CompactModel)]
    assert seen[0].latency is None
    assert seen[-1].latency.examples == 8
    assert seen[-1].latency.before.low <= seen[-1].latency.before.median <= seen[-1].latency.before.high
    assert seen[-1].sentences[0] == "fc1 loses 64 channels."


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.from_numpy(self.first(x).detach().relu().numpy()))


def test_a_graph_that_cannot_be_followed_is_a_sentence_and_nothing_is_lost() -> None:
    session = Session(module_source(Untraceable(), example=torch.randn(5, 4)))
    prune(session, "first", amount=2)
    history, before = session.history, state(session.source.module)
    with pytest.raises(RequestError, match=r"^`compact_model` "):
        compact_model(session, seconds=0)
    assert session.history is history
    assert all(torch.equal(value, before[name]) for name, value in session.source.module.state_dict().items())


class Hungry(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().forward(x)


def test_out_of_memory_is_a_sentence() -> None:
    model = Hungry(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    session = Session(module_source(model, example=torch.randn(2, 4)))
    prune(session, "0", amount=2)
    assert compact_model(session, seconds=0, examples=2).difference <= TOLERANCE
    for asked, name in ((compacting(session), "compact_model"), (staircase(session, "0"), "staircase")):
        with pytest.raises(RequestError, match=f"`{name}` ran out of memory: give fewer `examples`"):
            list(asked)


@pytest.mark.parametrize(
    ("ratio", "noisy"),
    [((1.9, 2.0, 2.1), False), ((0.9, 1.2, 1.3), True), ((1.5, 2.0, 2.6), True), ((0.4, 0.5, 0.6), False)],
)
def test_latency_that_is_too_noisy_says_so(ratio: tuple[float, float, float], noisy: bool) -> None:
    found = Latency(Quartiles(2, 2, 2), Quartiles(1, 1, 1), Quartiles(*ratio), 64)
    assert found.is_noisy is noisy
    assert ("too noisy to say" in found.in_words) is noisy
