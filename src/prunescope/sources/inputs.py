"""Inputs of a model, by position or by name, and its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Named(tuple[Tensor, ...]):
    """Keyword inputs of a model: a tuple of tensors that remembers their names.

    Example:
        >>> Named({"ids": torch.zeros(2, 3)}).names
        ('ids',)
    """

    names: tuple[str, ...]

    def __new__(cls, values: Mapping[str, Tensor]) -> Named:
        """Return the tensors of ``values`` in their order."""
        made = super().__new__(cls, values.values())
        made.names = tuple(values)
        return made


Inputs = Tensor | tuple[Tensor, ...]
"""Inputs of a model: a tensor, or one per argument; axis 0 counts examples."""


def parts_of(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return one tensor per argument; those that are `Named` stay so."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


def rows_of(inputs: tuple[Tensor, ...], rows: slice | Tensor) -> tuple[Tensor, ...]:
    """Return some of the examples.

    Example:
        >>> rows_of(Named({"ids": torch.arange(4)}), slice(1, 3)).names
        ('ids',)
    """
    if isinstance(inputs, Named):
        return Named({name: part[rows] for name, part in zip(inputs.names, inputs, strict=True)})
    return tuple(part[rows] for part in inputs)


def arguments(inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Return the positional and the keyword arguments of the model."""
    return ((), dict(zip(inputs.names, inputs, strict=True))) if isinstance(inputs, Named) else (inputs, {})


def scores_of(answer: Any) -> Any:
    """Return the scores in a model's output: the output itself, or its ``logits``."""
    if isinstance(answer, Mapping) and "logits" in answer:
        return answer["logits"]
    logits = getattr(answer, "logits", None)
    return logits if isinstance(logits, Tensor) else answer


def as_tensor(value: Any) -> Tensor | None:
    """Return ``value`` as a tensor, arrays in torch's default precision; None if it is not one.

    Example:
        >>> as_tensor(np.zeros((2, 3))).dtype, as_tensor("a")
        (torch.float32, None)
    """
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        return None
    tensor = torch.from_numpy(value if value.flags.writeable else value.copy())
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor


def is_classes(targets: Tensor) -> bool:
    """Return whether ``targets`` are class indices: integers, one per example."""
    return targets.ndim == 1 and not (targets.is_floating_point() or targets.is_complex())
