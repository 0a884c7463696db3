"""The steps as code: plain calls of `torch.nn.utils.prune`, or of ours, that give the same masks to the bit.

torch breaks ties as it likes, and fails where Prunescope does not. Each line for torch is therefore run, on a
copy; where its mask is not the step's, the code carries the mask itself.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunescope.core.spec import METHODS
from prunescope.export.model import place
from prunescope.session import Session
from prunescope.session.history import Step
from prunescope.session.residuals import Silence
from prunescope.sources import copy_of

ENGINES = {"torch": "torch.nn.utils.prune", "prunescope": "prunescope.prune"}
"""The module whose functions the code calls, by the name of the package it needs."""

_MOST_LISTED = 256
"""Pruned channels that code names one by one."""

_UNPACK = '''

def unpack(packed, shape):
    """Return the mask that `packed` holds, one bit a weight."""
    bits = np.frombuffer(zlib.decompress(base64.b64decode(packed)), dtype=np.uint8)
    return torch.from_numpy(np.unpackbits(bits, count=math.prod(shape)).reshape(shape))
'''

_DEFINITION = '''

def apply_pruning(model):
    """Prune a fresh copy of the model in place, and return it."""
'''


def code(session: Session, *, engine: str = "torch") -> str:
    """Return a script whose ``apply_pruning(model)`` prunes a fresh copy of the model as the steps did.

    The masks are the same to the bit, those of random methods included.

    Args:
        session: The session; its model is read, never written.
        engine: A key of `ENGINES`: whose functions are called.

    Raises:
        KeyError: ``engine`` is neither.
    """
    model = copy_of(session.source.module)
    blocks = [_block(model, step, number, engine) for number, step in enumerate(session.history.done, 1)]
    packed = any("unpack(" in block for block in blocks)
    imports = ["import torch", f"import {ENGINES[engine]} as prune"]
    if packed:
        imports = ["import base64", "import math", "import zlib", "", "import numpy as np", *imports]
    lines = [line for block in blocks for line in block.splitlines()]
    body = "\n".join(f"    {line}" for line in [*lines, "return model"])
    start = "\n".join(imports) + (_UNPACK if packed else "\n")
    return f"{start}{_DEFINITION}{body}\n"


def _block(model: nn.Module, step: Step, number: int, engine: str) -> str:
    """Return the code of one step, having carried it out on ``model``."""
    comment = f"# Step {number}: {step.effect}."
    call = _call(step, engine)
    if not _does(call, model, step, engine):
        reason = "# torch's own call gives another mask here (ties, or an error), so this is the mask itself."
        call = f"{reason}\n{_masks(step)}"
        _put(model, step)
    return f"{comment}\n{call}"


def _call(step: Step, engine: str) -> str:
    spec = step.spec
    if isinstance(spec, Silence):
        return _masking(spec)
    if spec.by_hand:
        return f"# {step.title}.\n{_masks(step)}"
    method = METHODS[spec.method]
    if method.pooled:
        return (
            f"prune.global_unstructured(\n    [\n{_pairs(step.masks, 8)}    ],\n"
            f"    prune.L1Unstructured,\n    amount={spec.amount!r},\n)"
        )
    fields = [name for name in ("amount", "n", "dim") if name in method.uses]
    values = ", ".join(f"{name}={_literal(getattr(spec, name))}" for name in fields)
    start = f"prune.{method.key}({_pair(spec.layer)[1:-1]}, {values}"
    if "seed" not in method.uses:
        return f"{start})"
    if engine == "prunescope":
        return f"{start}, generator=torch.Generator().manual_seed({spec.seed}))"
    return (
        f"with torch.random.fork_rng():  # leaves the global random state as it is\n"
        f"    torch.manual_seed({spec.seed})\n    {start})"
    )


def _masking(asked: Silence) -> str:
    """Return the code that masks entries, a loop for all parameters of which it is the same ones."""
    names: dict[tuple[int, ...], list[str]] = {}
    for name, entries in asked.channels.items():
        names.setdefault(entries, []).append(name)
    return "\n".join(
        f"for module, name in [\n{_pairs(together)}]:\n"
        f"    mask = torch.ones_like(getattr(module, name))\n"
        f"    mask[{list(entries)}] = 0\n"
        f"    prune.custom_from_mask(module, name, mask)"
        for entries, together in names.items()
    )


def _pairs(names: Iterable[str], indent: int = 4) -> str:
    return "".join(f"{' ' * indent}{_pair(name)},\n" for name in names)


def _pair(name: str) -> str:
    prefix, _, own = name.rpartition(".")
    return f"({f'model.get_submodule({prefix!r})' if prefix else 'model'}, {own!r})"


def _literal(value: Any) -> str:
    if isinstance(value, float) and math.isinf(value):
        return f'float("{value}")'
    return repr(value)


def _does(call: str, model: nn.Module, step: Step, engine: str) -> bool:
    """Return whether ``call`` gives the step's masks; it is carried out on ``model``."""
    names: dict[str, Any] = {"torch": torch, "model": model}
    exec(f"import {ENGINES[engine]} as prune", names)
    try:
        exec(call, names)
    except Exception:
        return False
    return all(torch.equal(_mask(model, name).bool().cpu(), mask.cpu()) for name, mask in step.masks.items())


def _mask(model: nn.Module, name: str) -> Tensor:
    module, own = place(model, name)
    return module.get_buffer(f"{own}_mask")


def _put(model: nn.Module, step: Step) -> None:
    """Give ``model`` the step's masks, whatever a failed call has left of it."""
    names: dict[str, Any] = {"model": model}
    exec("import torch.nn.utils.prune as prune", names)
    for name, mask in step.masks.items():
        module, own = place(model, name)
        if f"{own}_mask" in module._buffers:
            buffer = _mask(model, name)
            buffer.copy_(mask.to(buffer.dtype))
        else:
            names["prune"].custom_from_mask(module, own, mask)


def _masks(step: Step) -> str:
    """Return the calls that prune by the step's masks themselves."""
    dim = 0 if isinstance(step.spec, Silence) else step.spec.dim
    return "\n".join(_custom(name, mask, dim) for name, mask in step.masks.items())


def _custom(name: str, mask: Tensor, dim: int) -> str:
    """Return the call that prunes by ``mask``: the pruned channels where it has whole ones, else its bits."""
    dim = min(dim, mask.dim() - 1)  # Another tensor of those that were ranked together may have fewer.
    kept = mask.movedim(dim, 0).reshape(mask.shape[dim], -1)
    gone = (~kept.any(1)).nonzero().flatten().tolist()
    if len(gone) <= _MOST_LISTED and bool((kept.all(1) | ~kept.any(1)).all()):
        made = f"torch.ones({tuple(mask.shape)!r})"
        if gone:  # An empty list would be a tensor of floats, which is no index.
            made += f".index_fill({dim}, torch.tensor({gone!r}), 0)"
    else:
        bits = np.packbits(mask.cpu().numpy().reshape(-1))
        packed = base64.b64encode(zlib.compress(bits.tobytes(), 9)).decode()
        made = f"unpack({packed!r}, {tuple(mask.shape)!r})"
    return f"prune.custom_from_mask({_pair(name)[1:-1]}, {made})"
