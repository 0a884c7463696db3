"""Small networks, the same numbers each time."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn


def network(channels: int = 2, *, norm: bool = False) -> nn.Sequential:
    """Return a convolution of 6 channels, ``[0]``, and a linear layer of 4, ``[-1]``.

    Args:
        channels: Input channels; what it reads is ``(batch, channels, 3, 3)``.
        norm: Whether a batch-norm stands behind the convolution, ``[1]``.
    """
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(6)] if norm else []
    return nn.Sequential(nn.Conv2d(channels, 6, 3), *norms, nn.ReLU(), nn.Flatten(), nn.Linear(6, 4))


def named_network() -> nn.Sequential:
    """Return layers that are called ``conv``, ``norm`` and ``head``, for what goes by their names."""
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 8, 3), norm=nn.BatchNorm2d(8), head=nn.Linear(8, 5)))
