"""Fresh numbers for another round of the same question."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from prunescope.core.preview import Preview
from prunescope.lessons.prediction import preview_layer

CLEAR = 0.02
"""Least gap between the last pruned and the first kept score, as a fraction of the largest score."""

ATTEMPTS = 200


def draw(shape: tuple[int, ...], generator: Generator, *, step: float = 0.01, top: float = 1.0) -> Tensor:
    """Draw weights that are easy to read: multiples of ``step`` of either sign, none of them zero.

    Args:
        shape: Shape of the tensor.
        generator: Random generator.
        step: All weights are multiples of it.
        top: Largest magnitude.

    Example:
        >>> draw((2, 2), torch.Generator().manual_seed(1), step=0.5, top=2).abs().max() <= 2
        tensor(True)
    """
    sizes = torch.randint(1, round(top / step) + 1, shape, generator=generator)
    signs = torch.randint(0, 2, shape, generator=generator) * 2 - 1
    return (sizes * signs).double().mul(step).float()


Maker = Callable[[Generator], nn.Module]
"""Makes the layer for another round."""


def fresh_layer(make: Maker, first: Preview, round_number: int, **spec: object) -> tuple[nn.Module, Preview]:
    """Return a layer for another round, and its preview.

    It is redrawn until the answer is as clear as in the first round: ties only if there was one then, and no
    deciding scores too close to tell apart by hand.

    Args:
        make: Makes a layer from a generator.
        first: The preview of the layer in the notebook.
        round_number: Seed; the same number gives the same layer.
        **spec: Fields of `prunescope.core.spec.PruneSpec` but ``layer``.
    """
    generator = torch.Generator().manual_seed(round_number)
    tied = _gap(first) == 0
    for _ in range(ATTEMPTS):
        layer = make(generator)
        preview = preview_layer(layer, **spec)
        gap = _gap(preview)
        if gap == 0 if tied else gap > CLEAR:
            break
    return layer, preview


def _gap(preview: Preview) -> float:
    """Return the gap between the last pruned and the first kept score, as a fraction of the largest."""
    shown, earlier = preview.scores, preview.tensor.default_mask
    if shown is None:
        return 1.0
    if shown.channels is not None:
        scores = shown.channels.float()
    else:
        sizes = preview.tensor.effective.abs().float()
        scores = sizes.flatten() if earlier is None else sizes[earlier]
    order = scores.sort().values
    count = preview.asked_units
    if not 0 < count < len(order):
        return 1.0
    gap, top = float(order[count] - order[count - 1]), float(order[-1])
    return gap / top if top else 0.0
