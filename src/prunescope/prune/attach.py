"""Put a mask on a module's parameter, and make it permanent: the only code that changes a module."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from prunescope.prune import projection
from prunescope.prune.combine import next_mask, selects_by_rank
from prunescope.prune.compat import is_method, name_tensor, tensor_name
from prunescope.prune.errors import ShapeError
from prunescope.prune.masking import is_soft, masked
from prunescope.prune.parameters import (
    MASK,
    ORIG,
    all_or_nothing,
    described,
    parameter_to_prune,
    put_before,
    successors,
)
from prunescope.prune.protocols import Attachment, Hook, PruningMethod
from prunescope.prune.scores import scores_for


def prune(method: Hook, module: Module, name: str, importance_scores: Tensor | None) -> Hook:
    """Prune ``module.name`` by ``method`` and return the hook; on any error the module is untouched."""
    hook = hook_of(module, name)
    orig = original(module, name, hook)
    tensor: Tensor = getattr(module, name)
    scores = (
        tensor if importance_scores is None else scores_for(whose(module, name), tensor, importance_scores)
    )
    mask = next_mask(method, scores, mask_of(module, name, hook), soft=_attachment(hook).soft)
    soft = not selects_by_rank(method) and is_soft(mask)
    if hook is not None or selects_by_rank(method):
        # As in torch: the first mask of an unstructured method has the weight's type, others the scores'.
        first = hook is None and method.PRUNING_TYPE == "unstructured"
        mask = mask.to(orig.dtype if first else scores.dtype)
    with all_or_nothing([module]):
        return put_on(method, module, name, mask, soft=soft)


def put_on(method: Hook, module: Module, name: str, mask: Tensor, *, soft: bool = False) -> Hook:
    """Give ``module.name`` a mask that ``method`` has computed, and return the hook.

    Args:
        method: PruningMethod to remember as the latest of this tensor.
        module: Module that has the parameter.
        name: Name of the parameter.
        mask: Complete mask, earlier pruning included, of the parameter's shape.
        soft: Whether the mask has values other than 0 and 1.
    """
    old = hook_of(module, name)
    name_tensor(method, name)
    hook = method if old is None else method.joined_to(old)
    before = _attachment(old)
    after = successors(module, name, _orders(module)) if old is None else before.after
    hook.attachment = Attachment(after, soft or before.soft)
    if old is None:
        orig = parameter_to_prune(module, name)
        module.register_parameter(name + ORIG, orig)
        del module._parameters[name]
    else:
        _drop(module, old)
    projection.make_effective(module, name)
    module.register_buffer(name + MASK, mask)
    hook.give(module)
    module.register_forward_pre_hook(hook, prepend=_computes_weights(module))
    method.settle()
    return hook


def fold(module: Module, name: str, pruned: Tensor, after: Iterable[str]) -> None:
    """Copy ``pruned`` into the original parameter, and restore its name and position."""
    orig = module._parameters[name + ORIG]
    if orig is None:
        raise ShapeError(f"{name + ORIG!r} must be a tensor")
    if hasattr(module, name):
        delattr(module, name)
    orig.data = pruned.data
    del module._parameters[name + ORIG], module._buffers[name + MASK]
    projection.make_plain(module)
    setattr(module, name, orig)
    put_before(module, name, after)


def hook_of(module: Module, name: str) -> PruningMethod | None:
    """Return the pruning hook, torch's or ours, on ``module.name``, or None.

    Raises:
        AssertionError: there are several.
    """
    hooks = [h for h in module._forward_pre_hooks.values() if is_method(h) and tensor_name(h) == name]
    if len(hooks) > 1:
        raise AssertionError(
            f"{described(module)} has {len(hooks)} pruning hooks on {name!r}: use a container"
        )
    return hooks[0] if hooks else None


def original(module: Module, name: str, hook: object) -> Parameter:
    """Return the parameter with the values of ``module.name``; ``hook`` is None if it is not pruned.

    Raises:
        ParameterError: there is none.
    """
    if hook is None:
        return parameter_to_prune(module, name)
    orig: Parameter = getattr(module, name + ORIG)
    return orig


def mask_of(module: Module, name: str, hook: object) -> Tensor | None:
    """Return the mask of ``module.name``, or None if it is not pruned."""
    mask: Tensor | None = None if hook is None else getattr(module, name + MASK).detach()
    return mask


def whose(module: Module, name: str) -> str:
    """Describe the parameter briefly for an error message; formatting a module is slow."""
    return f"parameter {name!r} of {described(module)}"


def copy_product(module: Module, name: str, memo: dict[int, Any], *, soft: bool) -> None:
    """Record in ``memo`` the copy of ``module.name``, made from the copies of its original and mask."""
    tensor = module.__dict__.get(name)
    orig, mask = (memo.get(id(getattr(module, name + suffix, None))) for suffix in (ORIG, MASK))
    if isinstance(tensor, Tensor) and orig is not None and mask is not None and id(tensor) not in memo:
        with torch.set_grad_enabled(tensor.requires_grad):
            memo[id(tensor)] = masked(orig, mask, soft=soft)


def _drop(module: Module, hook: object) -> None:
    for key, value in list(module._forward_pre_hooks.items()):
        if value is hook:
            del module._forward_pre_hooks[key]


def _orders(module: Module) -> dict[str, tuple[str, ...]]:
    """Return which parameters followed each one that we pruned; torch's hooks do not record it."""
    hooks = [h for h in module._forward_pre_hooks.values() if is_method(h) and hasattr(h, "attachment")]
    return {name: _attachment(h).after for h in hooks if (name := tensor_name(h)) is not None}


def _attachment(hook: PruningMethod | None) -> Attachment:
    """Return how a hook is attached to its module; torch's hooks do not record it."""
    found: Attachment = getattr(hook, "attachment", Attachment())
    return found


def _computes_weights(module: Module) -> bool:
    """Return whether another hook computes a weight from ours, which must then be updated first."""
    return any(isinstance(h, WeightNorm | SpectralNorm) for h in module._forward_pre_hooks.values())
