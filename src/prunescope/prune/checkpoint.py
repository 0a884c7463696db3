"""Load a pruned checkpoint into a plain model, or a plain one into a pruned model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Module

from prunescope.prune.attach import hook_of, put_on
from prunescope.prune.errors import ShapeError
from prunescope.prune.masking import is_soft
from prunescope.prune.methods import CustomFromMask
from prunescope.prune.parameters import MASK, ORIG, all_or_nothing, parameter_to_prune


class Keys(NamedTuple):
    """What did not match when a state dict was loaded, as ``Module.load_state_dict`` reports it."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_pruned_state_dict(module: Module, state_dict: Mapping[str, Tensor], strict: bool = True) -> Keys:
    """Load ``state_dict``, pruned or not, into ``module``; return the keys that did not match.

    A tensor that is pruned in ``state_dict`` (``name_orig`` and ``name_mask``) is pruned in ``module``
    afterwards, whether or not it was before. A tensor that is plain in ``state_dict`` sets the module's
    values; if the module's is pruned, it stays so, with its mask. On any error ``module`` is unchanged.

    Args:
        module: Module to load into, pruned or not.
        state_dict: State of a module of the same architecture, pruned or not. Read, never written.
        strict: Whether keys that do not match are an error.

    Returns:
        Two lists, ``missing_keys`` and ``unexpected_keys``; both empty if ``strict``.

    Raises:
        ParameterError: ``state_dict`` has a mask for a parameter that ``module`` does not have.
        RuntimeError: keys (if ``strict``) or shapes do not match.

    Example:
        >>> import prunescope.prune as prune
        >>> pruned = prune.custom_from_mask(torch.nn.Linear(2, 1), "weight", torch.tensor([[0, 1]]))
        >>> plain = torch.nn.Linear(2, 1)
        >>> load_pruned_state_dict(plain, pruned.state_dict())
        Keys(missing_keys=[], unexpected_keys=[])
        >>> plain.weight_mask
        tensor([[0., 1.]])
    """
    modules = dict(module.named_modules())
    with all_or_nothing(modules.values()), _values_kept(module):
        for path, name in _masked_names(state_dict):
            if path in modules:
                _ensure_pruned(modules[path], name, state_dict[_key(path, name + MASK)])
        result = module.load_state_dict(_renamed(modules, state_dict), strict=strict)
        for owner in modules.values():
            _refresh(owner)
    return Keys(list(result.missing_keys), list(result.unexpected_keys))


def _key(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _masked_names(state_dict: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the (module path, parameter name) of every pruned tensor of a state dict."""
    keys = [k.removesuffix(ORIG) for k in state_dict if k.endswith(ORIG)]
    pruned = [k for k in keys if k + MASK in state_dict and k not in state_dict]
    return [(path, name) for path, _, name in (k.rpartition(".") for k in pruned)]


def _ensure_pruned(module: Module, name: str, mask: Tensor) -> None:
    if hook_of(module, name) is not None:
        return
    orig = parameter_to_prune(module, name)
    if mask.shape != orig.shape:
        raise ShapeError(
            f"the mask of {name!r} must have the shape {tuple(orig.shape)}, got {tuple(mask.shape)}"
        )
    ones = torch.ones_like(orig, memory_format=torch.contiguous_format)
    origin: tuple[str, dict[str, object]] = ("load_pruned_state_dict", {})
    put_on(CustomFromMask.handed_over(origin), module, name, ones, soft=is_soft(mask))


def _renamed(modules: Mapping[str, Module], state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict with tensors renamed where the module is pruned, and its masks added."""
    state = dict(state_dict)
    for path, owner in modules.items():
        for name in _pruned_names(owner):
            plain, orig, mask = (_key(path, name + suffix) for suffix in ("", ORIG, MASK))
            if plain in state and orig not in state:
                state[orig] = state.pop(plain)
                state.setdefault(mask, getattr(owner, name + MASK))
    return state


def _pruned_names(module: Module) -> list[str]:
    names = [n.removesuffix(ORIG) for n in module._parameters if n.endswith(ORIG)]
    return [n for n in names if hook_of(module, n) is not None]


def _refresh(module: Module) -> None:
    """Recompute the masked tensors, so that they are right before the first forward pass."""
    for name in _pruned_names(module):
        hook = hook_of(module, name)
        if hook is not None:
            hook(module, None)


class _values_kept:
    """Restore the values of a module's tensors if the block raises: loading copies in place."""

    def __init__(self, module: Module) -> None:
        self._tensors = [*module.parameters(), *module.buffers()]
        self._saved = [t.detach().clone() for t in self._tensors]

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            with torch.no_grad():
                for tensor, value in zip(self._tensors, self._saved, strict=True):
                    tensor.copy_(value)
