"""What names and neighbours tell of a layer: the same as the layer itself, or no more than a guess."""

from pathlib import Path

import pytest
from torch import nn

from prunescope.sources import prunable_tensors
from prunescope.sources.checkpoint import open_checkpoint
from prunescope.sources.checkpoint.kinds import likely_kind
from tests.support.checkpoint_files import torch_file


class Block(nn.Module):
    """A layer's usual place: under a name, between others."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)


MODELS = {
    "cells": Block(a=nn.LSTMCell(6, 5), b=nn.GRUCell(6, 5), c=nn.RNNCell(6, 5), d=nn.GRUCell(5, 5)),
    "recurrent": Block(
        a=nn.LSTM(6, 8, 2, proj_size=3), b=nn.GRU(3, 4, 2, bidirectional=True), c=nn.RNN(4, 4)
    ),
    "projected to its own width": Block(a=nn.LSTM(6, 8, proj_size=4)),
    "attention": Block(a=nn.MultiheadAttention(8, 2), b=nn.MultiheadAttention(8, 2, kdim=5, vdim=3)),
    "transposed": Block(deconv=nn.ConvTranspose2d(8, 4, 3, bias=False), up=nn.ConvTranspose2d(8, 8, 3)),
    "transposed, by its bias": Block(a=nn.ConvTranspose1d(8, 4, 3), b=nn.ConvTranspose3d(6, 8, 2, groups=2)),
    "transposed, by the norm behind": nn.Sequential(
        nn.ConvTranspose2d(9, 6, 4, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 1, bias=False)
    ),
    "grouped and transposed": Block(up=nn.ConvTranspose2d(8, 8, 3, groups=4)),
    "grouped and transposed, by the norm behind": nn.Sequential(
        nn.ConvTranspose2d(8, 12, 3, groups=4, bias=False), nn.BatchNorm2d(12)
    ),
    "upsampled": Block(upsample=nn.Conv2d(8, 8, 3), upconv=nn.Conv2d(8, 4, 3)),
    "long": Block(conv1=nn.Conv2d(1, 4, (512, 1)), conv2=nn.Conv1d(4, 4, 101)),
    "depthwise": Block(stem=nn.Conv2d(1, 8, 3), dw=nn.Conv2d(4, 4, 3, groups=4), pw=nn.Conv2d(4, 8, 1)),
    "mobile": nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1)),
    "bilinear": Block(bilinear=nn.Bilinear(3, 4, 5)),
}


@pytest.mark.parametrize("which", MODELS)
def test_a_file_names_the_axes_as_the_model_does(tmp_path: Path, which: str) -> None:
    model = MODELS[which]
    tensors, stored = (
        prunable_tensors(model),
        open_checkpoint(torch_file(tmp_path, model.state_dict())).tensors,
    )
    for name, tensor in tensors.items():
        if len(tensor.shape) > 1:
            assert stored[name].axes == tensor.axes, name
            assert tensor.layer_type.endswith(stored[name].layer_type.removeprefix("likely ")), name


@pytest.mark.parametrize("rows", [5, 7, 10])
def test_what_is_like_no_layer_is_a_tensor(rows: int) -> None:
    shapes = {"r.weight_ih_l0": (rows, 6), "r.weight_hh_l0": (rows, 5 if rows == 7 else 1)}
    assert likely_kind("r.weight_ih_l0", shapes).name == "tensor"


def test_only_a_guess_is_likely() -> None:
    shapes = {
        "a.weight_ih_l0": (8, 6),
        "a.weight_hh_l0": (8, 2),
        "b.weight": (8, 6),
        "c.in_proj_weight": (9, 3),
    }
    assert [likely_kind(name, shapes).name for name in shapes] == [
        "LSTM",
        "LSTM",
        "likely Linear",
        "MultiheadAttention",
    ]


def test_the_square_layers_of_gpt2_are_transposed_as_their_neighbours_are() -> None:
    for turned in (True, False):
        attention = (4, 12) if turned else (12, 4)
        shapes = {
            "h.0.attn.c_attn.weight": attention,
            "h.0.attn.c_attn.bias": (12,),
            "h.0.attn.c_proj.weight": (4, 4),
        }
        axes = ("input features", "output features")
        assert likely_kind("h.0.attn.c_proj.weight", shapes).axes == (axes if turned else axes[::-1])


def test_a_long_tensor_is_no_kernel_unless_its_name_says_so() -> None:
    assert likely_kind("table", {"table": (4, 2, 101)}).name == "tensor"
    assert likely_kind("conv2.weight", {"conv2.weight": (4, 2, 101)}).name == "likely Conv1d"
