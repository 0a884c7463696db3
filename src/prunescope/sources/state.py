"""A fingerprint of tensors in memory, to tell when what was computed from them is outdated.

Reading must not look like a change. A tensor that shares its memory lazily with a copy, as the last masked
weight of an evaluation may, moves as soon as something asks for a plain pointer, as NumPy does. So a tensor
is identified by its storage, which stays, and not by the address of its data, which does not.
"""

from __future__ import annotations

from torch import Tensor


def tensor_state(tensor: Tensor) -> tuple[object, ...]:
    """Return a value that changes whenever torch counts a change to ``tensor``, or it gets other storage.

    Writes through ``.data`` are not counted, by torch's design; assigning to ``.data`` is noticed.

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
    """Return whether ``tensor`` is an ordinary dense array: not sparse, nested or in a special layout.

    Example:
        >>> import torch
        >>> is_plain(torch.eye(2)), is_plain(torch.eye(2).to_sparse())
        (True, False)
    """
    return layout_of(tensor) == "strided"


def layout_of(tensor: Tensor) -> str:
    """Return torch's name of the layout of ``tensor``, such as ``"strided"`` or ``"sparse_coo"``."""
    return "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.").strip("_")


def memory_of(tensor: Tensor) -> tuple[int, int] | None:
    """Return the storage of ``tensor`` and its offset in it; None if it has no storage."""
    try:
        return int(tensor.untyped_storage()._cdata), int(tensor.storage_offset())
    except (NotImplementedError, RuntimeError):  # sparse, or in the layout of a library
        return None
