"""Return memory that is free in this process to the system."""

from __future__ import annotations

import ctypes
import sys

LARGE = 1 << 20
"""Size of a layer, in weights, whose masks are returned one by one."""


def give_back() -> None:
    """Have the C library return what has been freed; where it cannot, nothing happens.

    After some large tensors glibc keeps freed ones for later: three layers' worth of masks once a person has
    moved the amount some fifty times, which a shared server has better use for. It takes half a millisecond.

    Example:
        >>> give_back()
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)  # musl has none
        trim(0)
