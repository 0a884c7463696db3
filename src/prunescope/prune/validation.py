"""The private helpers of ``torch.nn.utils.prune`` that its own tests call, by our rules."""

from __future__ import annotations

import numbers

from torch import Tensor

from prunescope.prune.scores import Norm, channel_norms, validate_dim
from prunescope.prune.selection import validate_amount


def _validate_pruning_amount_init(amount: object) -> None:
    """Check that ``amount`` is a fraction or a count; see :func:`validate_amount`.

    Args:
        amount: A float in [0, 1] or an integer ≥ 0.

    Raises:
        TypeError: ``amount`` is not a real number, or is a bool.
        ValueError: ``amount`` is NaN, negative, or a float above 1.

    Example:
        >>> _validate_pruning_amount_init(-1)
        Traceback (most recent call last):
        ValueError: `amount` must be a float in [0, 1] or a count ≥ 0, got -1
    """
    validate_amount(amount)


def _validate_pruning_amount(amount: int | float, tensor_size: int) -> None:
    """Check that a count ``amount`` is at most ``tensor_size``; a fraction always is.

    Args:
        amount: A float in [0, 1] or an integer ≥ 0.
        tensor_size: Number of units there are, ≥ 0.

    Raises:
        ValueError: ``amount`` counts more than ``tensor_size``.

    Example:
        >>> _validate_pruning_amount(5, 4)
        Traceback (most recent call last):
        ValueError: `amount` must be at most the number of units to prune (4), got 5
    """
    if isinstance(amount, numbers.Integral) and int(amount) > tensor_size:
        raise ValueError(
            f"`amount` must be at most the number of units to prune ({tensor_size}), got {amount}"
        )


def _validate_structured_pruning(t: Tensor) -> None:
    """Check that ``t`` has channels.

    Args:
        t: Tensor of any shape.

    Raises:
        ValueError: ``t`` has fewer than two axes.

    Example:
        >>> import torch
        >>> _validate_structured_pruning(torch.ones(3))
        Traceback (most recent call last):
        ValueError: structured pruning needs a tensor of at least two axes, got one of shape (3,)
    """
    if t.dim() < 2:
        raise ValueError(
            f"structured pruning needs a tensor of at least two axes, got one of shape {tuple(t.shape)}"
        )


def _compute_nparams_toprune(amount: int | float, tensor_size: int) -> int:
    """Return the count that ``amount`` asks for, unchecked: fractions are rounded half to even.

    Args:
        amount: A float in [0, 1] or an integer ≥ 0.
        tensor_size: Number of units there are, ≥ 0.

    Example:
        >>> _compute_nparams_toprune(0.5, 5), _compute_nparams_toprune(3, 5)
        (2, 3)
    """
    return int(amount) if isinstance(amount, numbers.Integral) else round(amount * tensor_size)


def _validate_pruning_dim(t: Tensor, dim: int) -> None:
    """Check that ``dim`` is an axis of ``t``; see :func:`validate_dim`.

    Args:
        t: Tensor of any shape.
        dim: Axis, ``-t.dim() <= dim < t.dim()``.

    Raises:
        IndexError: ``dim`` is not an axis of ``t``.

    Example:
        >>> import torch
        >>> _validate_pruning_dim(torch.ones(2, 3), 2)
        Traceback (most recent call last):
        IndexError: `dim` must be between -2 and 1 for a tensor of shape (2, 3), got 2
    """
    validate_dim(dim, t.shape)


def _compute_norm(t: Tensor, n: Norm, dim: int) -> Tensor:
    """Return the norm of every channel, of shape ``(t.shape[dim],)``; see :func:`channel_norms`.

    Args:
        t: Tensor of any shape.
        n: Order of the norm: a number, ``inf``, ``-inf``, ``"fro"`` or ``"nuc"``.
        dim: Channel axis, ``-t.dim() <= dim < t.dim()``.

    Raises:
        IndexError: ``dim`` is not an axis of ``t``.
        TypeError, ValueError: ``n`` is not the order of a norm.

    Example:
        >>> import torch
        >>> _compute_norm(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), 1, 0)
        tensor([7., 1.])
    """
    return channel_norms(t, n=n, dim=dim)
