"""The module's side of pruning: its parameters, their order, and undoing a failed change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch.nn import Module, Parameter, UninitializedParameter
from torch.nn.utils import parametrize

from prunescope.prune.errors import ParameterError

ORIG, MASK = "_orig", "_mask"


def described(module: Module) -> str:
    """Describe the module in one short line for an error message."""
    return f"{type(module).__name__}({module.extra_repr()})"


def parameter_to_prune(module: Module, name: str) -> Parameter:
    """Return the parameter ``name`` of ``module``.

    Raises:
        ParameterError: it does not exist, is None, computed, or not materialised yet.
    """
    parameter = module._parameters.get(name)
    if parameter is None or isinstance(parameter, UninitializedParameter):
        raise ParameterError(_why_not(module, name))
    if name + ORIG in module._parameters:
        raise ParameterError(f"{described(module)} has a parameter {name + ORIG!r} of its own")
    return parameter


def _why_not(module: Module, name: str) -> str:
    whose = f"parameter {name!r} of {described(module)}"
    own = ", ".join(repr(k) for k, p in module._parameters.items() if p is not None) or "none"
    if isinstance(module._parameters.get(name), UninitializedParameter):
        return f"{whose} has no values yet: run the lazy module once, then prune it"
    if parametrize.is_parametrized(module, name):
        return f"{whose} is computed by a parametrization: remove that first, or prune what it is made from"
    if name in module._parameters:
        return f"{described(module)} has no such parameter: {name!r} is None"
    if name in module._buffers:
        return f"{described(module)} has no such parameter: {name!r} is a buffer; its parameters: {own}"
    if name in module.__dict__:
        return f"{described(module)} has no such parameter: {name!r} is computed; its parameters: {own}"
    return f"{described(module)} has no such parameter: {name!r}; its parameters: {own}"


def successors(module: Module, name: str, pruned: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the names of the parameters that follow ``name``, to restore its position later.

    Args:
        module: Module that has the parameter, not pruned yet.
        name: Name of the parameter.
        pruned: The parameters that followed each one already pruned. Those have lost their position, but
            anything that did not follow one of them preceded it.
    """
    names = list(module._parameters)
    plain = [n for n in names[names.index(name) + 1 :] if not n.endswith(ORIG)]
    return (*plain, *(n for n, after in pruned.items() if name not in after))


def put_before(module: Module, name: str, after: Iterable[str]) -> None:
    """Move parameter ``name`` in front of the first of ``after``, pruned or not, in the module's order."""
    followers = {n + suffix for n in after for suffix in ("", ORIG)}
    names = list(module._parameters)
    place = next((n for n in names if n in followers), None)
    if place is None:
        return
    for n in names[names.index(place) :]:
        if n != name:
            module._parameters[n] = module._parameters.pop(n)


@contextmanager
def all_or_nothing(modules: Iterable[Module]) -> Iterator[None]:
    """Restore every module if the block raises."""
    saved = [(module, _contents(module)) for module in dict.fromkeys(modules)]
    try:
        yield
    except BaseException:
        for module, contents in saved:
            _restore(module, contents)
        raise


# What pruning changes inside a module; recurrent layers keep a list of their weights as well.
_CHANGED = ("_parameters", "_buffers", "_non_persistent_buffers_set", "_forward_pre_hooks", "_flat_weights")


def _contents(module: Module) -> dict[str, Any]:
    state = dict(module.__dict__)
    copied = {k: state[k].copy() for k in _CHANGED if k in state}
    return {"class": module.__class__, "state": state, "copied": copied}


def _restore(module: Module, contents: dict[str, Any]) -> None:
    module.__class__ = contents["class"]
    module.__dict__.clear()
    module.__dict__.update(contents["state"])
    for key, value in contents["copied"].items():
        held = module.__dict__[key]
        held.clear()
        held.extend(value) if isinstance(held, list) else held.update(value)
