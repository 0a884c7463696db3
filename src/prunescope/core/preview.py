"""What pruning would do to one tensor: mask, norms, threshold, requested and achieved. Changes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from prunescope.core.channels import state_of, turned, with_hand
from prunescope.core.counting import count_true, kept_of_channels
from prunescope.core.criteria import CRITERIA
from prunescope.core.methods import METHODS, AnyRanking, Context, Method
from prunescope.core.reach import Reach
from prunescope.core.resolve import Resolved
from prunescope.core.scores import ChannelNorms, Scores, Take, wide
from prunescope.core.spec import PruneSpec
from prunescope.core.tensor import PrunableTensor, mask_so_far
from prunescope.core.text import norm_name
from prunescope.prune import Norm, channel_norms, units_to_prune


@dataclass(frozen=True, eq=False)
class Preview:
    """What a spec would do to its tensor.

    Attributes:
        spec: The resolved spec.
        tensor: The tensor it is about.
        mask: Boolean tensor of the weight's shape, True where this and all earlier steps keep.
        norms: Norms of the channels along `dim`.
        units: How many units there were to prune.
        pruned_units: How many units this step prunes, ``0 <= pruned_units <= units``, those pruned by hand
            included.
        threshold: Highest score that is pruned; None if nothing is pruned or scores are random.
        chosen: The mask as the method alone chooses it; ``mask`` itself if nothing is done by hand.
        importance: Importance scores by tensor name; empty where the weights themselves are ranked.
        scores: What the method ranks by; None where it draws at random.
        masks: The mask of every tensor the step prunes, by name: this one, or all that are ranked together.
        pruned_before: How many weights of those tensors earlier steps had pruned.
        reach: What it prunes besides, where a scope holds many layers; None: no other layer.
        most: The largest count that ``amount`` can be: ``units``, or what is left of the smallest group where
            each group loses as many.
    """

    spec: PruneSpec
    tensor: PrunableTensor
    mask: Tensor = field(repr=False)
    norms: ChannelNorms = field(repr=False)
    units: int
    pruned_units: int
    threshold: float | None
    chosen: Tensor = field(repr=False)
    scores: Scores | None = field(default=None, repr=False)
    importance: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    masks: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    pruned_before: int = 0
    reach: Reach | None = None
    most: int = 0

    @property
    def dim(self) -> int:
        """Return the axis that numbers the channels, which bars and bands show."""
        return self.spec.channel_dim(self.tensor)

    @property
    def method(self) -> Method:
        """Return the method's row in the table of methods."""
        return METHODS[self.spec.method]

    @property
    def unit_name(self) -> str:
        """Return what a unit is, in the plural: ``"weights"``, or for example ``"output channels"``."""
        if self.reach is not None and self.reach.pooled:
            return "channels of the model"
        return self.method.unit_name(self.tensor, self.dim)

    @property
    def pooled(self) -> bool:
        """Return whether units of several layers are ranked together, so that one threshold divides them."""
        return self.method.pooled or (self.reach is not None and self.reach.pooled)

    @property
    def alone(self) -> Preview:
        """Return what it does to the layer shown; itself where it does nothing else."""
        return self if self.reach is None else self.reach.alone

    @property
    def prunes(self) -> bool:
        """Return whether anything goes, here or in another layer of the scope."""
        return self.pruned_units > 0 or (self.reach is not None and self.reach.pruned_units > 0)

    @property
    def asked_units(self) -> int:
        """Return the amount as a count, before anything is by hand: of units, or of each group's."""
        return units_to_prune(self.spec.amount, self.most)

    @property
    def count_name(self) -> str:
        """Return what that counts, in the plural: units, or ``"weights of each group"``."""
        return self.method.count_name(self.tensor, self.dim)

    def state(self, channel: int, *, by_method: bool = False) -> str | None:
        """Return what becomes of ``channel``; see `prunescope.core.channels.state_of`.

        Args:
            channel: Its index along `dim`.
            by_method: Whether to ignore what is kept or pruned by hand.
        """
        mask = self.chosen if by_method else self.mask
        return state_of(mask, self.tensor.default_mask, self.dim, channel)

    def turned(self, channel: int) -> str | None:
        """Return the state a click would give ``channel``; None if earlier steps pruned all of it."""
        now, chosen = self.state(channel), self.state(channel, by_method=True)
        return None if now is None or chosen is None else turned(now, chosen)

    @cached_property
    def pruned_weights(self) -> int:
        """Return how many weights of the tensor are pruned, earlier steps included."""
        return self.mask.numel() - count_true(self.mask)

    @property
    def sparsity(self) -> float:
        """Return the fraction of the tensor that is pruned, earlier steps included, in [0, 1]."""
        return self.pruned_weights / self.mask.numel()

    @property
    def pruned_earlier(self) -> Tensor | None:
        """Return a boolean tensor, True where an earlier step pruned; None if none did."""
        earlier = self.tensor.default_mask
        return None if earlier is None else ~earlier

    def values(self, what: str, take: Take) -> Tensor:
        """Return part of the weights, or of the scores where ``what`` is ``"scores"`` and there are any.

        Args:
            what: ``"weights"`` or ``"scores"``.
            take: Selects the part, from a tensor of the weight's shape.

        Returns:
            Float32 tensor of the shape that ``take`` returns.
        """
        if what == "scores" and self.scores is not None:
            return self.scores.part(take)
        return wide(take(self.tensor.weight))

    def colour_limits(self, what: str, by: str = "layer", largest_weight: float | None = None) -> Tensor:
        """Return the magnitude drawn in full colour: shape ``(1,)``, or ``(s_dim,)`` with one per channel.

        Args:
            what: ``"weights"`` or ``"scores"``.
            by: ``"layer"``; ``"channel"`` or ``"model"`` for weights.
            largest_weight: Largest magnitude in the whole model; None takes the layer's.
        """
        if what == "scores" and self.scores is not None:
            return self.scores.limit()
        if by == "model" and largest_weight is not None:
            return torch.tensor([largest_weight])
        largest = self.channel_norms(math.inf, pruned=False).float().nan_to_num(posinf=0.0)
        return largest if by == "channel" else largest.amax().reshape(1)

    def channel_norms(self, n: Norm, *, pruned: bool = True) -> Tensor:
        """Return the Ln norm of the weights of each channel, of shape ``(s_dim,)``.

        Args:
            n: Order of the norm.
            pruned: Whether weights pruned by earlier steps count as zero.
        """
        mask = self.tensor.default_mask if pruned else None
        return channel_norms(self.tensor.weight, n=n, dim=self.dim, mask=mask)

    def kept_fractions(self) -> Tensor:
        """Return the fraction of each channel's remaining weights that is kept now.

        Returns:
            Tensor of shape ``(s_dim,)``, in [0, 1]; 0 for a channel that earlier steps pruned whole.
        """
        if self.method.structured and self.tensor.default_mask is None:
            return self.mask.movedim(self.dim, 0).flatten(1)[:, 0].cpu().double()
        kept = kept_of_channels(self.mask, self.dim)
        if self.tensor.default_mask is None:
            return kept / (self.mask.numel() // len(kept))
        return kept / kept_of_channels(self.tensor.default_mask, self.dim).clamp(min=1)


def shortest_fraction(pruned: int, units: int) -> float:
    """Return the fraction with the fewest digits that prunes ``pruned`` of ``units``.

    Example:
        >>> shortest_fraction(19, 64), shortest_fraction(1, 3)
        (0.3, 0.33)
    """
    if units == 0:
        return 0.0
    exact = pruned / units
    short = (round(exact, digits) for digits in range(2, 17))
    return next((fraction for fraction in short if round(fraction * units) == pruned), exact)


def make_preview(
    resolved: Resolved,
    tensor: PrunableTensor,
    ranking: AnyRanking,
    norms: ChannelNorms,
    pool: Sequence[PrunableTensor] = (),
    importance: Mapping[str, Tensor] | None = None,
) -> Preview:
    """Return the preview of ``resolved``, by selecting from an existing ranking.

    Args:
        resolved: What `prunescope.core.resolve.resolve` returned for ``tensor``.
        tensor: The tensor.
        ranking: Its units, in the order the method prunes them.
        norms: Its channel norms along the channel axis.
        pool: The tensors that were ranked together, in order, by a method that ranks the whole model.
        importance: Importance scores that were ranked, by tensor; None if the weights were.
    """
    spec, dim = resolved.spec, resolved.spec.channel_dim(tensor)
    method, scored = METHODS[spec.method], importance or {}
    selection = method.select(ranking, spec.amount)
    masks = _split(selection.mask, pool) if pool else {tensor.name: selection.mask}
    chosen = masks[tensor.name] if tensor.name in masks else mask_so_far(tensor)
    mask = with_hand(chosen, dim, spec.keep_channels, spec.prune_channels, tensor.default_mask)
    if mask is not chosen:
        masks = {**masks, tensor.name: mask}
    return Preview(
        spec=spec,
        tensor=tensor,
        mask=mask,
        norms=norms,
        units=ranking.units,
        pruned_units=selection.pruned_units + _kept_units(spec, chosen, dim) - _kept_units(spec, mask, dim),
        threshold=selection.threshold,
        chosen=chosen,
        scores=None if method.scores is None else method.scores(tensor, Context(spec, norms, pool, scored)),
        importance=scored,
        masks=masks,
        pruned_before=sum(_pruned_so_far(each) for each in pool or (tensor,)),
        most=resolved.units if method.groups else ranking.units,
    )


def _kept_units(spec: PruneSpec, mask: Tensor, dim: int) -> int:
    """Count the units that ``mask`` keeps in the channels kept or pruned by hand."""
    by_hand = [*spec.keep_channels, *spec.prune_channels]
    if not by_hand:
        return 0
    kept = mask.movedim(dim, 0)[by_hand].reshape(len(by_hand), -1)
    return int((kept.any(1) if METHODS[spec.method].structured else kept).count_nonzero())


def _split(mask: Tensor, pool: Sequence[PrunableTensor]) -> dict[str, Tensor]:
    parts = torch.split(mask, [tensor.weight.numel() for tensor in pool])
    return {
        tensor.name: part.view(tensor.shape).to(tensor.device)
        for tensor, part in zip(pool, parts, strict=True)
    }


def _pruned_so_far(tensor: PrunableTensor) -> int:
    mask = tensor.default_mask
    return 0 if mask is None else mask.numel() - int(mask.count_nonzero())


def preview_tensor(resolved: Resolved, tensor: PrunableTensor) -> Preview:
    """Return the preview of ``resolved``, scoring and ranking ``tensor`` afresh.

    Example:
        >>> from prunescope.core.resolve import resolve
        >>> weight = torch.tensor([[3.0, -1.0], [0.5, 2.0]])
        >>> tensor = PrunableTensor("w", "Linear", weight, ("outputs", "inputs"))
        >>> preview_tensor(resolve(PruneSpec("w", amount=0.5), tensor), tensor).mask
        tensor([[ True, False],
                [False,  True]])
    """
    return make_preview(resolved, tensor, rank(resolved.spec, [tensor]), tensor_norms(resolved.spec, tensor))


def rank(
    spec: PruneSpec, tensors: Sequence[PrunableTensor], importance: Mapping[str, Tensor] | None = None
) -> AnyRanking:
    """Rank the units of ``tensors`` in the order the method prunes them; ``amount`` is ignored."""
    return METHODS[spec.method].rank(spec, tensors, importance)


def tensor_norms(spec: PruneSpec, tensor: PrunableTensor, scores: Tensor | None = None) -> ChannelNorms:
    """Return the Ln norm of each channel's weights or scores, of shape ``(s_dim,)``.

    Args:
        spec: Gives the method, criterion, ``n`` and ``dim``.
        tensor: The tensor.
        scores: Importance scores; None ranks the weights.
    """
    called, criterion = METHODS[spec.method].called(spec), CRITERIA[spec.criterion]
    dim = spec.channel_dim(tensor)
    values, label = (tensor.weight, "") if scores is None else (scores, criterion.label)
    n = called.n if scores is not None else spec.n
    if not label:
        label = norm_name(n)
    elif METHODS[spec.method].structured and criterion.channel_scores:
        label = criterion.channel_label
    else:
        label = f"{norm_name(n)} of {label}"
    unpruned = channel_norms(values, n=n, dim=dim)
    if tensor.default_mask is None:
        return ChannelNorms(unpruned, unpruned, label)
    now = channel_norms(values, n=n, dim=dim, mask=tensor.default_mask)
    return ChannelNorms(now, unpruned, label)
