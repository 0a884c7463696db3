"""Write the steps as code: calls of `torch.nn.utils.prune` or `prunescope.prune` that give identical masks.

torch breaks ties in unspecified order, and fails in cases where Prunescope does not. Each call is therefore
run on a copy; if its mask differs from the step's, the code contains the mask itself.
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
"""The module that the code calls, by the name of the package it needs."""

_MOST_LISTED = 256
"""Most pruned channels that the code lists one by one."""

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

    The masks are identical, including those of random methods.

    Args:
        session: The session; its model is read, never written.
        engine: A key of `ENGINES`: the package to call.

    Raises:
        RequestError: ``engine`` is not a key of `ENGINES`.
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
    """Return the code of one step, and apply the step to ``model``."""
    comment = f"# Step {number}: {step.effect}."
    calls = [_checked_call(model, part, number, engine) for part in step.parts or (step,)]
    return "\n".join([comment, *calls])


def _checked_call(model: nn.Module, step: Step, number: int, engine: str) -> str:
    """Return the call for one pruning, or its mask if the call gives another; ``model`` is pruned too."""
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
    """Return the module to import a third-party function or class from; None for Prunescope's own."""
    module = function.__module__
    return None if module.split(".")[:2] == ["prunescope", "prune"] else module


def _name_of(function: Callable[..., Any]) -> str:
    return f"{_room(function) or 'prune'}.{function.__name__}"


def _imports(step: Step) -> list[str]:
    """Return the import lines for a step whose method comes from outside the package."""
    if step.parts:
        return [line for part in step.parts for line in _imports(part)]
    if not has_call(step.spec):
        return []
    method = METHODS[step.spec.method]
    rooms = {_room(each) for each in (method.function, method.pools) if each is not None}
    return [f"import {room}" for room in sorted(filter(None, rooms))]


def _all_scores(step: Step, number: int) -> str:
    """Return the argument that passes the scores of a step to `global_unstructured`, or ""."""
    if not step.importance:
        return ""
    pairs = "".join(
        f"        {_pair(name)}: scores[{scores_key(number, name)!r}],\n" for name in step.importance
    )
    return f"    importance_scores={{\n{pairs}    }},\n"


def scores_key(number: int, name: str) -> str:
    """Return the key in a file for the scores of a tensor in step ``number``."""
    return f"step {number}: {name}"


def scores_of(step: Step, number: int) -> dict[str, Tensor]:
    """Return the scores that step ``number`` ranked, by their keys in a file."""
    return {
        scores_key(number, name): values.detach().cpu().contiguous().clone()
        for name, values in step.importance.items()
    }


def all_scores(session: Session) -> dict[str, Tensor]:
    """Return the scores that the steps ranked in place of the weights, which the code loads from a file."""
    steps = enumerate(session.history.done, 1)
    return {key: values for number, step in steps for key, values in scores_of(step, number).items()}


def _masking(asked: Silence) -> str:
    """Return the code that masks entries, with one loop for parameters that share the same entries."""
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
    """Run ``call`` on ``model``, and return whether it gives the step's masks."""
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
    """Put the step's masks into ``model``, whatever state a failed call has left it in."""
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
    """Return the calls that prune with the step's masks themselves."""
    dim = step.spec.dim if isinstance(step.spec.dim, int) else 0
    return "\n".join(_custom(name, mask, dim) for name, mask in step.masks.items())


def _custom(name: str, mask: Tensor, dim: int) -> str:
    """Return the call that prunes with ``mask``, written as pruned channels if it has only whole ones."""
    dim = min(dim, mask.dim() - 1)  # Other tensors ranked together with it may have fewer axes.
    kept = mask.movedim(dim, 0).reshape(mask.shape[dim], -1)
    gone = (~kept.any(1)).nonzero().flatten().tolist()
    if len(gone) <= _MOST_LISTED and bool((kept.all(1) | ~kept.any(1)).all()):
        made = f"torch.ones({tuple(mask.shape)!r})"
        if gone:  # An empty list would be a tensor of floats, not of indices.
            made += f".index_fill({dim}, torch.tensor({gone!r}), 0)"
    else:
        bits = np.packbits(mask.cpu().numpy().reshape(-1))
        packed = base64.b64encode(zlib.compress(bits.tobytes(), 9)).decode()
        made = f"unpack({packed!r}, {tuple(mask.shape)!r})"
    return f"prune.custom_from_mask({_pair(name)[1:-1]}, {made})"
