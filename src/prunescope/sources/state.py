"""What changes whenever a tensor in memory does, so that what was computed of it can be known to be old.

Reading must not look like a change. A tensor that shares its memory lazily with a copy, as the last masked
weight of an evaluation may, moves to other memory as soon as anyone asks for a plain pointer, as NumPy does.
So a tensor is known by its storage, which stays, and not by the address of its numbers, which does not.
"""

from __future__ import annotations

from torch import Tensor


def tensor_state(tensor: Tensor) -> tuple[object, ...]:
    """Return a value that changes whenever torch counts a change to ``tensor``, or it gets other numbers.

    Writing through ``.data`` goes uncounted, by torch's design; assigning to ``.data`` shows.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 2)
        >>> before = tensor_state(layer.weight)
        >>> layer.weight.data = torch.ones(2, 2)
        >>> tensor_state(layer.weight) == before
        False
    """
    return id(tensor), version(tensor), tensor.dtype, memory_of(tensor)


def version(tensor: Tensor) -> int:
    """Return the count of in-place changes to ``tensor``; tensors made in inference mode have none."""
    return 0 if tensor.is_inference() else tensor._version


def is_plain(tensor: Tensor) -> bool:
    """Return whether ``tensor`` is an ordinary array of numbers: not sparse, nested or in a library's layout.

    Example:
        >>> import torch
        >>> is_plain(torch.eye(2)), is_plain(torch.eye(2).to_sparse())
        (True, False)
    """
    return layout_of(tensor) == "strided"


def layout_of(tensor: Tensor) -> str:
    """Return how ``tensor`` lies in memory, in torch's words, such as ``"strided"`` or ``"sparse_coo"``."""
    return "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.").strip("_")


def memory_of(tensor: Tensor) -> tuple[int, int] | None:
    """Return which memory ``tensor`` has and where in it it begins; None if it has none of its own."""
    try:
        return int(tensor.untyped_storage()._cdata), int(tensor.storage_offset())
    except (NotImplementedError, RuntimeError):  # sparse, or in the layout of a library
        return None
