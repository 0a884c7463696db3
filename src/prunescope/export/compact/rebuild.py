"""Saving a smaller network so that its original class can be given its shapes again.

`rebuild` needs nothing of Prunescope: its text is saved beside the weights.
"""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

KEY = "prunescope-smaller"
"""Where the file's metadata holds the attributes that changed."""


def changed_attributes(before: nn.Module, after: nn.Module) -> dict[str, dict[str, Any]]:
    """Return the sizes that layers of ``after`` have and those of ``before`` have not, by layer and name.

    Example:
        >>> changed_attributes(nn.Linear(4, 3), nn.Linear(4, 2))
        {'': {'out_features': 2}}
    """
    originals = dict(before.named_modules())
    changed: dict[str, dict[str, Any]] = {}
    for name, module in after.named_modules():
        old = vars(originals[name])
        sizes = {
            key: value
            for key, value in vars(module).items()
            if isinstance(value, int | tuple) and not key.startswith("_") and old.get(key) != value
        }
        if sizes:
            changed[name] = sizes
    return changed


def compact_bytes(before: nn.Module, after: nn.Module) -> bytes:
    """Return the weights of ``after`` as a safetensors file that `rebuild` reads.

    Args:
        before: The network with its original shapes.
        after: The smaller one.
    """
    state = {name: value.detach().cpu().contiguous().clone() for name, value in after.state_dict().items()}
    changed = json.dumps(changed_attributes(before, after))
    return safetensors.torch.save(state, {"format": "pt", KEY: changed})


def rebuild(model: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Give a fresh network of the original class the smaller shapes and weights of a file; returns it.

    Args:
        model: Made as the original was; changed in place.
        path: The safetensors file.
    """
    with safetensors.safe_open(path, "pt") as file:
        changed = json.loads(file.metadata()["prunescope-smaller"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict
    for name, sizes in changed.items():
        for key, value in sizes.items():
            setattr(model.get_submodule(name), key, tuple(value) if isinstance(value, list) else value)
    for name, value in state.items():
        prefix, _, own = name.rpartition(".")
        module = model.get_submodule(prefix)
        if own in module._parameters:
            setattr(module, own, nn.Parameter(value, value.is_floating_point()))
        else:
            setattr(module, own, value)
    return model


def rebuild_code(title: str, file: str) -> str:
    """Return `rebuild` as a script of its own.

    Args:
        title: Name of the original class.
        file: Name of the weights' file.
    """
    source = inspect.getsource(rebuild).replace("safetensors.safe_open", "safe_open")
    return (
        f'"""Rebuild the smaller {title}:  model = rebuild({title}(...), "{file}")"""\n\n'
        "import json\nimport os\n\nfrom safetensors import safe_open\nfrom torch import nn\n\n\n"
        f"{source}"
    )


def state_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of the model's state, by name."""
    return {
        name: tuple(value.shape) for name, value in model.state_dict().items() if isinstance(value, Tensor)
    }


def save_compact(before: nn.Module, after: nn.Module, path: Path) -> tuple[bytes, str]:
    """Return what the file of weights at ``path`` and the script beside it hold."""
    return compact_bytes(before, after), rebuild_code(type(after).__name__, path.name)
