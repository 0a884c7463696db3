"""Read a large tensor in blocks, widened by numpy into reused memory.

Torch splits a block among threads, which on a busy machine take a hundred times as long to wake as the block
takes. And new memory for each block would fragment the heap between what a caller keeps of earlier blocks, so
that freed memory is not reused: a whole tensor's worth in the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array: TypeAlias = NDArray[np.floating[Any]]

# A block stays in the processor's cache.
_ELEMENTS = 1 << 17
_KNOWN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def memory_of(part: Tensor) -> NDArray[Any]:
    """Return a CPU tensor of two bytes per element or more as an array that shares its memory.

    Numpy has no bfloat16, and gets its bits: the upper half of a float32.

    Example:
        >>> memory_of(torch.ones(1, dtype=torch.bfloat16)).dtype
        dtype('uint16')
    """
    array: NDArray[Any] = (part.view(torch.uint16) if part.dtype == torch.bfloat16 else part).numpy()
    return array


def widened_into(room: Array, block: NDArray[Any]) -> Array:
    """Widen ``block``, part of what `memory_of` returns, into ``room``; return it unchanged if wide.

    Example:
        >>> half = memory_of(torch.tensor([1.5, -2.0], dtype=torch.bfloat16))
        >>> widened_into(np.empty(2, np.float32), half)
        array([ 1.5, -2. ], dtype=float32)
    """
    if block.dtype.itemsize > 2:
        return block
    if block.dtype == np.uint16:
        np.left_shift(block, 16, out=room.view(np.uint32), dtype=np.uint32)
    else:
        room[:] = block
    return room


def row_blocks(
    matrix: Tensor, mask: Tensor | None = None, *, absolute: bool = False, rows: int = 0
) -> Iterator[Array]:
    """Yield the rows of a matrix in blocks, in float32 or float64; each is valid until the next.

    Args:
        matrix: Contiguous matrix of real numbers on the CPU. Read, never written.
        mask: Boolean matrix of its shape; elements count as zero where it is False. None masks nothing.
        absolute: Whether to yield magnitudes.
        rows: How many rows a block has at the least, if there are so many, the last one up to twice as many;
            0: as many as stay in the processor's cache.

    Example:
        >>> [block.tolist() for block in row_blocks(torch.tensor([[1, -2]]).half(), absolute=True)]
        [[[1.0, 2.0]]]
    """
    rows = rows or max(1, _ELEMENTS // matrix.shape[1])
    starts = [*range(0, max(1, len(matrix) - rows), rows), len(matrix)]
    wide = np.float64 if matrix.dtype in (torch.float64, torch.int32, torch.int64) else np.float32
    room: Array = np.empty((len(matrix) - starts[-2], matrix.shape[1]), wide)
    for start, end in pairwise(starts):
        part, own = matrix[start:end], room[: end - start]
        if part.dtype in _KNOWN:
            block = widened_into(own, memory_of(part))
        else:
            torch.from_numpy(own).copy_(part)
            block = own
        if absolute:
            block = np.abs(block, out=own)
        if mask is not None:
            np.copyto(own, block)
            np.copyto(own, 0, where=~mask[start:end].numpy())
            block = own
        yield block
