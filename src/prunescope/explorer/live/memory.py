"""Return memory that is free in this process to the system."""

from __future__ import annotations

import ctypes
import sys

LARGE = 1 << 20
"""Size of a layer, in weights, from which memory is returned after every change."""


def give_back() -> None:
    """Make the C library return freed memory to the system; does nothing where it cannot.

    After some large tensors, glibc keeps freed memory for later: three layers' worth of masks after about
    fifty moves of the amount, which a shared server can use better. It takes half a millisecond.

    Example:
        >>> give_back()
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)  # musl has none
        trim(0)
