"""The layers of a network as rules see them: units in the order they are pruned, and what each removes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunescope.core.counting import count_true
from prunescope.core.criteria import parse_criterion
from prunescope.core.errors import RequestError
from prunescope.core.preview import rank
from prunescope.core.resolve import resolve
from prunescope.core.spec import FIELDS, METHODS, PruneSpec
from prunescope.core.tensor import PrunableTensor, mask_so_far
from prunescope.measure.importance import ensure_scores
from prunescope.prune import Ranking
from prunescope.prune.masking import where_kept
from prunescope.session import Session


@dataclass(frozen=True, eq=False)
class Layer:
    """One prunable tensor, and the order in which a method prunes its units.

    Attributes:
        tensor: The tensor, with earlier steps applied.
        spec: Method, norm, axis and seed; its amount is not used.
        units: How many units can be pruned.
        problem: Why this method cannot prune it on its own, in one sentence; "" if it can.
        importance: Scores that are ranked in place of the weights; None ranks the weights.
    """

    tensor: PrunableTensor
    spec: PruneSpec
    units: int
    problem: str = ""
    importance: Tensor | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Return the full name of the parameter."""
        return self.tensor.name

    @property
    def dim(self) -> int:
        """Return the axis that numbers its channels."""
        return self.spec.channel_dim(self.tensor)

    @property
    def structured(self) -> bool:
        """Return whether its units are channels."""
        return METHODS[self.spec.method].structured

    @property
    def weights(self) -> int:
        """Return how many weights the tensor holds, pruned or not."""
        return math.prod(self.tensor.shape)

    @cached_property
    def pruned_before(self) -> int:
        """Return how many of its weights earlier steps have pruned."""
        mask = self.tensor.default_mask
        return 0 if mask is None else mask.numel() - count_true(mask)

    @cached_property
    def ranking(self) -> Ranking:
        """Rank its units in the order in which the method prunes them.

        Raises:
            RequestError: Its scores are not finite, or its file cannot be read.
        """
        try:
            scores = {} if self.importance is None else {self.name: self.importance}
            ranking = rank(self.spec, [self.tensor], scores)
        except ValueError as error:
            raise RequestError("layer", _unranked(self.name, error)) from error
        assert isinstance(ranking, Ranking)  # `layers_of` has refused methods that rank groups.
        return ranking

    def mask(self, pruned: int) -> Tensor:
        """Return the boolean mask after pruning ``pruned`` units, True where kept."""
        return self.ranking.mask(pruned) if pruned else mask_so_far(self.tensor)

    def masked(self, pruned: int) -> Tensor:
        """Return the weight with zeros in ``pruned`` units and wherever earlier steps pruned."""
        mask = self.mask(pruned).to(self.tensor.device)
        return where_kept(mask, self.tensor.weight)

    def kept_channels(self, pruned: int) -> Tensor | None:
        """Return which output channels are left when so many go; None where units are none of these."""
        if not self.structured or self.spec.axis % len(self.tensor.shape) != 0:
            return None
        return self.mask(pruned).flatten(1).any(1)

    def removed(self, pruned: int) -> int:
        """Return how many weights ``pruned`` units remove, not counting those already pruned."""
        return int(self.weights_by_units[pruned]) if self.structured else pruned

    @cached_property
    def weights_by_units(self) -> NDArray[np.int64]:
        """Return how many weights are removed with 0, 1, 2 … units, of shape ``(units + 1,)``."""
        mask = self.tensor.default_mask
        if mask is None or not self.structured:
            each = self.weights // max(self.units, 1) if self.structured else 1
            return np.arange(self.units + 1, dtype=np.int64) * each
        kept = mask.movedim(self.dim, 0).flatten(1).sum(1)
        order = self.ranking.scores.argsort(stable=True)
        gone = kept[kept > 0][order.to(kept.device)].cumsum(0).cpu().numpy()
        return np.concatenate([np.zeros(1, np.int64), gone])

    def with_amount(self, pruned: int) -> PruneSpec:
        """Return the spec that prunes ``pruned`` of its units."""
        return replace(self.spec, amount=int(pruned))


def layers_of(session: Session, spec: PruneSpec, names: Iterable[str] | None = None) -> tuple[Layer, ...]:
    """Return the layers of a session with its steps applied.

    Args:
        session: The session.
        spec: Method, norm, axis, seed and criterion for all layers; missing scores are computed first.
        names: Full parameter names; None means all tensors with two or more axes, in the model's order.

    Raises:
        RequestError: The method ranks tensors together, a value of the spec is invalid, or its criterion
            cannot be computed.

    Example:
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> session = Session(module_source(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))))
        >>> [layer.units for layer in layers_of(session, PruneSpec("", "ln_structured"))]
        [3, 2]
    """
    method = METHODS.get(spec.method)
    if method is None or not method.ranks_a_layer:
        allowed = ", ".join(key for key, each in METHODS.items() if each.ranks_a_layer)
        raise RequestError(
            "method", f"`method` must be one that ranks a layer as a whole: {allowed}; got {spec.method!r}."
        )
    if method.takes_scores:
        ensure_scores(session, parse_criterion(spec.criterion))
    return tuple(_layer(session, spec, name) for name in names or pool_names(session))


def pool_names(session: Session) -> list[str]:
    """Return the full names of the tensors with two or more axes; of all tensors if there are none."""
    return pool_of(session.tensors)


def pool_of(tensors: Mapping[str, PrunableTensor]) -> list[str]:
    """Return the names of the tensors with two or more axes; of all tensors if there are none."""
    names = [name for name, tensor in tensors.items() if len(tensor.shape) > 1]
    return names or list(tensors)


def _layer(session: Session, spec: PruneSpec, name: str) -> Layer:
    tensor = session.tensor(name)
    asked = replace(spec, layer=tensor.name, amount=0)
    try:
        resolved = resolve(asked, tensor, asked=FIELDS)
        reason = session.criteria.why_not(resolved.spec)
        if reason:
            return Layer(tensor, asked, 0, reason)
        scores = session.criteria.importance(resolved.spec, [tensor])
    except RequestError as error:
        if error.parameter in ("seed", "amount"):
            raise
        return Layer(tensor, asked, 0, str(error))
    return Layer(tensor, resolved.spec, resolved.units, importance=scores.get(tensor.name))


def _unranked(name: str, error: ValueError) -> str:
    return f"`layer` {name} cannot be ranked: {str(error).rstrip('.')}."


def masks_of(layers: Sequence[Layer], pruned: Sequence[int] | NDArray[Any]) -> dict[str, Tensor]:
    """Return the mask of every layer that loses any units, by full name."""
    pairs = zip(layers, pruned, strict=True)
    return {layer.name: layer.mask(int(count)) for layer, count in pairs if count}


def energy(layer: Layer, pruned: int) -> float:
    """Return the share of the layer's squared weights that pruning ``pruned`` units removes, in [0, 1]."""
    weight = layer.tensor.effective.detach().double()
    whole = float((weight * weight).sum())
    kept = torch.where(layer.mask(pruned).to(weight.device), weight, 0.0)
    return 1.0 - float((kept * kept).sum()) / whole if whole else 0.0
