"""The private helpers of ``torch.nn.utils.prune`` that its own tests call, on our rules."""

import numbers

from torch import Tensor

from prunescope.prune.scores import Norm, channel_norms, validate_dim
from prunescope.prune.selection import validate_amount


def _validate_pruning_amount_init(amount: object) -> None:
    """Return nothing if ``amount`` is a fraction or a count; see :func:`validate_amount`."""
    validate_amount(amount)


def _validate_pruning_amount(amount: int | float, tensor_size: int) -> None:
    """Return nothing if there are ``amount`` units among ``tensor_size``; a fraction always fits.

    Raises:
        ValueError: ``amount`` counts more than ``tensor_size``.
    """
    if isinstance(amount, numbers.Integral) and int(amount) > tensor_size:
        raise ValueError(
            f"`amount` must be at most the number of units to prune ({tensor_size}), got {amount}"
        )


def _validate_structured_pruning(t: Tensor) -> None:
    """Return nothing if ``t`` has channels.

    Raises:
        ValueError: ``t`` has fewer than two axes.
    """
    if t.dim() < 2:
        raise ValueError(
            f"structured pruning needs a tensor of at least two axes, got one of shape {tuple(t.shape)}"
        )


def _compute_nparams_toprune(amount: int | float, tensor_size: int) -> int:
    """Return the count that ``amount`` asks for, unchecked: fractions are rounded half to even."""
    return int(amount) if isinstance(amount, numbers.Integral) else round(amount * tensor_size)


def _validate_pruning_dim(t: Tensor, dim: int) -> None:
    """Return nothing if ``dim`` is an axis of ``t``; see :func:`validate_dim`."""
    validate_dim(dim, t.shape)


def _compute_norm(t: Tensor, n: Norm, dim: int) -> Tensor:
    """Return the norm of every channel; see :func:`channel_norms`."""
    return channel_norms(t, n=n, dim=dim)
