"""What pruning would do to one tensor: mask, norms, threshold, requested and achieved. Touches nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunescope.core.channels import state_of, turned, with_hand
from prunescope.core.spec import METHODS, Method, PruneSpec, Resolved, unit_name
from prunescope.core.tensor import PrunableTensor
from prunescope.prune import Ranking, channel_norms, units_to_prune
from prunescope.prune._kernels.streaming import NarrowScores
from prunescope.prune.masking import is_float8
from prunescope.prune.scores import widened

AT_ONCE = 1 << 20
"""Weights that are looked at at a time. A tensor of more, read from a file, has its scores held nowhere."""


@dataclass(frozen=True, eq=False)
class ChannelNorms:
    """The Ln norm of every channel of a tensor.

    Attributes:
        now: With what earlier steps pruned counted as zero, as this step's method sees it; of shape
            ``(s_dim,)``.
        unpruned: As if no step had pruned anything; the same tensor as ``now`` if none did.
    """

    now: Tensor
    unpruned: Tensor


@dataclass(frozen=True, eq=False)
class Preview:
    """What a spec would do to its tensor.

    Attributes:
        spec: The spec carried out.
        tensor: The tensor it is about.
        mask: Boolean tensor of the weight's shape; True is kept, by this and all earlier steps.
        norms: Norms of the channels along ``spec.dim``.
        units: How many units there were to prune.
        pruned_units: How many units this step prunes, ``0 <= pruned_units <= units``, those by hand included.
        threshold: Highest score that goes; None when nothing goes or scores are random.
        chosen: The mask as the method alone chooses it; ``mask`` itself if nothing is done by hand.
        masks: The mask of every tensor the step prunes: this one, or all that are ranked together.
        pruned_before: How many weights of those tensors earlier steps had pruned.
    """

    spec: PruneSpec
    tensor: PrunableTensor
    mask: Tensor = field(repr=False)
    norms: ChannelNorms = field(repr=False)
    units: int
    pruned_units: int
    threshold: float | None
    chosen: Tensor = field(repr=False)
    masks: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    pruned_before: int = 0

    @property
    def method(self) -> Method:
        """Return the method's row in the table of methods."""
        return METHODS[self.spec.method]

    @property
    def unit_name(self) -> str:
        """Return what a unit is, in the plural: ``"weights"`` or such as ``"output channels"``."""
        return unit_name(self.method, self.tensor, self.spec.dim)

    @property
    def asked_units(self) -> int:
        """Return how many units the amount asks for: what the method prunes before anything is by hand."""
        return units_to_prune(self.spec.amount, self.units)

    def state(self, channel: int, *, by_method: bool = False) -> str | None:
        """Return what becomes of ``channel``; see `prunescope.core.channels.state_of`.

        Args:
            channel: Its number along ``spec.dim``.
            by_method: Whether to leave out what is done by hand.
        """
        mask = self.chosen if by_method else self.mask
        return state_of(mask, self.tensor.default_mask, self.spec.dim, channel)

    def turned(self, channel: int) -> str | None:
        """Return the state that a click turns ``channel`` to; None if earlier steps left nothing of it."""
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
        """Return a boolean tensor, True where an earlier step pruned; None when none did."""
        earlier = self.tensor.default_mask
        return None if earlier is None else ~earlier

    @property
    def has_scores(self) -> bool:
        """Return whether the method ranks by something worth looking at, and does not draw at random."""
        return "seed" not in self.method.uses

    def score_parts(self) -> Iterator[NDArray[np.floating[Any]]]:
        """Yield what the method ranks, a part of it at a time, in index order.

        Returns:
            Vectors: norms where channels are ranked, else magnitudes of weights; -inf for what earlier steps
            pruned. Each is good until the next comes.
        """
        mask = self.tensor.default_mask
        if self.method.norm_scores:
            norms = self.norms.now.float().cpu().numpy()
            yield (
                norms if mask is None else np.where(kept_of_channels(mask, self.spec.dim) > 0, norms, -np.inf)
            )
            return
        weight = self.tensor.weight.reshape(-1).cpu()
        weight = widened(weight) if is_float8(weight) else weight
        kept = None if mask is None else mask.reshape(-1).cpu()
        for block in NarrowScores(weight, absolute=True, candidates=kept).blocks():
            yield block.scores

    def kept_fractions(self) -> Tensor:
        """Return which fraction of what earlier steps left of each channel is kept now.

        Returns:
            Tensor of shape ``(s_dim,)``, in [0, 1]; 0 for a channel of which nothing was left.
        """
        if self.method.structured and self.tensor.default_mask is None:
            return self.mask.movedim(self.spec.dim, 0).flatten(1)[:, 0].cpu().double()
        kept = kept_of_channels(self.mask, self.spec.dim)
        if self.tensor.default_mask is None:
            return kept / (self.mask.numel() // len(kept))
        return kept / kept_of_channels(self.tensor.default_mask, self.spec.dim).clamp(min=1)


def count_true(mask: Tensor) -> int:
    """Return how many entries of a boolean tensor are True; on the CPU by NumPy, three times as fast."""
    return int(np.count_nonzero(mask.numpy()) if mask.device.type == "cpu" else mask.count_nonzero())


def shortest_fraction(pruned: int, units: int) -> float:
    """Return the fraction of fewest digits that prunes ``pruned`` of ``units``.

    Example:
        >>> shortest_fraction(19, 64), shortest_fraction(1, 3)
        (0.3, 0.33)
    """
    if units == 0:
        return 0.0
    exact = pruned / units
    short = (round(exact, digits) for digits in range(2, 17))
    return next((fraction for fraction in short if round(fraction * units) == pruned), exact)


def kept_of_channels(mask: Tensor, dim: int) -> Tensor:
    """Return how many weights of each channel ``mask`` keeps, of shape ``(s_dim,)``, on the CPU.

    By NumPy: torch counts booleans along an axis some twenty times as slowly.
    """
    kept = np.zeros(mask.shape[dim], np.int64)
    parts = mask.numel() // AT_ONCE if dim else 1
    for part in mask.tensor_split(max(1, min(parts, len(mask)))):
        channels = part.movedim(dim, 0).reshape(mask.shape[dim], -1).cpu().numpy()
        kept += np.add.reduce(channels.view(np.uint8), axis=1, dtype=np.int64)
    return torch.from_numpy(kept)


def make_preview(
    resolved: Resolved,
    tensor: PrunableTensor,
    ranking: Ranking,
    norms: ChannelNorms,
    pool: Sequence[PrunableTensor] = (),
) -> Preview:
    """Return what ``resolved`` does to ``tensor``, by selection from a ranking made before.

    Args:
        resolved: What `prunescope.core.spec.resolve` returned for ``tensor``.
        tensor: The tensor.
        ranking: Its units in the order the method prunes them.
        norms: Its channel norms along ``resolved.spec.dim``.
        pool: The tensors that were ranked together, in that order, by a method that ranks the whole model.
    """
    spec = resolved.spec
    pruned = units_to_prune(spec.amount, ranking.units)
    random = "seed" in METHODS[spec.method].uses
    together = ranking.mask(pruned)
    masks = _split(together, pool) if pool else {tensor.name: together}
    chosen = masks[tensor.name] if tensor.name in masks else mask_so_far(tensor)
    mask = with_hand(chosen, spec.dim, spec.keep_channels, spec.prune_channels, tensor.default_mask)
    if mask is not chosen:
        masks = {**masks, tensor.name: mask}
    return Preview(
        spec=spec,
        tensor=tensor,
        mask=mask,
        norms=norms,
        units=ranking.units,
        pruned_units=pruned + _kept_units(spec, chosen) - _kept_units(spec, mask),
        threshold=None if random else ranking.threshold(pruned),
        chosen=chosen,
        masks=masks,
        pruned_before=sum(_pruned_so_far(each) for each in pool or (tensor,)),
    )


def _kept_units(spec: PruneSpec, mask: Tensor) -> int:
    """Return how many units ``mask`` keeps of the channels that are kept or pruned by hand."""
    by_hand = [*spec.keep_channels, *spec.prune_channels]
    if not by_hand:
        return 0
    kept = mask.movedim(spec.dim, 0)[by_hand].reshape(len(by_hand), -1)
    return int((kept.any(1) if METHODS[spec.method].structured else kept).count_nonzero())


def _split(mask: Tensor, pool: Sequence[PrunableTensor]) -> dict[str, Tensor]:
    parts = torch.split(mask, [tensor.weight.numel() for tensor in pool])
    return {
        tensor.name: part.view(tensor.shape).to(tensor.device)
        for tensor, part in zip(pool, parts, strict=True)
    }


def mask_so_far(tensor: PrunableTensor) -> Tensor:
    """Return the boolean mask that earlier steps left of ``tensor``, True where kept."""
    if tensor.default_mask is not None:
        return tensor.default_mask
    return torch.ones(tensor.shape, dtype=torch.bool, device=tensor.device)


def _pruned_so_far(tensor: PrunableTensor) -> int:
    mask = tensor.default_mask
    return 0 if mask is None else mask.numel() - int(mask.count_nonzero())


def preview_tensor(resolved: Resolved, tensor: PrunableTensor) -> Preview:
    """Return what ``resolved`` does to ``tensor``, scored and ranked afresh.

    Example:
        >>> from prunescope.core.spec import resolve
        >>> weight = torch.tensor([[3.0, -1.0], [0.5, 2.0]])
        >>> tensor = PrunableTensor("w", "Linear", weight, ("outputs", "inputs"))
        >>> preview_tensor(resolve(PruneSpec("w", amount=0.5), tensor), tensor).mask
        tensor([[ True, False],
                [False,  True]])
    """
    return make_preview(
        resolved, tensor, rank_tensor(resolved.spec, tensor), tensor_norms(resolved.spec, tensor)
    )


def rank_tensor(spec: PruneSpec, tensor: PrunableTensor) -> Ranking:
    """Return the units of ``tensor`` in the order the spec's method prunes them; ``amount`` plays no part."""
    method = METHODS[spec.method].build(spec)
    if tensor.in_memory or math.prod(tensor.shape) < AT_ONCE:
        return method.rank(tensor.effective, default_mask=tensor.default_mask)
    return method.rank_unheld(tensor.weight, default_mask=tensor.default_mask)


def rank_together(spec: PruneSpec, pool: Sequence[PrunableTensor]) -> Ranking:
    """Return the weights of all tensors of ``pool``, one after the other, in the order they are pruned.

    The order of ``prune.global_unstructured``: one threshold for all, whatever layer a weight is in.
    """
    flat = torch.cat([tensor.effective.reshape(-1) for tensor in pool])
    kept = torch.cat([mask_so_far(tensor).reshape(-1) for tensor in pool])
    return METHODS[spec.method].build(spec).rank(flat, default_mask=None if kept.all() else kept)


def tensor_norms(spec: PruneSpec, tensor: PrunableTensor) -> ChannelNorms:
    """Return the Ln norm of each channel of ``tensor`` along ``spec.dim``."""
    unpruned = channel_norms(tensor.weight, n=spec.n, dim=spec.dim)
    if tensor.default_mask is None:
        return ChannelNorms(unpruned, unpruned)
    now = channel_norms(tensor.weight, n=spec.n, dim=spec.dim, mask=tensor.default_mask)
    return ChannelNorms(now, unpruned)
