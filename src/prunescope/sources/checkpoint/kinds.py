"""What kind of layer a tensor probably belongs to, told from its name, its shape and its neighbours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from prunescope.core.tensor import KERNEL, recurrent_axis_names

_EMBEDDING = re.compile(r"(^|[._])(\w*embed\w*|emb|wte|wpe|token_type|vocab\w*)([._]|$)", re.IGNORECASE)
_POSITION = re.compile(r"(^|[._])(pos|position|wpe)", re.IGNORECASE)
_RECURRENT = re.compile(r"weight_[ih]h_l\d+(_reverse)?$")
_MODES = {4: "LSTM", 3: "GRU", 1: "RNN"}
_LONGEST_KERNEL = 64


@dataclass(frozen=True)
class Kind:
    """A guess at a layer.

    Attributes:
        name: What it is likely to be, such as ``"likely Linear"``; plain ``"tensor"`` when nothing tells.
        axes: What each axis counts, in the plural.
    """

    name: str
    axes: tuple[str, ...]


def likely_kind(name: str, shapes: Mapping[str, tuple[int, ...]]) -> Kind:
    """Return what the tensor ``name`` is likely to be.

    Args:
        name: A tensor of two axes or more is guessed at; vectors are channels of something.
        shapes: The shapes of all tensors of the checkpoint: a bias tells which axis is the output.

    Example:
        >>> likely_kind("conv.weight", {"conv.weight": (8, 3, 5, 5)}).axes
        ('output channels', 'input channels', 'kernel rows', 'kernel columns')
        >>> likely_kind("h.0.mlp.weight", {"h.0.mlp.weight": (4, 8), "h.0.mlp.bias": (8,)}).axes
        ('input features', 'output features')
    """
    shape = shapes[name]
    if len(shape) == 1:
        return Kind("vector", ("channels",))
    if len(shape) == 2:
        return _matrix(name, shape, shapes)
    if len(shape) in (3, 4, 5) and max(shape[2:]) <= _LONGEST_KERNEL and "expert" not in name:
        return _convolution(name, shape, shapes)
    return Kind("tensor", tuple(f"axis {axis}" for axis in range(len(shape))))


def _convolution(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> Kind:
    kernel = KERNEL[len(shape) - 2]
    if _bias_is_second(name, shape, shapes):
        return Kind(f"likely ConvTranspose{len(kernel)}d", ("input channels", "output channels", *kernel))
    return Kind(f"likely Conv{len(kernel)}d", ("output channels", "input channels", *kernel))


def _matrix(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> Kind:
    own = name.rpartition(".")[2]
    if _RECURRENT.match(own):
        return _recurrent(name, own, shapes)
    if own == "in_proj_weight":
        return Kind("likely MultiheadAttention", ("query, key, value features", "embedding features"))
    if _EMBEDDING.search(name.removesuffix(".weight")) and not _bias(name, shapes):
        entries = "positions" if _POSITION.search(name) else "vocabulary entries"
        return Kind("likely Embedding", (entries, "embedding features"))
    if _bias_is_second(name, shape, shapes):
        return Kind("likely Linear, transposed", ("input features", "output features"))
    return Kind("likely Linear", ("output features", "input features"))


def _recurrent(name: str, own: str, shapes: Mapping[str, tuple[int, ...]]) -> Kind:
    hidden = shapes.get(f"{name.removesuffix(own)}{own.replace('_ih_', '_hh_')}", shapes[name])
    mode = _MODES.get(hidden[0] // max(hidden[1], 1), "RNN")
    return Kind(f"likely {mode}", recurrent_axis_names(mode, own))


def _bias(name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    prefix, _, own = name.rpartition(".")
    return shapes.get(f"{prefix}.{own.replace('weight', 'bias')}" if prefix else "bias", ())


def _bias_is_second(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    bias = _bias(name, shapes)
    return len(bias) == 1 and bias[0] == shape[1] != shape[0]
