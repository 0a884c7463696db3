"""Count a goal's unit: how much of it is removed by pruning a number of units of each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from prunescope.core.errors import RequestError
from prunescope.measure.costs.cutting import cut_out
from prunescope.measure.costs.flops import count_flops
from prunescope.measure.states import eval_copy
from prunescope.network.layers import Layer, pool_names
from prunescope.session import Session

Counts = NDArray[np.int64]
"""How many units of each layer to prune."""


@dataclass(frozen=True, eq=False)
class Tally:
    """A count that grows with every pruned unit and adds up over layers.

    Attributes:
        unit: The unit that is counted, as in ``GoalSpec.unit``.
        whole: The total count.
        before: How much of it earlier steps have pruned.
        curves: For each layer, how much 0, 1, 2 … pruned units remove; None means one per unit.
    """

    unit: str
    whole: float
    before: float
    curves: tuple[NDArray[Any] | None, ...]

    def gone(self, place: int, pruned: int) -> float:
        """Return how much ``pruned`` units of the layer at ``place`` remove."""
        curve = self.curves[place]
        return float(pruned if curve is None else curve[pruned])

    def total(self, counts: Sequence[int] | Counts) -> float:
        """Return how much ``counts`` units of the layers remove in total."""
        return sum(self.gone(place, int(count)) for place, count in enumerate(counts))

    def share(self, counts: Sequence[int] | Counts) -> float:
        """Return the share of the whole that is then removed, earlier steps included."""
        return (self.before + self.total(counts)) / self.whole if self.whole else 0.0

    def needed(self, target: float) -> float:
        """Return how much more must be removed to reach ``target``."""
        needed = target * self.whole - self.before
        return needed if self.unit == "flops" else float(math.ceil(round(needed, 6)))


def tally_of(session: Session, layers: Sequence[Layer], unit: str) -> Tally:
    """Return the tally of ``unit``; for ``file`` it counts weights, see `prunescope.network.files`.

    Raises:
        RequestError: ``unit`` is FLOPs, and there is no input to run the model on.
    """
    if unit == "flops":
        return _flops(session, layers)
    curves = tuple(layer.weights_by_units if layer.structured else None for layer in layers)
    if unit == "parameters":
        return Tally(unit, session.parameters, session.pruned_weights(session.applied), curves)
    whole = sum(math.prod(session.tensors[name].shape) for name in pool_names(session))
    masks = session.masks(session.applied)
    before = sum(int((~masks[name]).sum()) for name in pool_names(session) if name in masks)
    return Tally(unit, whole, before, curves)


def _flops(session: Session, layers: Sequence[Layer]) -> Tally:
    inputs = session.source.inputs
    if not session.source.can_run or inputs is None:
        raise RequestError(
            "unit", "`unit` flops are counted by running the model: give `data` or an `example` to run it on."
        )
    flops = count_flops(eval_copy(session), inputs)
    model = session.source.module
    before = cut_out(model, session.masks(session.applied), flops).flops or 0
    curves = tuple(_flops_curve(model, layer, flops.layers) for layer in layers)
    return Tally("flops", flops.total, before, curves)


def _flops_curve(model: nn.Module, layer: Layer, flops: Any) -> NDArray[np.float64]:
    """Return the FLOPs that 0, 1, 2 … pruned channels of a layer remove, as `cut_out` counts them."""
    path, _, own = layer.name.rpartition(".")
    dim = layer.dim % max(len(layer.tensor.shape), 1)
    nothing = np.zeros(layer.units + 1)
    if layer.problem or own != "weight" or dim > 1 or not cut_out_counts(model, layer):
        return nothing
    whole = flops.get(path, 0)
    rows, columns = layer.tensor.shape[:2]
    mask = layer.tensor.default_mask
    across = (columns, rows)[dim]
    if mask is not None:
        kept = mask.flatten(2).any(2) if mask.ndim > 2 else mask
        across = int(kept.any(dim).sum())
    left = np.arange(layer.units, -1, -1)
    share = left * across / (rows * columns)
    return np.asarray(whole * (share[0] - share), np.float64)


def cut_out_counts(model: nn.Module, layer: Layer) -> bool:
    """Return whether `cut_out` can count pruned channels of the layer."""
    if layer.units == 0:
        return False
    return bool(cut_out(model, {layer.name: layer.mask(1)}).layers)
