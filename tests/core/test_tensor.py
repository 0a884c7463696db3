import pytest
import torch
from torch import nn

from prunescope.core.tensor import PrunableTensor, axis_names

KERNEL = ("kernel rows", "kernel columns")


@pytest.mark.parametrize(
    ("module", "name", "axes"),
    [
        (nn.Linear(2, 3), "weight", ("output features", "input features")),
        (nn.Linear(2, 3), "bias", ("output features",)),
        (nn.Conv1d(2, 4, 3), "weight", ("output channels", "input channels", "kernel")),
        (nn.Conv2d(2, 4, 3), "weight", ("output channels", "input channels", *KERNEL)),
        (nn.Conv2d(4, 4, 3, groups=2), "weight", ("output channels", "input channels in a group", *KERNEL)),
        (nn.ConvTranspose2d(2, 4, 3), "weight", ("input channels", "output channels", *KERNEL)),
        (
            nn.ConvTranspose2d(4, 4, 3, groups=2),
            "weight",
            ("input channels", "output channels in a group", *KERNEL),
        ),
        (nn.Conv3d(1, 2, 3), "bias", ("output channels",)),
        (nn.LSTM(2, 3, proj_size=2), "weight_ih_l0", ("gates × hidden", "input features")),
        (nn.LSTM(2, 3, 2), "weight_ih_l1", ("gates × hidden", "features of the layer below")),
        (nn.LSTM(2, 3, proj_size=2), "weight_hr_l0", ("projected units", "hidden units")),
        (nn.RNN(2, 3), "weight_hh_l0", ("hidden units", "hidden units")),
        (nn.Embedding(5, 3), "weight", ("vocabulary entries", "embedding features")),
        (nn.Bilinear(2, 3, 4), "weight", ("output features", "features of input 1", "features of input 2")),
        (
            nn.MultiheadAttention(4, 2),
            "in_proj_weight",
            ("query, key, value features", "embedding features"),
        ),
        (nn.BatchNorm2d(3), "weight", ("channels",)),
        (nn.LayerNorm((2, 3)), "weight", ("axis 0", "axis 1")),
    ],
    ids=str,
)
def test_axes_are_named_by_what_they_count(module: nn.Module, name: str, axes: tuple[str, ...]) -> None:
    assert axis_names(module, name, module.get_parameter(name).ndim) == axes


def test_labels() -> None:
    tensor = PrunableTensor("c.weight", "Conv2d", torch.zeros(64, 3, 5, 5), ("outs", "ins", *KERNEL))
    assert tensor.label == "c.weight · 64×3×5×5 · Conv2d"
    assert tensor.dim_label(0) == "0 · outs (64)"


def test_units_are_what_earlier_steps_left() -> None:
    mask = torch.tensor([[True, False, True], [False, False, False]])
    tensor = PrunableTensor("w", "Linear", torch.ones(2, 3), ("outs", "ins"), mask)
    assert (tensor.units(None), tensor.units(0), tensor.units(1)) == (2, 1, 2)
