"""One prunable tensor of a model: its name, its shape, and what its axes mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from prunescope.prune.masking import where_kept

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
KERNEL = {
    1: ("kernel",),
    2: ("kernel rows", "kernel columns"),
    3: ("kernel depth", "kernel rows", "kernel columns"),
}
"""What the axes of a kernel count, by the number of axes."""


def axis_names(module: nn.Module, name: str, ndim: int) -> tuple[str, ...]:
    """Return what each axis of ``module``'s parameter ``name`` counts, in the plural.

    Args:
        module: The layer that owns the parameter.
        name: The parameter's name in ``module``, such as ``"weight"``.
        ndim: Number of axes of the parameter.

    Returns:
        ``ndim`` names; ``"axis 0"`` and so on for layer types that are not known.

    Example:
        >>> axis_names(nn.ConvTranspose2d(3, 8, 5), "weight", 4)
        ('input channels', 'output channels', 'kernel rows', 'kernel columns')
    """
    # The tensors that torch's older weight and spectral norm keep have the axes of the weight.
    names = _known_axis_names(module, "weight" if name in ("weight_v", "weight_orig") else name)
    if len(names) == ndim:
        return names
    return tuple(f"axis {i}" for i in range(ndim))


def _known_axis_names(module: nn.Module, name: str) -> tuple[str, ...]:
    if isinstance(module, nn.RNNBase):
        return recurrent_axis_names(module.mode, name)
    if isinstance(module, nn.RNNCellBase):
        return recurrent_axis_names(type(module).__name__.removesuffix("Cell"), f"{name}_l0")
    if isinstance(module, nn.MultiheadAttention):
        return _attention_axis_names(name)
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return ("vocabulary entries", "embedding features")
    if isinstance(module, nn.Bilinear):
        return (
            ("output features", "features of input 1", "features of input 2")
            if name == "weight"
            else ("output features",)
        )
    if isinstance(module, nn.Linear):
        return ("output features", "input features") if name == "weight" else ("output features",)
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return ("features",)
    if isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED)):
        return _convolution_axis_names(module, name)
    return ("channels",)


def _convolution_axis_names(module: nn.Module, name: str) -> tuple[str, ...]:
    assert isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED))
    if name != "weight":
        return ("output channels",)
    grouped = module.groups > 1
    kernel = KERNEL[len(module.kernel_size)]
    if isinstance(module, _TRANSPOSED):
        return ("input channels", "output channels in a group" if grouped else "output channels", *kernel)
    return ("output channels", "input channels in a group" if grouped else "input channels", *kernel)


def recurrent_axis_names(mode: str, name: str) -> tuple[str, ...]:
    """Return what each axis of a recurrent layer's parameter counts, in the plural.

    Args:
        mode: ``"LSTM"``, ``"GRU"``, or any other for a plain recurrent layer.
        name: The parameter's name in the layer, such as ``"weight_ih_l0"``.

    Example:
        >>> recurrent_axis_names("LSTM", "weight_hh_l0")
        ('gates × hidden', 'hidden units')
    """
    rows = {"LSTM": "gates × hidden", "GRU": "gates × hidden"}.get(mode, "hidden units")
    if name.startswith("weight_hr"):
        return ("projected units", "hidden units")
    if name.startswith("weight_ih"):
        return (rows, "input features" if name.startswith("weight_ih_l0") else "features of the layer below")
    if name.startswith("weight_hh"):
        return (rows, "hidden units")
    return (rows,)


def _attention_axis_names(name: str) -> tuple[str, ...]:
    if name == "in_proj_weight":
        return ("query, key, value features", "embedding features")
    if name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
        return ("embedding features", "input features")
    return ("query, key, value features",) if name == "in_proj_bias" else ()


class StoredValues(Protocol):
    """The values of a tensor that is not in memory: their shape, and a way to read them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the tensor."""

    def read(self) -> Tensor:
        """Read the values."""


@dataclass(frozen=True, eq=False)
class PrunableTensor:
    """One parameter of a model that can be pruned.

    Attributes:
        name: Full name in the model, such as ``"features.0.weight"``.
        layer_type: Class name of the layer that owns it, such as ``"Conv2d"``.
        data: The unmasked tensor, detached; it shares memory with the model and is never written. Or where to
            read it from.
        axes: What each axis counts, in the plural, one per axis of the weight.
        default_mask: Boolean tensor of the weight's shape, True where earlier steps kept; None if unpruned.
        detail: How the values are stored in a file, such as ``"bfloat16"``, or "".
    """

    name: str
    layer_type: str
    data: Tensor | StoredValues = field(repr=False)
    axes: tuple[str, ...]
    default_mask: Tensor | None = field(default=None, repr=False)
    detail: str = ""

    @property
    def weight(self) -> Tensor:
        """Return the unmasked tensor, reading it now if it is not in memory.

        Raises:
            RequestError: It cannot be read.
        """
        return self.data if isinstance(self.data, Tensor) else self.data.read()

    @property
    def in_memory(self) -> bool:
        """Return whether the values are already in memory."""
        return isinstance(self.data, Tensor)

    @property
    def kind(self) -> str:
        """The layer's type, torch's public class name last: "Conv2d", "likely LSTM"."""
        return self.layer_type

    @property
    def device(self) -> torch.device:
        """Return the device of the values; what is read from a file is on the CPU."""
        return self.data.device if isinstance(self.data, Tensor) else torch.device("cpu")

    @property
    def effective(self) -> Tensor:
        """Return the masked weight, zero where earlier steps pruned: what torch ranks next."""
        return self.weight if self.default_mask is None else where_kept(self.default_mask, self.weight)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the tensor."""
        return tuple(self.data.shape)

    @property
    def size(self) -> int:
        """How many weights it holds."""
        return math.prod(self.shape)

    @property
    def label(self) -> str:
        """Return the tensor's label in a list: name, shape and layer type.

        Example:
            >>> PrunableTensor("fc.weight", "Linear", torch.zeros(3, 4), ("outputs", "inputs")).label
            'fc.weight · 3×4 · Linear'
        """
        detail = f" · {self.detail}" if self.detail else ""
        return f"{self.name} · {self.shape_text} · {self.layer_type}{detail}"

    @property
    def shape_text(self) -> str:
        """Return the shape as text, such as ``"64×32×3×3"``."""
        return "×".join(str(size) for size in self.shape)

    def axis(self, dim: int) -> str:
        """Return what axis ``dim`` counts, in the plural, such as ``"output channels"``."""
        return self.axes[dim]

    def dim_label(self, dim: int) -> str:
        """Return the label of axis ``dim`` in a list, such as ``"0 · output channels (64)"``."""
        return f"{dim} · {self.axes[dim]} ({self.shape[dim]:,})"

    def units(self, dim: int | None) -> int:
        """Return how many units remain to be pruned.

        Args:
            dim: The channel axis; None if every weight is a unit.

        Returns:
            The number of weights kept so far, or of channels with any weight kept.
        """
        if self.default_mask is None:
            return math.prod(self.shape) if dim is None else self.shape[dim]
        if dim is None:
            return int(self.default_mask.count_nonzero())
        return int(self.default_mask.movedim(dim, 0).flatten(1).any(dim=1).count_nonzero())


def mask_so_far(tensor: PrunableTensor) -> Tensor:
    """Return the boolean mask of ``tensor`` after all earlier steps, True where kept."""
    if tensor.default_mask is not None:
        return tensor.default_mask
    return torch.ones(tensor.shape, dtype=torch.bool, device=tensor.device)
