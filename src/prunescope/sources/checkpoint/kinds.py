"""Guess the kind of layer a tensor belongs to: from its name, its neighbours, and only then its shape.

A guess begins with "likely". Torch's own parameter names need no guess; if nothing helps, a tensor is called
a tensor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from prunescope.core.tensor import KERNEL, recurrent_axis_names

_EMBEDDING = re.compile(r"(^|[._])(\w*embed\w*|emb|wte|wpe|token_type|vocab\w*)([._]|$)", re.IGNORECASE)
_POSITION = re.compile(r"(^|[._])(pos|position|wpe)", re.IGNORECASE)
_RECURRENT = re.compile(r"weight_([ih]h|hr)(_l\d+(_reverse)?)?")
_ATTENTION = {
    "in_proj_weight": ("query, key, value features", "embedding features"),
    "q_proj_weight": ("embedding features", "input features"),
    "k_proj_weight": ("embedding features", "input features"),
    "v_proj_weight": ("embedding features", "input features"),
}
_TRANSPOSED = re.compile(
    r"up\d*|\w*deconv\w*|\w*conv_?trans\w*|\w*transposed?_?conv\w*|(up_?)?t_?conv\d*", re.IGNORECASE
)
_CONVOLUTION = re.compile(r"conv", re.IGNORECASE)
_DEPTHWISE = re.compile(r"(^|[._])(dw|dwise|dw_?conv|conv_?dw|depth_?wise\w*)\d*([._]|$)", re.IGNORECASE)
_NO_CONVOLUTION = re.compile(r"expert|lora|codebook", re.IGNORECASE)
_CONV1D_OF_TRANSFORMERS = re.compile(r"(^|\.)c_(attn|proj|fc)$")
_MODES = {4: "LSTM", 3: "GRU", 1: "RNN"}
_LONGEST_KERNEL = 64
_TRANSPOSED_AXES = ("input channels", "output channels")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Kind:
    """The kind of a layer, known or guessed.

    Attributes:
        name: Such as ``"likely Linear"``, or ``"LSTM"`` if names are certain; ``"tensor"`` if unknown.
        axes: What each axis counts, in the plural.
    """

    name: str
    axes: tuple[str, ...]


def likely_kind(name: str, shapes: Shapes) -> Kind:
    """Guess what the tensor ``name`` is.

    Args:
        name: A tensor of two axes or more is guessed; vectors are channels of something.
        shapes: The shapes of all tensors of the checkpoint, in order: a bias shows which axis is the output,
            and so does the norm that follows.

    Example:
        >>> likely_kind("conv.weight", {"conv.weight": (8, 3, 5, 5)}).axes
        ('output channels', 'input channels', 'kernel rows', 'kernel columns')
        >>> likely_kind("h.0.mlp.weight", {"h.0.mlp.weight": (4, 8), "h.0.mlp.bias": (8,)}).axes
        ('input features', 'output features')
    """
    shape, own = shapes[name], name.rpartition(".")[2]
    if len(shape) == 1:
        return Kind("vector", ("channels",))
    if len(shape) == 2:
        return _matrix(name, own, shapes)
    if len(shape) == 3 and "bilinear" in name.lower() and own == "weight":
        return Kind("likely Bilinear", ("output features", "features of input 1", "features of input 2"))
    if len(shape) in (3, 4, 5) and _is_kernel(name, shape, shapes):
        return _convolution(name, shape, shapes)
    return _tensor(shape)


def _tensor(shape: tuple[int, ...]) -> Kind:
    return Kind("tensor", tuple(f"axis {axis}" for axis in range(len(shape))))


def _is_kernel(name: str, shape: tuple[int, ...], shapes: Shapes) -> bool:
    if _NO_CONVOLUTION.search(name):
        return False
    said = _CONVOLUTION.search(name) or _TRANSPOSED.fullmatch(_layer(name))
    return bool(said) or max(shape[2:]) <= _LONGEST_KERNEL


def _convolution(name: str, shape: tuple[int, ...], shapes: Shapes) -> Kind:
    kernel = KERNEL[len(shape) - 2]
    if _is_transposed(name, shape, shapes):
        bias = _channels_after(name, shapes)
        grouped = bias is not None and bias != shape[1]
        axes = ("input channels", "output channels in a group" if grouped else "output channels")
        return Kind(f"likely ConvTranspose{len(kernel)}d", (*axes, *kernel))
    inputs = "input channels in a group" if _is_depthwise(name, shape, shapes) else "input channels"
    return Kind(f"likely Conv{len(kernel)}d", ("output channels", inputs, *kernel))


def _is_transposed(name: str, shape: tuple[int, ...], shapes: Shapes) -> bool:
    """Return whether axis 0 counts inputs, judged by the outputs or else by the layer's name."""
    after = _channels_after(name, shapes)
    if after and after != shape[0]:  # A bias may be empty, in a damaged file.
        return after % shape[1] == 0 and shape[0] % (after // shape[1]) == 0
    return bool(_TRANSPOSED.fullmatch(_layer(name)))


def _channels_after(name: str, shapes: Shapes) -> int | None:
    """Return the output channels of the layer of ``name``, from its bias or the norm that follows."""
    bias = _bias(name, shapes)
    if len(bias) == 1:
        return bias[0]
    layer = name.rpartition(".")[0]
    parent, _, number = layer.rpartition(".")
    if not number.isdigit():
        return None
    following = f"{parent}.{int(number) + 1}".removeprefix(".")
    norm = shapes.get(f"{following}.running_mean", ())
    return norm[0] if len(norm) == 1 else None


def _is_depthwise(name: str, shape: tuple[int, ...], shapes: Shapes) -> bool:
    """Return whether the convolution is depthwise, by its name or by layers of the same width around it."""
    if shape[1] != 1 or shape[0] == 1:
        return False
    if _DEPTHWISE.search(name):
        return True
    kernels = [other for other in shapes if len(shapes[other]) == len(shape)]
    return name != kernels[0] and any(
        shapes[other][0] == shape[0] for other in kernels[: kernels.index(name)]
    )


def _matrix(name: str, own: str, shapes: Shapes) -> Kind:
    shape = shapes[name]
    if _RECURRENT.fullmatch(own):
        return _recurrent(name, own, shapes)
    if own in _ATTENTION:
        return Kind("MultiheadAttention", _ATTENTION[own])
    if _EMBEDDING.search(name.removesuffix(".weight")) and not _bias(name, shapes):
        entries = "positions" if _POSITION.search(name) else "vocabulary entries"
        return Kind("likely Embedding", (entries, "embedding features"))
    if _bias_is_second(name, shape, shapes) or _is_square_conv1d(name, shapes):
        return Kind("likely Linear, transposed", ("input features", "output features"))
    return Kind("likely Linear", ("output features", "input features"))


def _recurrent(name: str, own: str, shapes: Shapes) -> Kind:
    """Return the recurrent layer of torch that has a parameter ``own``; its width shows in a projection."""
    layer, of_cell = name.removesuffix(own), "_l" not in own
    ending = "" if of_cell else own[own.index("_l") :]
    hidden = shapes.get(f"{layer}weight_hh{ending}", (0, 0))
    projection = shapes.get(f"{layer}weight_hr{ending}", ())
    width = projection[1] if len(projection) == 2 else hidden[1]
    mode = _MODES.get(hidden[0] // width if width and hidden[0] % width == 0 else 0)
    if mode is None:
        return _tensor(shapes[name])
    axes = recurrent_axis_names(mode, own if not of_cell else f"{own}_l0")
    return Kind(f"{mode}Cell" if of_cell else mode, axes)


def _layer(name: str) -> str:
    """Return the last part of the layer's name that is not a number."""
    parts = [part for part in name.split(".")[:-1] if not part.isdigit()]
    return parts[-1] if parts else ""


def _bias(name: str, shapes: Shapes) -> tuple[int, ...]:
    prefix, _, own = name.rpartition(".")
    return shapes.get(f"{prefix}.{own.replace('weight', 'bias')}" if prefix else "bias", ())


def _bias_is_second(name: str, shape: tuple[int, ...], shapes: Shapes) -> bool:
    bias = _bias(name, shapes)
    return len(bias) == 1 and bias[0] == shape[1] != shape[0]


def _is_square_conv1d(name: str, shapes: Shapes) -> bool:
    """Return whether a square ``name`` is a transposed layer of GPT-2, like its neighbour in the block."""
    layer = name.removesuffix(".weight")
    if shapes[name][0] != shapes[name][1] or not _CONV1D_OF_TRANSFORMERS.search(layer):
        return False
    block = layer.rpartition(".")[0]
    others = (f"{block}.c_{other}.weight" for other in ("attn", "fc"))
    return any(other in shapes and _bias_is_second(other, shapes[other], shapes) for other in others)
