"""Digits a little turned, scaled and shifted, as the demos were trained on them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def jitter(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return the images, each turned, scaled and shifted a little, by at most one pixel, at random.

    Args:
        images: Tensor of shape ``(N, 1, 8, 8)``.
        generator: Draws how; None is the global one.

    Returns:
        Tensor of the same shape; what comes in from outside the image is paper.
    """
    n = len(images)
    angle = torch.empty(n).uniform_(-0.2, 0.2, generator=generator)
    scale = torch.empty(n).uniform_(0.9, 1.1, generator=generator)
    shift = torch.empty(n, 2, 1).uniform_(
        -0.25, 0.25, generator=generator
    )  # affine_grid's unit is half an image
    cos, sin = scale * angle.cos(), scale * angle.sin()
    turned = torch.stack([cos, -sin, sin, cos], dim=1).reshape(n, 2, 2)
    grid = F.affine_grid(torch.cat([turned, shift], dim=2), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def jitter_half(inputs: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Return the images of a batch with every other one jittered.

    Example:
        >>> images = torch.rand(4, 1, 8, 8)
        >>> (varied,) = jitter_half((images,), torch.Generator().manual_seed(0))
        >>> [torch.equal(new, old) for new, old in zip(varied, images)]
        [False, True, False, True]
    """
    (images,) = inputs
    varied = images.clone()
    varied[::2] = jitter(images[::2], generator)
    return (varied,)
