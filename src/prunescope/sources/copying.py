"""Deep copies of a model, to run, prune or export in place of the user's own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.sources.state import is_plain


def copy_of(model: nn.Module) -> nn.Module:
    """Return a deep copy of ``model``, pruned or not.

    Args:
        model: Any module; read, never written.

    Raises:
        RequestError: An attribute cannot be copied; the sentence names it.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> copy_of(model).weight is model.weight
        False
    """
    memo = _copied_tensors(model)
    try:
        return copy.deepcopy(model, dict(memo))
    except Exception as error:  # Whatever an attribute of the model raises when it is copied.
        raise RequestError("model", _why_not(model, memo, error)) from error


def _copied_tensors(model: nn.Module) -> dict[int, object]:
    """Return copies of the tensors that ``deepcopy`` refuses: with a grad history or a special layout."""
    memo: dict[int, object] = {}
    for _, value in _attributes(model):
        if isinstance(value, Tensor) and not (value.is_leaf and is_plain(value)):
            clone = value.detach().clone()
            parameter = isinstance(value, nn.Parameter)
            memo[id(value)] = nn.Parameter(clone, value.requires_grad) if parameter else clone
    return memo


def _attributes(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield every attribute of every layer with its full name, parameters and buffers included."""
    for prefix, module in model.named_modules():
        own = {key: value for key, value in vars(module).items() if key not in _TABLES}
        for name, value in {**own, **module._parameters, **module._buffers}.items():
            yield f"{prefix}.{name}".removeprefix("."), value


_TABLES = ("_parameters", "_buffers", "_modules")


def _why_not(model: nn.Module, memo: dict[int, object], error: Exception) -> str:
    found = next((each for each in _attributes(model) if not _can_be_copied(each[1], memo)), None)
    what = f"its attribute {found[0]} is a {type(found[1]).__name__}" if found else f"{type(model).__name__}"
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return (
        f"`model` cannot be copied, and only a copy of it is run or changed: {what} ({reason}). Explore a "
        "copy that you have made without that attribute, with `data` or `example` for it to be run on."
    )


def _can_be_copied(value: object, memo: dict[int, object]) -> bool:
    try:
        copy.deepcopy(value, dict(memo))
    except Exception:
        return False
    return True
