"""Rerun a network from the layer that changed: modules before it return their recorded outputs.

Calls of modules below the root are numbered in order of entry. A run with all weights records what each call
returned; a run with one weight changed returns the recorded output of every call that ended before the first
call of that weight's layer. Control flow does not matter: up to that point both runs are the same. If whole
output channels of a layer are pruned, its own output is not computed either: it is the recorded one, with the
bias in place of the pruned channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from prunescope.measure import EvalCopy
from prunescope.sources.inputs import scores_of
from prunescope.sources.state import version

CHANNEL_AXES: Mapping[type[nn.Module], int] = {nn.Linear: -1, nn.Conv1d: 1, nn.Conv2d: 1, nn.Conv3d: 1}
"""Kinds of layer of which dim 0 of the weight numbers output channels, and their axis in the output."""


@dataclass(frozen=True, eq=False)
class _Call:
    """The recorded output of one call of a module; the numbers of its inner calls are below ``end``."""

    module: nn.Module
    end: int
    output: Any
    versions: tuple[int, ...]


class Replay:
    """A copy that reruns the network from the layer of the one tensor that changed.

    Args:
        copy: A copy of a model, not used for anything else: its modules' ``forward`` is wrapped.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        >>> replay, x = Replay(EvalCopy(model)), torch.ones(1, 2)
        >>> dense = replay.record((x,))
        >>> bool((replay.run((x,), "2.weight", model[2].weight.detach()) == dense).all())
        True
    """

    def __init__(self, copy: EvalCopy, weights: Mapping[str, Tensor] | None = None) -> None:
        self._copy = copy
        self._weights = dict(weights or {})
        self._calls: dict[int, _Call] = {}
        self._entries: dict[int, int] = {}
        self._computed: set[str] = set()
        self._cut: Tensor | None = None
        self._written: set[int] = set()
        self._whole: set[str] = set()
        self._recording, self._tick, self._start = False, 0, 0
        self._wrap()

    def _wrap(self) -> None:
        model = self._copy.model
        for module in model.modules():
            if module is not model and not isinstance(module, torch.jit.ScriptModule):
                module.forward = partial(self._forward, module, module.forward)

    def record(self, inputs: tuple[Tensor, ...]) -> Any:
        """Run the network with all weights, record what its modules return, and return its output."""
        while True:
            self._calls, self._entries, self._recording = {}, {}, True
            output = self._run(inputs, {}, 0)
            self._recording = False
            written = {tick for tick, call in self._calls.items() if _versions(call.output) != call.versions}
            if not written:
                return output
            # An in-place operation changed what a module returned: record a copy of it next time.
            self._written |= written

    def run(self, inputs: tuple[Tensor, ...], name: str, weight: Tensor, kept: Tensor | None = None) -> Any:
        """Return the network's output with ``weight`` in place of the parameter ``name``.

        Args:
            inputs: The inputs of the last `record`.
            name: Full name of a parameter.
            weight: A tensor of its shape.
            kept: Of a weight that lacks whole channels along dim 0, which of them are left, boolean.

        Raises:
            RequestError: The network cannot be run.
        """
        start = 0 if name in self._whole else self._first_call(name)
        if kept is None or not start or name in self._computed:
            return self._run(inputs, {name: weight}, start)
        self._cut = self._without(start, name, kept)
        try:
            return self._run(inputs, {name: weight}, start)
        finally:
            self._cut = None

    def _without(self, start: int, name: str, kept: Tensor) -> Tensor | None:
        """Return what the layer's first call returns with these channels alone; None where it is computed."""
        call = self._calls.get(start)
        path, _, own = name.rpartition(".")
        if call is None or own != "weight" or type(call.module) not in CHANNEL_AXES:
            return None
        if call.module is not self._copy.model.get_submodule(path) or not isinstance(call.output, Tensor):
            return None
        axis = CHANNEL_AXES[type(call.module)] % call.output.dim()
        shape = [-1 if place == axis else 1 for place in range(call.output.dim())]
        bias: Any = self._weights.get(f"{path}.bias", call.module.bias)
        instead = torch.zeros((), dtype=call.output.dtype) if bias is None else bias.detach().reshape(shape)
        device = call.output.device
        return torch.where(kept.to(device).reshape(shape), call.output, instead.to(device))

    def check(
        self, inputs: tuple[Tensor, ...], name: str, weight: Tensor, kept: Tensor | None = None
    ) -> None:
        """Compare one run with one of the whole network; if they differ, always run the whole from then on.

        They differ if the parameter is read before its layer is called. A few examples are enough.

        Args:
            inputs: The inputs of the last `record`.
            name: Full name of a parameter.
            weight: A tensor of its shape that changes what the network answers.
            kept: As for `run`.

        Raises:
            RequestError: The network cannot be run.
        """
        whole = self._run(inputs, {name: weight}, 0)
        if not _same(self.run(inputs, name, weight), whole):
            self._whole.add(name)
        elif kept is not None and not _same(self.run(inputs, name, weight, kept), whole):
            self._computed.add(name)

    def forget(self) -> None:
        """Free the recorded outputs."""
        self._calls = {}

    def _run(self, inputs: tuple[Tensor, ...], changed: Mapping[str, Tensor], start: int) -> Any:
        self._tick, self._start = 0, start
        return scores_of(self._copy.run(inputs, {**self._weights, **changed}))

    def _first_call(self, name: str) -> int:
        """Return the number of the first call of the layer that holds ``name``; 0 if unknown."""
        path = name.rpartition(".")[0]
        while path:
            entry = self._entries.get(id(self._copy.model.get_submodule(path)))
            if entry is not None:
                return entry
            path = path.rpartition(".")[0]
        return 0

    def _forward(self, module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        tick = self._tick
        if not self._recording:
            call = self._calls.get(tick) if tick < self._start else None
            if call is not None and call.module is module and call.end <= self._start:
                self._tick = call.end
                return _copy(call.output) if tick in self._written else call.output
            if self._cut is not None and tick == self._start:
                self._tick = tick + 1
                return self._cut
        self._tick = tick + 1
        output = forward(*args, **kwargs)
        if self._recording:
            self._entries.setdefault(id(module), tick)
            if _is_plain(output):
                self._take_down(tick, module, output)
        return output

    def _take_down(self, tick: int, module: nn.Module, output: Any) -> None:
        kept = _copy(output) if tick in self._written else output
        self._calls[tick] = _Call(module, self._tick, kept, _versions(kept))


def _is_plain(output: object) -> bool:
    """Return whether ``output`` consists only of tensors, plain values, tuples, lists and dicts."""
    if isinstance(output, dict):
        return type(output) is dict and all(map(_is_plain, output.values()))
    if isinstance(output, tuple | list):
        return type(output) in (tuple, list) and all(map(_is_plain, output))
    return output is None or isinstance(output, Tensor | bool | int | float | str)


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict | tuple | list):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors(part)


def _versions(output: Any) -> tuple[int, ...]:
    return tuple(version(tensor) for tensor in _tensors(output))


def _copy(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.clone()
    if isinstance(output, dict):
        return {key: _copy(value) for key, value in output.items()}
    return type(output)(map(_copy, output)) if isinstance(output, tuple | list) else output


def _same(one: Any, other: Any) -> bool:
    pairs = list(zip(_tensors(one), _tensors(other), strict=True))
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True) for a, b in pairs)
