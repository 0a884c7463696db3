"""Where a tensor belongs, and what its layer is, for those who compute scores."""

from __future__ import annotations

from torch import nn

from prunescope.core.criteria import Importance

Found = dict[str, "Importance | str"]
"""By tensor its scores, or why it has none, such as ``"is not run"``."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def place(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the layer that has the parameter ``name``, and its name there."""
    prefix, _, own = name.rpartition(".")
    return model.get_submodule(prefix), own


def output_axis(module: nn.Module) -> int | None:
    """Return the axis of the weight that indexes output channels; None if there is none."""
    if isinstance(module, TRANSPOSED):
        return 1 if module.groups == 1 else None
    return 0


def owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the layer that the tensor ``name`` belongs to, and its name there, parametrized or not."""
    layer, mark, rest = name.partition(".parametrizations.")
    if mark:
        return model.get_submodule(layer), rest.partition(".")[0]
    return place(model, name)
