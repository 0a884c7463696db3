"""Which channels hang together, by torch-pruning's dependency graph: the only place that speaks to it.

Its graph and its removal are used, its importances are not: what goes was chosen before.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from prunescope.core.errors import RequestError, is_out_of_memory
from prunescope.measure.randomness import untouched_randomness
from prunescope.sources import arguments, scores_of

INSTALL = "pip install 'prunescope[remove]'"

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
MIXING = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.LocalResponseNorm)
"""Layers that take the mean over channels: there, a silent channel still counts."""


@dataclass(frozen=True)
class Item:
    """One layer or parameter among those that lose channels together.

    Attributes:
        name: Its full name.
        role: ``"makes"`` the channels, ``"passes"`` them on, ``"reads"`` them, or ``"mixes"`` them.
        channels: Its places for each channel of the layer that was asked about, by that channel.
    """

    name: str
    role: str
    channels: Mapping[int, tuple[int, ...]] = field(repr=False)


@contextmanager
def run_problems(name: str) -> Iterator[None]:
    """Raise a `RequestError` that names ``name`` for whatever a run of the model raises within the block."""
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].removesuffix(".")
        full = is_out_of_memory(error)
        said = "ran out of memory: give fewer `examples`" if full else f"could not run the model: {reason}"
        raise RequestError(name, f"`{name}` {said}.") from error


def is_installed() -> bool:
    """Return whether torch-pruning can be imported."""
    return importlib.util.find_spec("torch_pruning") is not None


def _torch_pruning() -> Any:
    try:
        return importlib.import_module("torch_pruning")
    except ImportError as error:
        raise RequestError(
            "compact_model",
            f"`compact_model` needs torch-pruning, to find what hangs together: {INSTALL}.",
        ) from error


class Graph:
    """The layers of a network, and which of their channels hang together.

    Args:
        model: A plain network in eval mode, without masks; `cut` writes it.
        inputs: What it is called with; two examples of it are run.

    Raises:
        RequestError: torch-pruning is not installed, or the network cannot be followed.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> graph = Graph(net.eval(), (torch.ones(2, 4),))
        >>> [(item.name, item.role) for item in graph.together("0", [1])]
        [('0', 'makes'), ('2', 'reads')]
        >>> graph.cut("0", [1])
        >>> net[0].weight.shape, net[2].weight.shape
        (torch.Size([2, 4]), torch.Size([2, 2]))
    """

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.model = model
        self._pruning = _torch_pruning()
        self._graph = self._pruning.DependencyGraph()
        self._names = {id(module): name for name, module in model.named_modules()}
        self._names |= {id(each): name for name, each in model.named_parameters()}
        try:
            with _traceable(model), untouched_randomness():
                self._graph.build_dependency(model, example_inputs=inputs, forward_fn=_forward, verbose=False)
        except RequestError:
            raise
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RequestError(
                "compact_model", f"`compact_model` cannot follow what {type(model).__name__} does: {reason}."
            ) from error

    @property
    def layers(self) -> Iterator[str]:
        """Yield the names of the layers whose output channels may be cut, in the model's order."""
        known = self._graph.module2node
        for name, module in self.model.named_modules():
            if isinstance(module, (*LAYERS, *TRANSPOSED)) and module in known:
                yield name

    def together(self, layer: str, channels: list[int]) -> list[Item]:
        """Return what loses channels together with the output ``channels`` of ``layer``, itself first.

        Raises:
            RequestError: They are outputs of the model, or go where channels cannot be cut.
        """
        items = []
        for item in self._group(layer, channels):
            node, handler = item.dep.target, item.dep.handler
            reads = self._graph.is_in_channel_pruning_fn(handler) and not self._is_both(handler)
            if not reads and not node.outputs and node.type != self._pruning.ops.OPTYPE.PARAMETER:
                raise RequestError("compact_model", "its channels are what the model answers")
            role = self._role(node.module, reads)
            if role:
                items.append(Item(self._names[id(node.module)], role, _by_root(item)))
        return items

    def _is_both(self, handler: Any) -> bool:
        return bool(self._graph.is_out_channel_pruning_fn(handler))

    def _role(self, module: Any, reads: bool) -> str:
        if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
            raise RequestError("compact_model", f"its channels go into a {type(module).__name__}")
        if isinstance(module, MIXING):
            return "mixes"
        if id(module) not in self._names:
            return ""  # An operation without numbers of its own.
        if reads:
            return "reads"
        passes = isinstance(module, _NormBase | nn.PReLU) or _is_depthwise(module)
        return "passes" if passes else "makes"

    def _group(self, layer: str, channels: list[int]) -> Any:
        module = self.model.get_submodule(layer)
        pruner = self._graph.get_pruner_of_module(module).prune_out_channels
        try:
            return self._graph.get_pruning_group(module, pruner, idxs=channels)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RequestError("compact_model", f"what hangs on it is not known ({reason})") from error

    def cut(self, layer: str, channels: list[int]) -> None:
        """Cut the output ``channels`` of ``layer`` out, and everything that hangs together with them.

        Raises:
            Exception: Whatever torch-pruning raises; the model is then of no use.
        """
        self._group(layer, channels).prune()


def _is_depthwise(module: object) -> bool:
    return (
        isinstance(module, (*LAYERS, *TRANSPOSED))
        and getattr(module, "groups", 1) == getattr(module, "in_channels", 0)
        and getattr(module, "groups", 1) > 1
    )


def _by_root(item: Any) -> dict[int, tuple[int, ...]]:
    places: dict[int, list[int]] = {}
    for place, root in zip(item.idxs, item.root_idxs, strict=True):
        places.setdefault(int(root), []).append(int(place))
    return {root: tuple(these) for root, these in places.items()}


def _forward(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    positional, named = arguments(inputs)
    return scores_of(model(*positional, **named))


@contextmanager
def _traceable(model: nn.Module) -> Iterator[None]:
    """Let gradients reach every parameter: by them torch-pruning follows what the model does."""
    asked = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    model.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(asked[name])
