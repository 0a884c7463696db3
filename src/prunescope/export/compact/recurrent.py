"""Hidden units of recurrent layers, which torch-pruning cannot cut: rows of all gates, and who reads them.

Who reads a layer's hidden units is found by running the model with NaN in their place, and watching where it
arrives; nothing is guessed from names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.export.compact.cuts import Cut
from prunescope.measure.randomness import untouched_randomness
from prunescope.sources import arguments, scores_of
from prunescope.sources.units import gate_rows


def _rows(layer: nn.RNNBase) -> int:
    return len(layer.get_parameter("weight_hh_l0"))


def pruned_units(layer: nn.RNNBase) -> list[int]:
    """Return the hidden units whose rows in all gates, in both matrices, are zeros alone."""
    zero = torch.ones(_rows(layer), dtype=torch.bool)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        zero &= (layer.get_parameter(name).detach() == 0).all(1).cpu()
    dead = zero.reshape(-1, layer.hidden_size).all(0)
    return [int(unit) for unit in dead.nonzero().flatten()][: layer.hidden_size - 1]


def find_recurrent(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[list[Cut], dict[str, str]]:
    """Return which hidden units can be cut out of the recurrent layers of ``model``, and why others cannot.

    Args:
        model: A plain network in eval mode, with zeros in place of what is pruned.
        inputs: What it is called with.
    """
    cuts: list[Cut] = []
    refused: dict[str, str] = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.RNNBase):
            continue
        units = pruned_units(layer)
        if not units:
            continue
        if layer.num_layers > 1 or layer.bidirectional or layer.proj_size:
            refused[name] = "hidden units are cut out of a single layer that runs one way, without projection"
            continue
        try:
            readers = readers_of(model, layer, units, inputs)
        except RequestError as problem:
            refused[name] = str(problem)
            continue
        cuts.append(Cut(name, tuple(units), unit="hidden units", readers=tuple(readers)))
    return cuts, refused


def readers_of(
    model: nn.Module, layer: nn.RNNBase, units: list[int], inputs: tuple[Tensor, ...]
) -> list[str]:
    """Return the linear layers that read these hidden units of ``layer``.

    Raises:
        RequestError: They go where they cannot be followed.
    """
    names = {id(module): name for name, module in model.named_modules()}
    found: list[str] = []

    def poison(_layer: nn.Module, _inputs: object, output: Any) -> Any:
        return _poisoned(output, layer.hidden_size, units)

    def watch(reader: nn.Module, given: tuple[Any, ...]) -> Any:
        if reader is layer or not given or not isinstance(given[0], Tensor):
            return None
        if not bool(given[0].isnan().any()):
            return None
        if not _reads_units(reader, given[0], units):
            return None
        found.append(names[id(reader)])
        return (given[0].nan_to_num(nan=0.0), *given[1:])

    with _hooked(model, layer, poison, watch), torch.no_grad(), untouched_randomness():
        positional, named = arguments(inputs)
        answer = scores_of(model(*positional, **named))
    if not found or not isinstance(answer, Tensor) or bool(answer.isnan().any()):
        raise RequestError("compact_model", "its hidden units go where they cannot be followed")
    return list(dict.fromkeys(found))


def _reads_units(reader: nn.Module, given: Tensor, units: list[int]) -> bool:
    """Return whether ``reader`` is a linear layer that reads exactly these units, one a column."""
    if not isinstance(reader, nn.Linear):
        return False
    where = given.isnan().flatten(0, -2).any(0).nonzero().flatten().tolist()
    return bool(where == units)


def _poisoned(output: Any, size: int, units: list[int]) -> Any:
    if isinstance(output, tuple):
        return tuple(_poisoned(part, size, units) for part in output)
    if not isinstance(output, Tensor) or output.shape[-1] != size:
        return output
    poisoned = output.clone()
    poisoned[..., units] = torch.nan
    return poisoned


@contextmanager
def _hooked(model: nn.Module, layer: nn.Module, poison: Any, watch: Any) -> Iterator[None]:
    handles = [layer.register_forward_hook(poison)]
    handles += [m.register_forward_pre_hook(watch) for m in model.modules() if not list(m.children())]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def silence_units(model: nn.Module, cut: Cut) -> None:
    """Zero the hidden units of ``cut``, in place."""
    layer = model.get_submodule(cut.layer)
    assert isinstance(layer, nn.RNNBase)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        if layer.bias:
            getattr(layer, name).detach()[gate_rows(layer, cut.channels)] = 0


def cut_units(model: nn.Module, cut: Cut) -> None:
    """Cut the hidden units of ``cut`` out, in place: of the layer, and of the columns that read them."""
    layer = model.get_submodule(cut.layer)
    assert isinstance(layer, nn.RNNBase)
    rows = _others(gate_rows(layer, cut.channels), _rows(layer))
    units = _others(cut.channels, layer.hidden_size)
    for name in list(layer._parameters):
        value = getattr(layer, name).detach()[rows]
        if name == "weight_hh_l0":
            value = value[:, units]
        setattr(layer, name, nn.Parameter(value.clone()))
    layer.hidden_size = len(units)
    layer.flatten_parameters()
    for name in cut.readers:
        reader = model.get_submodule(name)
        assert isinstance(reader, nn.Linear)
        reader.weight = nn.Parameter(reader.weight.detach()[:, units].clone())
        reader.in_features = len(units)


def _others(these: Sequence[int], count: int) -> list[int]:
    gone = set(these)
    return [index for index in range(count) if index not in gone]
