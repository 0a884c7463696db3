"""Every kind of module: what its axes are called, and that pruning it gives what the engine gives."""

import copy

import pytest
import torch
import torch.nn.utils.prune as oracle
from torch import nn
from torch.nn.utils import parametrizations

from prunescope import explore, prune
from prunescope.core.errors import RequestError
from prunescope.core.spec import PruneSpec
from prunescope.export import pruned_model
from prunescope.session import Session
from prunescope.sources import module_source
from prunescope.sources.module import not_prunable


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(3, 4, 5))
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.index = nn.Parameter(torch.arange(3), requires_grad=False)
        self.phase = nn.Parameter(torch.randn(2, dtype=torch.complex64))
        self.gone = nn.Parameter(torch.randn(0, 3))


CONVOLUTION = ("output channels", "input channels", "kernel rows", "kernel columns")
MATRIX = ("output features", "input features")
KINDS = [
    (nn.Conv1d(4, 6, 3), "weight", ("output channels", "input channels", "kernel")),
    (nn.Conv2d(4, 6, 3), "weight", CONVOLUTION),
    (
        nn.Conv2d(4, 8, 3, groups=2),
        "weight",
        ("output channels", "input channels in a group", *CONVOLUTION[2:]),
    ),
    (
        nn.Conv2d(4, 4, 3, groups=4),
        "weight",
        ("output channels", "input channels in a group", *CONVOLUTION[2:]),
    ),
    (nn.Conv3d(2, 3, 2), "weight", (*CONVOLUTION[:2], "kernel depth", *CONVOLUTION[2:])),
    (nn.ConvTranspose1d(4, 6, 3), "weight", ("input channels", "output channels", "kernel")),
    (nn.ConvTranspose2d(4, 6, 3), "weight", ("input channels", "output channels", *CONVOLUTION[2:])),
    (
        nn.ConvTranspose2d(4, 6, 3, groups=2),
        "weight",
        ("input channels", "output channels in a group", *CONVOLUTION[2:]),
    ),
    (nn.Linear(5, 3), "weight", MATRIX),
    (nn.Embedding(7, 3), "weight", ("vocabulary entries", "embedding features")),
    (nn.LSTM(5, 4, 2), "weight_ih_l1", ("gates × hidden", "features of the layer below")),
    (nn.LSTM(5, 4, proj_size=3), "weight_hr_l0", ("projected units", "hidden units")),
    (nn.GRU(5, 4), "weight_hh_l0", ("gates × hidden", "hidden units")),
    (nn.LSTMCell(5, 4), "weight_ih", ("gates × hidden", "input features")),
    (nn.RNNCell(5, 4), "weight_hh", ("hidden units", "hidden units")),
    (nn.MultiheadAttention(8, 2), "in_proj_weight", ("query, key, value features", "embedding features")),
    (nn.MultiheadAttention(8, 2, kdim=5), "k_proj_weight", ("embedding features", "input features")),
    (nn.Bilinear(3, 4, 5), "weight", ("output features", "features of input 1", "features of input 2")),
    (Custom(), "basis", ("axis 0", "axis 1", "axis 2")),
    (nn.ParameterList([nn.Parameter(torch.randn(3, 3))]), "0", ("axis 0", "axis 1")),
    (parametrizations.spectral_norm(nn.Linear(5, 4)), "parametrizations.weight.original", MATRIX),
    (parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), "parametrizations.weight.original1", CONVOLUTION),
    (nn.Linear(5, 4).bfloat16(), "weight", MATRIX),
    (nn.Linear(5, 4).to(torch.float8_e4m3fn), "weight", MATRIX),
]


@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize(("model", "layer", "axes"), KINDS, ids=lambda value: type(value).__name__)
def test_a_kind_names_its_axes_and_is_pruned_as_the_engine_does(
    model: nn.Module, layer: str, axes: tuple[str, ...]
) -> None:
    before = copy.deepcopy(model.state_dict())
    session = Session(module_source(model))
    assert session.tensors[layer].axes == axes
    for method, amount in (("l1_unstructured", 0.5), ("ln_structured", 1)):
        session.apply(session.preview(session.resolve(PruneSpec(layer, method, amount, 2, 0))))
    ours = pruned_model(session, permanent=True)
    expected = copy.deepcopy(model)
    prefix, _, own = layer.rpartition(".")
    module = expected.get_submodule(prefix)
    prune.l1_unstructured(module, own, 0.5)
    prune.ln_structured(module, own, 1, 2, 0)
    prune.remove(module, own)
    for name, value in expected.state_dict().items():
        assert torch.equal(ours.state_dict()[name].float(), value.float()), name
    assert all(torch.equal(before[name].float(), value.float()) for name, value in model.state_dict().items())


def test_a_parametrized_layer_says_so() -> None:
    tensor = Session(module_source(parametrizations.spectral_norm(nn.Linear(5, 4)))).tensors
    assert tensor["parametrizations.weight.original"].layer_type == "Linear, parametrized"


@pytest.mark.parametrize("engine", [oracle, prune], ids=["torch", "ours"])
def test_pruning_of_before_is_an_earlier_step(engine: object) -> None:
    layer = nn.Linear(6, 4)
    engine.l1_unstructured(layer, "weight", 0.5)
    preview = explore(layer, amount=0.5)
    assert torch.equal(~preview.preview.pruned_earlier, layer.weight_mask.bool())
    assert preview.preview.units == 12
    preview.close()


def test_what_is_not_prunable_is_seen_with_its_reason() -> None:
    model = nn.ModuleDict({"<b>": Custom(), "emb": nn.Embedding(10, 4), "out": nn.Linear(4, 10, bias=False)})
    model["out"].weight = model["emb"].weight
    assert not_prunable(model) == {
        "<b>.scale": "is a single number",
        "<b>.index": "holds int64 numbers, not weights",
        "<b>.phase": "holds complex numbers",
        "<b>.gone": "is empty",
        "out.weight": "is tied to emb.weight, and pruned with it",
    }
    explorer = explore(model)
    shown = explorer.screen.caption.value
    assert "<summary>5 other tensors are not prunable</summary>" in shown
    assert "<li><b>&lt;b&gt;.scale</b> is a single number</li>" in shown
    with pytest.raises(RequestError, match=r": out\.weight is tied to emb\.weight, and pruned with it\.$"):
        explorer.layer = "out.weight"
    with pytest.raises(RequestError, match=r": out\.weight is tied to emb\.weight, and pruned with it\.$"):
        explorer.layer = "out"
    explorer.close()
