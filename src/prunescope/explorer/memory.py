"""Memory that is free in this process, given back to the system."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Have the C library return what has been freed; where it cannot, nothing happens.

    After some large tensors glibc keeps freed ones for later: four layers' worth and more once a person has
    looked at many layers, which a shared server has better use for.

    Example:
        >>> give_back()
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)  # musl has none
        trim(0)
