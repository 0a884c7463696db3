"""The steps as code: plain calls of `torch.nn.utils.prune`, or of ours, that give the same masks to the bit.

torch breaks ties as it likes, and fails where Prunescope does not. Each line for torch is therefore run, on a
copy; where its mask is not the step's, the code carries the mask itself.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from prunescope.core.errors import RequestError
from prunescope.core.knobs import Knob
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.export.model import has_call, place
from prunescope.session import Session
from prunescope.session.history import Step
from prunescope.session.recovered import Recovered
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

_WITH_SCORES = '''

def apply_pruning(model, scores="scores.safetensors"):
    """Prune a fresh copy of the model in place by the scores in a file, and return it."""
    scores = load_file(scores)
'''


def code(session: Session, *, engine: str = "torch") -> str:
    """Return a script whose ``apply_pruning(model)`` prunes a fresh copy of the model as the steps did.

    The masks are the same to the bit, those of random methods included.

    Args:
        session: The session; its model is read, never written.
        engine: A key of `ENGINES`: whose functions are called.

    Raises:
        RequestError: ``engine`` is neither.
    """
    if not isinstance(engine, str) or engine not in ENGINES:
        raise RequestError("engine", f"`engine` must be {' or '.join(map(repr, ENGINES))}, got {engine!r}.")
    model = copy_of(session.source.module)
    done = session.history.done
    blocks = [_block(model, step, number, engine) for number, step in enumerate(done, 1)]
    packed = any("unpack(" in block for block in blocks)
    imports = ["import torch", f"import {ENGINES[engine]} as prune"]
    imports += sorted({line for step in done for line in _imports(step)})
    if packed:
        imports = ["import base64", "import math", "import zlib", "", "import numpy as np", *imports]
    definition = _DEFINITION
    if any("scores[" in block for block in blocks):
        imports.append("from safetensors.torch import load_file")
        definition = _WITH_SCORES
    lines = [line for block in blocks for line in block.splitlines()]
    body = "\n".join(f"    {line}" for line in [*lines, "return model"])
    start = "\n".join(imports) + (_UNPACK if packed else "\n")
    return f"{start}{definition}{body}\n"


def _block(model: nn.Module, step: Step, number: int, engine: str) -> str:
    """Return the code of one step, having carried it out on ``model``."""
    comment = f"# Step {number}: {step.effect}."
    calls = [_checked_call(model, part, number, engine) for part in step.parts or (step,)]
    return "\n".join([comment, *calls])


def _checked_call(model: nn.Module, step: Step, number: int, engine: str) -> str:
    """Return the call of one pruning, or its mask if the call gives another; ``model`` has it then."""
    call = _call(step, engine, number)
    if not _does(call, model, step, engine, scores_of(step, number)):
        call = f"# {_why_a_mask(step)}, so this is the mask itself.\n{_masks(step)}"
        _put(model, step)
    return call


def _why_a_mask(step: Step) -> str:
    function = METHODS[step.spec.method].function if has_call(step.spec) else None
    if function is not None and not _room(function) and not hasattr(torch_prune, function.__name__):
        return f"{step.title}: torch has no such function"
    return "torch's own call gives another mask here (ties, or an error)"


def _call(step: Step, engine: str, number: int) -> str:
    spec = step.spec
    if isinstance(spec, Recovered):
        return f"# {spec.why_not}"
    if isinstance(spec, Silence):
        return _masking(spec)
    if not has_call(spec):
        return f"# {step.title}.\n{_masks(step)}"
    method = METHODS[spec.method]
    if method.pools is not None:
        return (
            f"prune.global_unstructured(\n    [\n{_pairs(step.masks, 8)}    ],\n"
            f"    {_name_of(method.pools)},\n{_all_scores(step, number)}    amount={spec.amount!r},\n)"
        )
    assert method.function is not None
    ours = engine == "prunescope" or _room(method.function) is not None
    wraps = [
        line for knob in method.knobs if knob.around and not ours for line in knob.around(_of(spec, knob))
    ]
    knobs = [knob for knob in method.knobs if ours or not knob.around]
    called = method.called(spec)
    keywords = [
        f"amount={spec.amount!r}",
        *(f"{knob.takes}={knob.code(_of(called, knob))}" for knob in knobs),
    ]
    if step.importance:
        keywords.append(f"importance_scores=scores[{scores_key(number, spec.layer)!r}]")
    call = f"{_name_of(method.function)}({_pair(spec.layer)[1:-1]}, {', '.join(keywords)})"
    return "\n".join([*wraps, f"    {call}" if wraps else call])


def _of(spec: PruneSpec, knob: Knob) -> Any:
    return getattr(spec, knob.name)


def _room(function: Callable[..., Any]) -> str | None:
    """Return the module that a function or class from outside is imported from; None for the engine's own."""
    module = function.__module__
    return None if module.split(".")[:2] == ["prunescope", "prune"] else module


def _name_of(function: Callable[..., Any]) -> str:
    return f"{_room(function) or 'prune'}.{function.__name__}"


def _imports(step: Step) -> list[str]:
    """Return the lines that import what a step's method has brought from outside the package."""
    if step.parts:
        return [line for part in step.parts for line in _imports(part)]
    if not has_call(step.spec):
        return []
    method = METHODS[step.spec.method]
    rooms = {_room(each) for each in (method.function, method.pools) if each is not None}
    return [f"import {room}" for room in sorted(filter(None, rooms))]


def _all_scores(step: Step, number: int) -> str:
    """Return the line that gives `global_unstructured` the scores of a step, or ""."""
    if not step.importance:
        return ""
    pairs = "".join(
        f"        {_pair(name)}: scores[{scores_key(number, name)!r}],\n" for name in step.importance
    )
    return f"    importance_scores={{\n{pairs}    }},\n"


def scores_key(number: int, name: str) -> str:
    """Return what the scores of a tensor in step ``number`` are called in a file."""
    return f"step {number}: {name}"


def scores_of(step: Step, number: int) -> dict[str, Tensor]:
    """Return the scores that step ``number`` ranked, as a file has them."""
    return {
        scores_key(number, name): values.detach().cpu().contiguous().clone()
        for name, values in step.importance.items()
    }


def all_scores(session: Session) -> dict[str, Tensor]:
    """Return the scores that the steps ranked in place of the weights; what code loads beside it."""
    steps = enumerate(session.history.done, 1)
    return {key: values for number, step in steps for key, values in scores_of(step, number).items()}


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


def _does(call: str, model: nn.Module, step: Step, engine: str, scores: Mapping[str, Tensor]) -> bool:
    """Return whether ``call`` gives the step's masks; it is carried out on ``model``."""
    names: dict[str, Any] = {"torch": torch, "model": model, "scores": scores}
    exec(f"import {ENGINES[engine]} as prune", names)
    try:
        exec("\n".join([*_imports(step), call]), names)
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
    dim = step.spec.dim if isinstance(step.spec.dim, int) else 0
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
