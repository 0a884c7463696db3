"""Read an `nn.Module`: which of its parameters can be pruned, and what pruning they already carry."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from prunescope.core.errors import RequestError
from prunescope.core.tensor import PrunableTensor, axis_names
from prunescope.sources.state import is_plain, layout_of, tensor_state


def prunable_tensors(model: nn.Module) -> Mapping[str, PrunableTensor]:
    """Return the parameters of ``model`` that can be pruned, by full name.

    Tensors of two axes and more come first, in the model's order; vectors (biases, norms) follow. A
    parameter that torch or Prunescope pruned already appears under its name without ``_orig``, with the mask
    it carries. A tied parameter appears once, under its first name.

    Args:
        model: Any module. Read, never written.

    Raises:
        RequestError: ``model`` is not a module, has lazy parameters, or has nothing to prune.

    Example:
        >>> list(prunable_tensors(nn.Linear(4, 3)))
        ['weight', 'bias']
    """
    if not isinstance(model, nn.Module):
        raise RequestError(
            "model",
            f"`model` must be a torch.nn.Module or the path of a checkpoint, got {type(model).__name__}.",
        )
    parameters = dict(model.named_parameters())
    lazy = [f"{name} is a lazy parameter" for name, value in parameters.items() if is_lazy(value)]
    lazy += [f"{name} is a lazy buffer" for name, value in model.named_buffers() if is_lazy(value)]
    if lazy:
        raise RequestError(
            "model", f"`model` must know its shapes, but {lazy[0]}: run a batch through it first."
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise RequestError("model", "`model` must be a plain module, got a scripted one.")
    meta = [name for name, parameter in parameters.items() if parameter.is_meta]
    if meta:
        raise RequestError("model", f"`model` must have its numbers, but {meta[0]} is on the meta device.")
    tensors = [_read(model, name) for name, parameter in parameters.items() if _is_prunable(parameter)]
    if not tensors:
        raise RequestError("model", _nothing_to_prune(model, parameters))
    tensors.sort(key=lambda tensor: len(tensor.shape) < 2)
    return {tensor.name: tensor for tensor in tensors}


def not_prunable(model: nn.Module) -> Mapping[str, str]:
    """Return why each of the other parameters of ``model`` cannot be pruned, by full name.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        >>> model[1].weight = model[0].weight
        >>> not_prunable(model)
        {'1.weight': 'is tied to 0.weight, and pruned with it'}
    """
    first: dict[Tensor, str] = {}
    reasons = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if first.setdefault(parameter, name) != name:
            reasons[name] = f"is tied to {first[parameter]}, and pruned with it"
        elif not _is_prunable(parameter):
            reasons[name] = _why_not(parameter)
    return reasons


def _why_not(parameter: Tensor) -> str:
    if not is_plain(parameter):
        return f"is {layout_of(parameter)}, with no place for a mask"
    if parameter.numel() == 0:
        return "is empty"
    if parameter.is_complex():
        return "holds complex numbers"
    if not parameter.is_floating_point():
        return f"holds {str(parameter.dtype).removeprefix('torch.')} numbers, not weights"
    return "is a single number"


def _nothing_to_prune(model: nn.Module, parameters: Mapping[str, Tensor]) -> str:
    start = "`model` must have a floating-point parameter of at least one axis to prune"
    if not parameters:
        return f"{start}; {type(model).__name__} has no parameters."
    found = ", ".join(
        sorted({str(parameter.dtype).removeprefix("torch.") for parameter in parameters.values()})
    )
    return f"{start}; {type(model).__name__} has only {found} numbers, scalars or empty tensors."


def _is_prunable(parameter: Tensor) -> bool:
    if not (is_plain(parameter) and parameter.is_floating_point()):
        return False
    return parameter.ndim > 0 and parameter.numel() > 0


def _read(model: nn.Module, stored: str) -> PrunableTensor:
    """Return the parameter that is stored under the full name ``stored``."""
    prefix, dot, stored_name = stored.rpartition(".")
    module = model.get_submodule(prefix)
    name, mask = _plain_name(module, stored_name)
    weight = module.get_parameter(stored_name).detach()
    layer_type, axes = type(module).__name__, axis_names(module, name, weight.ndim)
    if isinstance(module, ParametrizationList):
        layer_type, axes = _parametrized(model, prefix, weight)
    return PrunableTensor(
        name=f"{prefix}{dot}{name}",
        layer_type=layer_type,
        data=weight,
        axes=axes,
        default_mask=None if mask is None or bool(mask.all()) else mask.detach().to(torch.bool),
    )


def _parametrized(model: nn.Module, prefix: str, original: Tensor) -> tuple[str, tuple[str, ...]]:
    """Return the type and the axes of the layer whose tensor is computed from ``original``."""
    owner, _, own = prefix.rpartition(".")
    layer = model.get_submodule(owner.removesuffix("parametrizations").removesuffix("."))
    return f"{type(layer).__name__.removeprefix('Parametrized')}, parametrized", axis_names(
        layer, own, original.ndim
    )


def _plain_name(module: nn.Module, stored: str) -> tuple[str, Tensor | None]:
    """Return a parameter's name without pruning's ``_orig``, and the mask it carries."""
    name = stored.removesuffix("_orig")
    mask = module._buffers.get(f"{name}_mask") if name != stored else None
    return (stored, None) if mask is None else (name, mask)


def read_again(model: nn.Module, tensor: PrunableTensor) -> PrunableTensor:
    """Read ``tensor`` again from ``model``, in case it was trained, moved, pruned or replaced.

    Args:
        model: The module that ``tensor`` was read from.
        tensor: One of its tensors.

    Raises:
        RequestError: The model has no such parameter any more.
    """
    prefix = tensor.name.rpartition(".")[0]
    module = model.get_submodule(prefix)
    for stored in (tensor.name, f"{tensor.name}_orig"):
        parameter = module._parameters.get(stored.removeprefix(f"{prefix}."))
        if parameter is not None and _is_prunable(parameter):
            return _read(model, stored)
    raise RequestError("layer", f"`layer` {tensor.name} is no longer a parameter of {type(module).__name__}.")


def fingerprint(model: nn.Module, tensor: PrunableTensor) -> tuple[object, ...]:
    """Return a value that changes whenever torch counts a change to the parameter or its mask.

    Writes through ``.data`` are not counted, by torch's design; everything else is.
    """
    module_name, _, name = tensor.name.rpartition(".")
    module = model.get_submodule(module_name)
    stored = (
        module._parameters.get(name),
        module._parameters.get(f"{name}_orig"),
        module._buffers.get(f"{name}_mask"),
    )
    return tuple(tensor_state(t) for t in stored if t is not None)


def find_tensor(model: nn.Module, tensors: Mapping[str, PrunableTensor], layer: object) -> PrunableTensor:
    """Find the tensor that ``layer`` names: a full parameter name, or a module, for its ``weight``.

    Args:
        model: The module that ``tensors`` was read from.
        tensors: What `prunable_tensors` returned for it.
        layer: For example ``"features.0.weight"`` or ``"features.0"``.

    Raises:
        RequestError: ``layer`` names nothing that can be pruned; the sentence says why and what is there.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        >>> find_tensor(model, prunable_tensors(model), "0").name
        '0.weight'
    """
    for name in (layer, f"{layer}.weight"):
        if isinstance(name, str) and name in tensors:
            return tensors[name]
    some = ", ".join(list(tensors)[:4]) + (", …" if len(tensors) > 4 else "")
    modules = dict(model.named_modules())
    reasons = not_prunable(model)
    named = next(
        (name for name in (layer, f"{layer}.weight") if isinstance(name, str) and name in reasons), None
    )
    if named is not None:
        why = f"{named} {reasons[named]}"
    elif isinstance(layer, str) and layer in modules:
        own = [name for name in tensors if name.rpartition(".")[0] == layer]
        holder = f"{layer or 'the model itself'} ({type(modules[layer]).__name__})"
        why = f"{holder} has {', '.join(own)}" if own else f"{holder} has no weight of its own to prune"
    else:
        why = f"the model has no parameter named {layer!r}"
    raise RequestError("layer", f"`layer` must be one of {some}: {why}.")
