"""Count what masks keep. NumPy does it about twenty times as fast as torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

AT_ONCE = 1 << 20
"""Block size, in weights. Scores of larger on-disk tensors are streamed instead of stored."""


def count_true(mask: Tensor) -> int:
    """Count the True entries of a boolean tensor of any shape."""
    return int(np.count_nonzero(mask.numpy()) if mask.device.type == "cpu" else mask.count_nonzero())


def kept_of_channels(mask: Tensor, dim: int) -> Tensor:
    """Count the weights that ``mask`` keeps in each channel along ``dim``: shape ``(s_dim,)``, on the CPU.

    Example:
        >>> kept_of_channels(torch.tensor([[True, False], [True, True]]), dim=1)
        tensor([2, 1])
    """
    kept = np.zeros(mask.shape[dim], np.int64)
    parts = mask.numel() // AT_ONCE if dim else 1
    for part in mask.tensor_split(max(1, min(parts, len(mask)))):
        channels = part.movedim(dim, 0).reshape(mask.shape[dim], -1).cpu().numpy()
        kept += np.add.reduce(channels.view(np.uint8), axis=1, dtype=np.int64)
    return torch.from_numpy(kept)
