"""Memory that is free in this process, given back to the system."""

from __future__ import annotations

import ctypes
import sys

LARGE = 1 << 20
"""Weights of a layer whose masks are given back one by one."""


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
