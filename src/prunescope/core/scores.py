"""What a method ranks, for display: the label, the values, their range and their distribution."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunescope.core.counting import kept_of_channels
from prunescope.core.tensor import PrunableTensor
from prunescope.prune import channel_norms
from prunescope.prune._kernels.blocks import memory_of, widened_into
from prunescope.prune._kernels.streaming import NarrowScores
from prunescope.prune.masking import is_float8
from prunescope.prune.scores import widened

Take = Callable[[Tensor], Tensor]
"""Selects part of a tensor of the weight's shape, such as the visible rows, as a view or a copy."""


@dataclass(frozen=True, eq=False)
class ChannelNorms:
    """The Ln norm of each channel's weights or scores, as the bars show it.

    Attributes:
        now: With weights pruned by earlier steps counted as zero, as the method sees them; shape
            ``(s_dim,)``.
        unpruned: As if nothing had been pruned; the same tensor as ``now`` if nothing was.
        label: Their name, such as ``"L2 norm"``.
    """

    now: Tensor
    unpruned: Tensor
    label: str = "norm"


def weight_of(tensor: PrunableTensor) -> Tensor:
    """Return the unmasked weight: what is ranked unless there are other scores."""
    return tensor.weight


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores a method ranks by; the lowest are pruned.

    Attributes:
        label: Their name, such as ``"magnitude |w|"`` or ``"L2 norm"``.
        symbol: Their symbol before a number, such as ``"|w|"`` or ``"norm"``.
        tensor: The tensor that is shown.
        ranked: All tensors that are ranked together; the one shown alone unless a method pools.
        dim: Channel axis.
        channels: One score for each channel along ``dim``; None where every weight has its own.
        others: Scores of the channels of other tensors that are ranked together with these; rising.
        source: Returns the tensor whose magnitudes are the scores, of the shape of the tensor it is given.

    Example:
        >>> weight = torch.tensor([[3.0, -1.0], [0.5, 2.0]])
        >>> tensor = PrunableTensor("w", "Linear", weight, ("outputs", "inputs"))
        >>> scores = Scores("magnitude |w|", "|w|", tensor, (tensor,))
        >>> scores.at((0, 1)), float(scores.limit())
        (1.0, 3.0)
    """

    label: str
    symbol: str
    tensor: PrunableTensor
    ranked: Sequence[PrunableTensor]
    dim: int = 0
    channels: Tensor | None = None
    others: Sequence[NDArray[Any]] = field(default=(), repr=False)
    source: Callable[[PrunableTensor], Tensor] = field(default=weight_of, repr=False)

    @property
    def by_channel(self) -> bool:
        """Return whether scores belong to channels, so that the bars show the threshold."""
        return self.channels is not None

    def part(self, take: Take) -> Tensor:
        """Return the scores of part of the tensor shown, in float32; 0 where an earlier step pruned.

        Args:
            take: Selects that part, from a tensor of the weight's shape.
        """
        if self.channels is not None:
            return take(self._spread(self.channels)).float()
        magnitudes = _magnitudes(wide(take(self.source(self.tensor))))
        mask = self.tensor.default_mask
        return magnitudes if mask is None else magnitudes * take(mask)

    def at(self, index: tuple[int, ...]) -> float:
        """Return the score of one weight of the tensor shown, or of its channel if channels are ranked."""
        return float(self.part(lambda tensor: tensor[index].reshape(1)))

    def limit(self) -> Tensor:
        """Return the highest finite score of the tensor shown, of shape ``(1,)``; 0 if there is none."""
        largest = self.channels
        if largest is None:
            mask = self.tensor.default_mask
            largest = channel_norms(self.source(self.tensor), n=math.inf, dim=0, mask=mask)
        return largest.float().nan_to_num(posinf=0.0).amax().reshape(1)

    def parts(self) -> Iterator[NDArray[np.floating[Any]]]:
        """Yield all scores that are ranked together, in index order, in parts.

        Yields:
            Vectors, -inf where earlier steps pruned. Each is valid until the next is yielded.
        """
        if self.channels is not None:
            scores, mask = self.channels.float().cpu().numpy(), self.tensor.default_mask
            yield scores if mask is None else np.where(kept_of_channels(mask, self.dim) > 0, scores, -np.inf)
            yield from self.others
            return
        for tensor in self.ranked:
            yield from self._weight_parts(tensor)

    def _weight_parts(self, tensor: PrunableTensor) -> Iterator[NDArray[np.floating[Any]]]:
        if not math.prod(tensor.shape):
            return
        values = self.source(tensor).detach().reshape(-1).cpu()
        values = widened(values) if is_float8(values) else values
        kept = None if tensor.default_mask is None else tensor.default_mask.reshape(-1).cpu()
        for block in NarrowScores(values, absolute=True, candidates=kept).blocks():
            yield block.scores

    def counts(self, most: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a histogram of the remaining scores: counts and bin edges.

        Args:
            most: Largest number of bins; few scores get fewer.

        Returns:
            Counts of shape ``(B,)`` and edges of shape ``(B + 1,)``, ``1 <= B <= most``; the first edge is 0.
        """
        top = max((_highest(scores) for scores in self.parts()), default=0.0) or 1.0
        units = sum(tensor.units(self.dim if self.by_channel else None) for tensor in self.ranked)
        units += sum(map(len, self.others))
        bins = min(most, max(8, round(2 * units**0.5)))
        counts = np.zeros(bins, np.int64)
        for scores in self.parts():
            places = np.clip(scores * (bins / top), -1, bins - 1).astype(np.int16)
            counts += np.bincount(places[(scores >= 0) & (scores <= top)], minlength=bins)
        return counts, np.linspace(0.0, top, bins + 1)

    def bins(self, edges: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the bin of every score, in index order; 255 for what earlier steps pruned.

        Args:
            edges: What `counts` returned, of at most 255 bins.
        """
        bins, top = len(edges) - 1, float(edges[-1])
        found = []
        for scores in self.parts():
            places = np.clip(scores * (bins / top), 0, bins - 1).astype(np.uint8)
            places[(scores < 0) | (scores > top)] = 255
            found.append(places)
        return np.concatenate(found) if found else np.zeros(0, np.uint8)

    def _spread(self, channels: Tensor) -> Tensor:
        """Expand one number per channel to a view of the weight's shape."""
        sizes = [-1 if axis == self.dim else 1 for axis in range(len(self.tensor.shape))]
        return channels.reshape(sizes).expand(self.tensor.shape)


def wide(part: Tensor) -> Tensor:
    """Convert to float32, by NumPy where possible: torch would wake its threads for each part."""
    if part.device.type != "cpu" or part.dtype not in (torch.float16, torch.bfloat16):
        return part.detach().float()
    bits = memory_of(part.detach())
    return torch.from_numpy(widened_into(np.empty(bits.shape, np.float32), bits))


def _magnitudes(values: Tensor) -> Tensor:
    return torch.from_numpy(np.abs(values.numpy())) if values.device.type == "cpu" else values.abs()


def _highest(scores: NDArray[Any]) -> float:
    """Return the highest finite score, or 0."""
    highest = float(scores.max(initial=0.0))
    return highest if highest < float("inf") else float(scores[scores < highest].max(initial=0.0))
