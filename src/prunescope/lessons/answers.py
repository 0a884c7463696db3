"""Parse answers given in code, and refuse invalid ones with a clear message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import torch
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.lessons.writing import shortened


def as_mask(mask: object, shape: torch.Size) -> Tensor:
    """Return ``mask`` as a boolean tensor of ``shape``.

    Args:
        mask: A tensor or nested lists of that shape, True or 1 where a weight stays, else False or 0.

    Raises:
        RequestError: ``mask`` is anything else.

    Example:
        >>> as_mask([[1, 0]], torch.Size((1, 2)))
        tensor([[ True, False]])
    """
    try:
        tensor = torch.as_tensor(mask)
    except (TypeError, ValueError, RuntimeError):  # Torch says "no tensor" in three ways.
        tensor = torch.empty(0)
    if tensor.shape == shape and bool(((tensor == 0) | (tensor == 1)).all()):
        return tensor.bool()
    said = f"`mask` must have shape {tuple(shape)} and be True or 1 where a weight stays, else False or 0"
    raise RequestError("mask", f"{said}, got {shortened(mask)}.")


def as_channels(
    chosen: object, shape: torch.Size, dims: Sequence[int] | None = None
) -> dict[int, frozenset[int]]:
    """Return ``chosen`` as the set of channels along each dim.

    Args:
        chosen: A mapping from a dim to its channels, such as ``{0: {2, 3}}``.
        shape: Shape of the tensor they belong to.
        dims: The dims to choose from; None is all.

    Raises:
        RequestError: ``chosen`` is anything else.

    Example:
        >>> as_channels({0: [1]}, torch.Size((2, 3)))
        {0: frozenset({1})}
    """
    allowed = range(len(shape)) if dims is None else dims
    if isinstance(chosen, Mapping) and all(
        _whole(dim) and dim in allowed and _channels(these, shape[dim]) for dim, these in chosen.items()
    ):
        return {dim: frozenset(these) for dim, these in chosen.items()}
    where = f"a dim ({', '.join(map(str, allowed))}) to its channels, within shape {tuple(shape)}"
    raise RequestError("chosen", f"`chosen` must map {where}, such as {{0: {{1}}}}, got {shortened(chosen)}.")


def _channels(these: object, count: int) -> bool:
    listed = isinstance(these, list | tuple | Set)
    return listed and all(_whole(index) and 0 <= index < count for index in these)  # type: ignore[attr-defined]


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
