"""Memory to write into. Touching new memory is half of what pruning a large tensor costs."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# From here on numpy asks the system for huge pages.
_LARGE = 1 << 22
_NUMPY = {torch.float64: np.float64, torch.float32: np.float32, torch.bool: np.bool_}


def fresh(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a new contiguous tensor whose values are still to be written.

    A large one on the CPU lies in memory that numpy has taken in pages of 2 MB where the system grants them:
    a page that is touched for the first time is filled with zeros, and torch's pages of 4 kB take three times
    as long over that as over the writing itself.

    Args:
        shape: Shape of the tensor.
        dtype: Its type.
        device: Where it lies.

    Example:
        >>> fresh((2, 3), torch.float32, torch.device("cpu")).fill_(1).sum()
        tensor(6.)
    """
    size = torch.Size(shape).numel() * dtype.itemsize
    if device.type != "cpu" or size < _LARGE or dtype not in _NUMPY:
        return torch.empty(tuple(shape), dtype=dtype, device=device)
    return torch.from_numpy(np.empty(tuple(shape), _NUMPY[dtype]))
