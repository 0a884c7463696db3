"""The functions: prune one parameter of a module, make it permanent, or check whether any is pruned.

Each pruning function changes the module in place and returns it: the parameter ``name`` becomes
``name_orig``, a buffer ``name_mask`` holds the mask (1 where kept), and a forward pre-hook sets
``module.name`` to the masked tensor. On any error the module is unchanged.
"""

from __future__ import annotations

from typing import TypeVar

from torch import Generator, Tensor
from torch.nn import Module

from prunescope.prune.attach import hook_of
from prunescope.prune.compat import is_method
from prunescope.prune.errors import MissingPruningError
from prunescope.prune.methods import (
    CustomFromMask,
    Identity,
    L1Unstructured,
    LnStructured,
    RandomStructured,
    RandomUnstructured,
)
from prunescope.prune.parameters import all_or_nothing, described
from prunescope.prune.scores import Norm

M = TypeVar("M", bound=Module)


def identity(module: M, name: str) -> M:
    """Reparametrize ``name`` of ``module`` with a mask of ones, pruning nothing; return ``module``.

    Args:
        module: Module that has the parameter.
        name: Name of the parameter.

    Raises:
        ParameterError: the module has no such parameter.

    Example:
        >>> import torch
        >>> identity(torch.nn.Linear(2, 3), "bias").bias_mask
        tensor([1., 1., 1.])
    """
    Identity.apply(module, name)
    return module


def random_unstructured(
    module: M, name: str, amount: int | float, *, generator: Generator | None = None
) -> M:
    """Prune random elements of ``name`` in place; return ``module``.

    Args:
        module: Module that has the parameter.
        name: Name of the parameter.
        amount: Fraction of the remaining elements, a float in [0, 1], or a count of them, an int ≥ 0.
        generator: Source of the random numbers; None is torch's global generator.

    Raises:
        ParameterError: the module has no such parameter.
        TypeError, ValueError: ``amount`` is neither a fraction nor a count, or is too large a count.

    Example:
        >>> import torch
        >>> m = random_unstructured(torch.nn.Linear(2, 3), "weight", amount=1)
        >>> torch.sum(m.weight_mask == 0)
        tensor(1)
    """
    RandomUnstructured.apply(module, name, amount, generator=generator)
    return module


def l1_unstructured(module: M, name: str, amount: int | float, importance_scores: Tensor | None = None) -> M:
    """Prune the elements of ``name`` with the lowest magnitudes in place; return ``module``.

    Args:
        module: Module that has the parameter.
        name: Name of the parameter.
        amount: Fraction of the remaining elements, a float in [0, 1], or a count of them, an int ≥ 0.
        importance_scores: Tensor of the parameter's shape to rank by magnitude instead.

    Raises:
        ParameterError: the module has no such parameter.
        ShapeError: ``importance_scores`` has another shape.
        TypeError, ValueError: ``amount`` is neither a fraction nor a count, or is too large a count.

    Example:
        >>> import torch
        >>> m = l1_unstructured(torch.nn.Linear(2, 3), "weight", amount=0.2)
        >>> list(m.state_dict())
        ['bias', 'weight_orig', 'weight_mask']
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(
    module: M, name: str, amount: int | float, dim: int, *, generator: Generator | None = None
) -> M:
    """Prune random channels of ``name`` along ``dim`` in place; return ``module``.

    Args:
        module: Module that has the parameter.
        name: Name of the parameter, which has at least two axes.
        amount: Fraction of the remaining channels, a float in [0, 1], or a count of them, an int ≥ 0.
        dim: Channel axis, ``-ndim <= dim < ndim``.
        generator: Source of the random numbers; None is torch's global generator.

    Raises:
        IndexError: ``dim`` is not an axis of the parameter.
        ParameterError: the module has no such parameter.
        TypeError, ValueError: ``amount`` is neither a fraction nor a count, or is too large a count.

    Example:
        >>> import torch
        >>> m = random_structured(torch.nn.Linear(5, 3), "weight", amount=3, dim=1)
        >>> int(sum(torch.sum(m.weight, dim=0) == 0))
        3
    """
    RandomStructured.apply(module, name, amount, dim, generator=generator)
    return module


def ln_structured(
    module: M,
    name: str,
    amount: int | float,
    n: Norm,
    dim: int,
    importance_scores: Tensor | None = None,
) -> M:
    """Prune the channels of ``name`` along ``dim`` with the lowest Ln norms in place; return ``module``.

    Args:
        module: Module that has the parameter.
        name: Name of the parameter, which has at least two axes.
        amount: Fraction of the remaining channels, a float in [0, 1], or a count of them, an int ≥ 0.
        n: Order of the norm: a number, ``inf``, ``-inf``, ``"fro"`` or ``"nuc"``.
        dim: Channel axis, ``-ndim <= dim < ndim``.
        importance_scores: Tensor of the parameter's shape to take the norms of instead.

    Raises:
        IndexError: ``dim`` is not an axis of the parameter.
        ParameterError: the module has no such parameter.
        ShapeError: ``importance_scores`` has another shape.
        TypeError, ValueError: ``amount`` or ``n`` is out of range, or ``amount`` counts too many.

    Example:
        >>> import torch
        >>> m = ln_structured(torch.nn.Conv2d(5, 3, 2), "weight", amount=0.3, dim=1, n=float("-inf"))
        >>> int((m.weight_mask.sum(dim=(0, 2, 3)) == 0).sum())
        2
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: M, name: str, mask: Tensor) -> M:
    """Prune ``name`` by a given mask in place; return ``module``.

    Args:
        module: Module that has the parameter.
        name: Name of the parameter.
        mask: Tensor of zeros and ones, of the parameter's shape and any dtype. Copied.

    Raises:
        ParameterError: the module has no such parameter.
        ShapeError: ``mask`` has another shape.
        TypeError, ValueError: ``mask`` is not a tensor, or not binary.

    Example:
        >>> import torch
        >>> m = custom_from_mask(torch.nn.Linear(5, 3), "bias", mask=torch.tensor([0, 1, 0]))
        >>> m.bias_mask
        tensor([0., 1., 0.])
    """
    CustomFromMask.apply(module, name, mask)
    return module


def remove(module: M, name: str) -> M:
    """Make the pruning of ``name`` permanent in place; return ``module``.

    The mask and the hook are removed; the parameter, zeros included, returns to its name and position.

    Args:
        module: Module whose parameter is pruned, by torch or by us.
        name: Name of the parameter.

    Raises:
        MissingPruningError: the parameter is not pruned.

    Example:
        >>> import torch
        >>> m = remove(random_unstructured(torch.nn.Linear(5, 7), "weight", amount=0.2), "weight")
        >>> [n for n, _ in m.named_parameters()]
        ['weight', 'bias']
    """
    hook = hook_of(module, name)
    if hook is None:
        raise MissingPruningError(
            f"Parameter '{name}' of module {described(module)} has to be pruned before pruning can be removed"
        )
    with all_or_nothing([module]):
        hook.remove(module)
        for key in [k for k, h in module._forward_pre_hooks.items() if h is hook]:
            del module._forward_pre_hooks[key]
    return module


def is_pruned(module: Module) -> bool:
    """Return whether any parameter of ``module`` or its submodules is pruned, by torch or by us.

    Args:
        module: Module to check.

    Example:
        >>> import torch
        >>> m = torch.nn.Linear(5, 7)
        >>> is_pruned(m), is_pruned(random_unstructured(m, "weight", amount=0.2))
        (False, True)
    """
    return any(is_method(hook) for m in module.modules() for hook in m._forward_pre_hooks.values())
