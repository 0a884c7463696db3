"""Which whole channels of a pruned network can be cut out, and why others cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.export.compact.graph import TRANSPOSED, Graph, Item

COUPLED = ("same", "any")
"""What goes where channels of several layers hang together: those that all prune, or that any prunes."""

MOST_NAMED = 3
"""Layers that a sentence names one by one."""


@dataclass(frozen=True, eq=False)
class Cut:
    """Channels that are cut out of layers together.

    Attributes:
        layer: The first of the layers that make them.
        channels: Which of its output channels.
        items: All that lose channels with it; none for a recurrent layer, whose `layers` say all.
        unit: What is cut, in the plural.
        readers: Names of what reads a recurrent layer.
    """

    layer: str
    channels: tuple[int, ...]
    items: tuple[Item, ...] = field(default=(), repr=False)
    unit: str = "channels"
    readers: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the names of all that make these channels."""
        return tuple(sorted(item.name for item in self.items if item.role == "makes")) or (self.layer,)

    @property
    def sentence(self) -> str:
        """Return in a sentence what is lost.

        Example:
            >>> Cut("fc1", (3, 5)).sentence
            'fc1 loses 2 channels'
        """
        count = f"{len(self.channels):,} {self.unit}"
        count = count.removesuffix("s") if len(self.channels) == 1 else count
        if len(self.layers) == 1:
            return f"{self.layer} loses {count}"
        named = self.layers if len(self.layers) <= MOST_NAMED else ()
        who = f"{', '.join(named[:-1])} and {named[-1]}" if named else f"These {len(self.layers)} layers"
        return f"{who} lose the same {count}"


def find_cuts(graph: Graph, coupled: str = "same") -> tuple[list[Cut], dict[str, str]]:
    """Return what can be cut out of the graph's network, and why other pruned channels cannot, by layer.

    Args:
        graph: Of a plain network with zeros in place of what is pruned.
        coupled: One of `COUPLED`.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> _ = net[0].weight.detach()[1].zero_()
        >>> cuts, refused = find_cuts(Graph(net, (torch.ones(2, 4),)))
        >>> cuts[0].sentence, refused
        ('0 loses 1 channel', {})
    """
    cuts: list[Cut] = []
    refused: dict[str, str] = {}
    seen: set[str] = set()
    for layer in graph.layers:
        if layer in seen:
            continue
        count = _outputs(graph.model.get_submodule(layer))
        rows = _zero_rows(graph.model, layer)
        try:
            items = graph.together(layer, list(range(count)))
        except RequestError as problem:
            if bool(rows.any()):
                refused[layer] = str(problem)
            continue
        seen |= {item.name for item in items if item.role == "makes"}
        astray = _astray(graph.model, items)
        if astray:
            if bool(rows.any()):
                refused[layer] = astray
            continue
        channels = _chosen(graph.model, items, range(count), coupled)
        mixing = next((item.name for item in items if item.role == "mixes"), None)
        if mixing is not None:
            pruned = channels or _chosen(graph.model, items, range(count), "any")
            if pruned:
                kind = type(graph.model.get_submodule(mixing)).__name__
                refused[_pruned_first(graph.model, items)] = (
                    f"its channels go into {mixing}, a {kind}: a silent channel counts there"
                )
        elif channels:
            cuts.append(Cut(layer, tuple(channels[: count - 1]), tuple(items)))
        elif partly := _others(graph.model, items, range(count)):
            refused[layer] = f"its channels are added to those of {partly}, where they are kept"
    return cuts, refused


def _pruned_first(model: nn.Module, items: Iterable[Item]) -> str:
    """Return the first of the layers that channels are pruned of."""
    names = [item.name for item in items if item.role == "makes"]
    return next((name for name in names if bool(_zero_rows(model, name).any())), names[0])


def _astray(model: nn.Module, items: Iterable[Item]) -> str:
    """Return why what hangs together cannot be told channel by channel, or ""."""
    tied = _tied(model)
    for item in items:
        if item.name in tied:
            return f"the weight of {item.name} is tied to another's"
        if item.role in ("makes", "reads"):
            zero = (_zero_rows if item.role == "makes" else _zero_columns)(model, item.name)
            if any(place >= len(zero) for places in item.channels.values() for place in places):
                return f"{item.name} does not read its channels one by one (of attention, heads go whole)"
    return ""


def _tied(model: nn.Module) -> set[str]:
    """Return the layers that share a parameter with another one."""
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name.rpartition(".")[0])
    return {name for names in owners.values() if len(names) > 1 for name in names}


def _chosen(model: nn.Module, items: Iterable[Item], channels: Iterable[int], coupled: str) -> list[int]:
    """Return which of ``channels`` nobody makes, or nobody reads."""
    makers = [(item, _zero_rows(model, item.name)) for item in items if item.role == "makes"]
    readers = [(item, _zero_columns(model, item.name)) for item in items if item.role == "reads"]
    together = all if coupled == "same" else any
    return [
        channel
        for channel in channels
        if together(_all_zero(item.channels, zero, channel) for item, zero in makers)
        or (readers and all(_all_zero(item.channels, zero, channel) for item, zero in readers))
    ]


def _all_zero(places: Mapping[int, tuple[int, ...]], zero: Tensor, channel: int) -> bool:
    return bool(zero[list(places.get(channel, ()))].all())


def _others(model: nn.Module, items: Iterable[Item], channels: Iterable[int]) -> str:
    """Return a layer that keeps what another one prunes, or ""."""
    makers = [item for item in items if item.role == "makes"]
    pruned = _chosen(model, makers, channels, "any")
    for item in makers:
        zero = _zero_rows(model, item.name)
        if any(not _all_zero(item.channels, zero, channel) for channel in pruned):
            return item.name
    return ""


def _outputs(module: nn.Module) -> int:
    weight = module.get_parameter("weight")
    return weight.shape[1] * getattr(module, "groups", 1) if isinstance(module, TRANSPOSED) else len(weight)


def _zero_rows(model: nn.Module, name: str) -> Tensor:
    """Return which channels of a layer, or of a parameter along its last axis, are zeros alone."""
    module, parameter = _found(model, name)
    if module is None:
        axis = max((at for at, size in enumerate(parameter.shape) if size > 1), default=0)
        return (parameter == 0).movedim(axis, 0).flatten(1).all(1)
    if isinstance(module, TRANSPOSED):
        grouped = parameter.reshape(module.groups, -1, *parameter.shape[1:])
        return (grouped == 0).flatten(3).all(3).all(1).flatten()
    if isinstance(module, nn.Embedding):
        return (parameter == 0).all(0)
    return (parameter == 0).flatten(1).all(1)


def _zero_columns(model: nn.Module, name: str) -> Tensor:
    """Return which input channels of a layer meet zeros alone."""
    module, weight = _found(model, name)
    if getattr(module, "groups", 1) > 1 or weight.ndim < 2:
        return torch.zeros(getattr(module, "in_channels", len(weight)), dtype=torch.bool)
    axis = 0 if isinstance(module, TRANSPOSED) else 1
    return (weight == 0).movedim(axis, 0).flatten(1).all(1)


def _found(model: nn.Module, name: str) -> tuple[nn.Module | None, Tensor]:
    """Return the layer of that name and its weight, or the parameter of that name alone."""
    parameters = dict(model.named_parameters())
    if name in parameters:
        return None, parameters[name].detach()
    module = model.get_submodule(name)
    return module, module.get_parameter("weight").detach()


def silence(model: nn.Module, cut: Cut) -> None:
    """Zero the channels of ``cut``, in place: weights, biases, scales, shifts and means."""
    for item in cut.items:
        if item.role not in ("makes", "passes"):
            continue
        places = [place for channel in cut.channels for place in item.channels.get(channel, ())]
        module, parameter = _found_any(model, item.name)
        if module is None:
            axis = max((at for at, size in enumerate(parameter.shape) if size > 1), default=0)
            parameter.movedim(axis, 0)[places] = 0
            continue
        if item.role == "makes":
            _rows_of(module)[places] = 0
        for name in ("bias", "running_mean") if item.role == "makes" or parameter.ndim > 1 else _SHIFTS:
            values = getattr(module, name, None)
            if isinstance(values, Tensor):
                values.detach()[places] = 0


_SHIFTS = ("weight", "bias", "running_mean")


def _rows_of(module: nn.Module) -> Tensor:
    """Return the weight with its output channels first; it shares memory with the layer's."""
    weight = module.get_parameter("weight").detach()
    if isinstance(module, nn.Embedding):
        return weight.movedim(1, 0)
    if isinstance(module, TRANSPOSED):
        return weight.movedim(1, 0)
    return weight


def _found_any(model: nn.Module, name: str) -> tuple[nn.Module | None, Tensor]:
    parameters = dict(model.named_parameters())
    if name in parameters:
        return None, parameters[name].detach()
    module = model.get_submodule(name)
    weight = getattr(module, "weight", None)
    return module, weight.detach() if isinstance(weight, Tensor) else torch.empty(0)
