"""Fresh numbers for a question that was answered before."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from prunescope.core.preview import Preview
from prunescope.lessons.prediction import preview_layer

CLEAR = 0.02
"""By how much of the largest score the last that goes and the first that stays must differ."""

ATTEMPTS = 200


def draw(shape: tuple[int, ...], generator: Generator, *, step: float = 0.01, top: float = 1.0) -> Tensor:
    """Return weights that are easy to read: multiples of ``step`` of either sign, none of them zero.

    Args:
        shape: Shape of the tensor.
        generator: Where the chance comes from.
        step: What they are multiples of.
        top: Largest magnitude.

    Example:
        >>> draw((2, 2), torch.Generator().manual_seed(1), step=0.5, top=2).abs().max() <= 2
        tensor(True)
    """
    sizes = torch.randint(1, round(top / step) + 1, shape, generator=generator)
    signs = torch.randint(0, 2, shape, generator=generator) * 2 - 1
    return (sizes * signs).double().mul(step).float()


Maker = Callable[[Generator], nn.Module]
"""Makes the layer of a further round."""


def fresh_layer(make: Maker, first: Preview, round_number: int, **spec: object) -> tuple[nn.Module, Preview]:
    """Return a layer to ask the same about, and what the engine does to it.

    It is drawn again until the answer is as clear as at first: a tie only where there was one then, and no
    two scores so close that one could not tell them apart by hand.

    Args:
        make: Makes a layer from a generator.
        first: What the engine did to the layer of the notebook.
        round_number: The same number gives the same layer again.
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
    """Return the step between the last score that goes and the first that stays, in parts of the largest."""
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
