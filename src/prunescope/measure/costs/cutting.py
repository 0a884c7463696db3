"""What cutting pruned channels out would save, compared with masking them; arithmetic only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from prunescope.measure.costs.flops import Flops
from prunescope.measure.costs.residual import CONVOLUTIONS, TRANSPOSED


@dataclass(frozen=True)
class Savings:
    """What smaller layers would save, counting only the layers that lose channels.

    Layers that read the channels shrink too, so the network saves more. Where outputs are added to others, as
    in a residual block, the same channels must be cut there too.

    Attributes:
        layers: Names of the layers that would be smaller.
        parameters: Parameters saved.
        flops: FLOPs saved per example; None if they are not counted.
    """

    layers: tuple[str, ...]
    parameters: int
    flops: int | None


def cut_out(model: nn.Module, masks: Mapping[str, Tensor], flops: Flops | None = None) -> Savings:
    """Compute what cutting out the whole channels that ``masks`` prune would save.

    Args:
        model: The network. Read, never written.
        masks: Boolean masks by full name without ``_orig``, True where kept.
        flops: Its FLOPs, if they are counted.

    Example:
        >>> import torch
        >>> mask = torch.ones(4, 3, dtype=torch.bool)
        >>> mask[0] = mask[:, 1] = False
        >>> cut_out(nn.Linear(3, 4), {"weight": mask})  # 3·4 + 4 numbers now, 2·3 + 3 then
        Savings(layers=('',), parameters=7, flops=None)
    """
    layers, parameters, operations = [], 0, 0
    for name, mask in masks.items():
        layer, _, own = name.rpartition(".")
        module = model.get_submodule(layer)
        if own != "weight" or not _can_be_cut(module):
            continue
        kept = mask.flatten(2).any(2) if mask.ndim > 2 else mask
        rows, columns = int(kept.any(1).sum()), int(kept.any(0).sum())
        smaller = rows * columns * (mask.numel() // kept.numel())
        if smaller == mask.numel():
            continue
        outputs = kept.shape[1] - columns if isinstance(module, TRANSPOSED) else len(kept) - rows
        layers.append(layer)
        parameters += mask.numel() - smaller + (outputs if module.bias is not None else 0)
        if flops is not None:
            operations += round(flops.layers.get(layer, 0) * (1 - smaller / mask.numel()))
    return Savings(tuple(layers), parameters, operations if flops is not None else None)


def _can_be_cut(module: nn.Module) -> bool:
    """Return whether rows and columns of the layer's weight are channels that can be cut one by one."""
    grouped = getattr(module, "groups", 1) > 1
    return isinstance(module, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)) and not grouped
