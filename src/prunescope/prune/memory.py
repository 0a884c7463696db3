"""Memory to write into. Touching new memory is half of what pruning a large tensor costs."""

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
