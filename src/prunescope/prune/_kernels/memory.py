"""How the machine is used: memory to write into, and when a second thread is worth waking.

Touching new memory is half of what pruning a large tensor costs.
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
    """Return whether ``t`` is better left to numpy than to torch, and can be.

    Torch wakes its threads for 32,768 elements. On a machine that is busy they take 5 to 10 ms to meet again,
    for work of as many microseconds.

    Example:
        >>> for_one_thread(torch.empty(64, 64, 3, 3)), for_one_thread(torch.empty(512, 512))
        (True, False)
    """
    numpys = t.dtype == torch.float32 or t.dtype == torch.float64 or t.dtype == torch.bool
    return numpys and t.numel() <= _SMALL and t.device.type == "cpu"


def fresh(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a new contiguous tensor whose values are still to be written.

    A large one on the CPU lies in pages of 2 MB where the system grants them: a page that is touched for the
    first time is filled with zeros, and pages of 4 kB take three times as long over that as over the writing
    itself.

    Args:
        shape: Shape of the tensor.
        dtype: Its type.
        device: Where it lies.

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
