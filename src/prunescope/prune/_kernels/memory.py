"""Memory to write into, and when more than one thread pays off.

First touches of new memory are half the cost of pruning a large tensor.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

# From here on huge pages are asked for.
_LARGE = 1 << 22
_PAGE = 1 << 12
_MADV_HUGEPAGE = 14
_madvise = getattr(ctypes.CDLL(None), "madvise", None) if sys.platform == "linux" else None

# Up to here one thread is as fast as several.
_SMALL = 1 << 16


def for_one_thread(t: Tensor) -> bool:
    """Return whether numpy can process ``t``, and faster than torch.

    Torch wakes its threads from 32,768 elements on. On a busy machine they take 5 to 10 ms to synchronise,
    for work of as many microseconds.

    Example:
        >>> for_one_thread(torch.empty(64, 64, 3, 3)), for_one_thread(torch.empty(512, 512))
        (True, False)
    """
    numpys = t.dtype == torch.float32 or t.dtype == torch.float64 or t.dtype == torch.bool
    return numpys and t.numel() <= _SMALL and t.device.type == "cpu"


def fresh(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a new, uninitialised contiguous tensor.

    A large one on the CPU uses pages of 2 MB where the system grants them: the first touch of a page zeroes
        it, and
    with pages of 4 kB that takes three times as long as the writing itself.

    Args:
        shape: Shape of the tensor.
        dtype: Its dtype.
        device: Its device.

    Example:
        >>> fresh((2, 3), torch.float32, torch.device("cpu")).fill_(1).sum()
        tensor(6.)
    """
    t = torch.empty(tuple(shape), dtype=dtype, device=device)
    size = t.numel() * dtype.itemsize
    if size >= _LARGE and _madvise is not None and device.type == "cpu":
        start = -(-t.data_ptr() // _PAGE) * _PAGE
        # Advice: whether it is taken makes no difference to what follows.
        _madvise(ctypes.c_void_p(start), ctypes.c_size_t(t.data_ptr() + size - start), _MADV_HUGEPAGE)
    return t
