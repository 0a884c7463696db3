"""Prune many parameters by one ranking: the lowest elements of all of them together."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from prunescope.prune._kernels.memory import fresh
from prunescope.prune._kernels.units import candidate_units
from prunescope.prune.attach import hook_of, mask_of, original, put_on, whose
from prunescope.prune.base import BasePruningMethod
from prunescope.prune.combine import next_mask, selects_by_rank
from prunescope.prune.compat import name_tensor
from prunescope.prune.methods import CustomFromMask
from prunescope.prune.parameters import all_or_nothing, described
from prunescope.prune.ranked import RankedMethod
from prunescope.prune.scores import scores_for
from prunescope.prune.selection import Ranking, units_to_prune

_ALMOST_NOTHING = 0.01

Place = tuple[Module, str]


@dataclass
class _Weight:
    """One parameter and the modules that use it: a tied weight has several."""

    orig: Parameter
    scores: Tensor
    places: list[Place] = field(default_factory=list)
    mask: Tensor | None = None

    def use(self, place: Place, mask: Tensor | None) -> None:
        """Add one more module; what any of them has pruned is pruned."""
        self.places.append(place)
        if mask is not None:
            self.mask = mask != 0 if self.mask is None else self.mask & (mask != 0)


def global_unstructured(
    parameters: Iterable[Place],
    pruning_method: type[BasePruningMethod],
    importance_scores: Mapping[Place, Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prune all ``parameters`` together, by one ranking of their elements; the modules change in place.

    A tied weight counts once and stays tied: it gets one mask wherever it is listed. Either everything is
    pruned or, on any error, nothing. A warning names the parameters left with at most 1 % of their elements.

    Args:
        parameters: Pairs of a module and a parameter's name; any iterable.
        pruning_method: Method of ``PRUNING_TYPE`` ``"unstructured"``, such as :class:`L1Unstructured`.
        importance_scores: For some of the pairs, a tensor of the parameter's shape to take scores from.
        kwargs: Arguments of the method, such as ``amount``.

    Raises:
        ParameterError: a module has no such parameter.
        ShapeError: importance scores of another shape than their parameter.
        TypeError: ``parameters`` are not such pairs, or the method is not unstructured.
        ValueError: ``amount`` is out of range.

    Example:
        >>> import prunescope.prune as prune
        >>> net = torch.nn.Sequential(torch.nn.Linear(10, 4), torch.nn.Linear(4, 1))
        >>> pairs = [(net[0], "weight"), (net[1], "weight")]
        >>> global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=10)
        >>> sum(int((layer.weight_mask == 0).sum()) for layer in net)
        10
    """
    pairs = _pairs(parameters)
    method = _method(pruning_method, kwargs)
    weights = _weights(pairs, _scores(importance_scores))
    if not weights:
        return
    masks = _masks(method, weights)
    origin = ("global_unstructured", {"pruning_method": type(method).__name__, **_plain(kwargs)})
    with all_or_nothing(module for module, _ in pairs):
        for weight, mask in zip(weights, masks, strict=True):
            for module, name in weight.places:
                part = CustomFromMask.handed_over(origin)
                # A mask of its own: not one shared by the places of a tied weight, nor part of a larger one.
                shared = len(weight.places) > 1 or mask._is_view()
                own = mask.to(device=weight.orig.device, dtype=weight.orig.dtype, copy=shared)
                put_on(part, module, name, own)
    _warn_of_empty(weights, masks)


def _pairs(parameters: Iterable[Place]) -> list[Place]:
    if not isinstance(parameters, Iterable) or isinstance(parameters, Tensor | str):
        raise TypeError("`parameters` must be an iterable of (module, name) pairs")
    pairs = list(parameters)
    for pair in pairs:
        if isinstance(pair, tuple | list) and len(pair) == 2:
            module, name = pair
            if isinstance(module, Module) and isinstance(name, str):
                continue
        got = "a parameter (from `model.parameters()`?)" if isinstance(pair, Tensor) else repr(pair)
        raise TypeError(f"`parameters` must be (module, name) pairs such as (model.fc, 'weight'), got {got}")
    return [(module, name) for module, name in pairs]


def _method(pruning_method: type[BasePruningMethod], kwargs: dict[str, Any]) -> BasePruningMethod:
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            f"`pruning_method` must have `PRUNING_TYPE` 'unstructured', got {pruning_method.__name__} "
            f"with {method.PRUNING_TYPE!r}"
        )
    name_tensor(method, "temp")
    return method


def _scores(importance_scores: Mapping[Place, Tensor] | None) -> Mapping[Place, Tensor]:
    if importance_scores is None:
        return {}
    if not isinstance(importance_scores, Mapping):
        raise TypeError("`importance_scores` must be a dict from (module, name) pairs to tensors")
    return importance_scores


def _weights(pairs: list[Place], importance_scores: Mapping[Place, Tensor]) -> list[_Weight]:
    """Return the different parameters among ``pairs``, in order, checked."""
    found: dict[int, _Weight] = {}
    for module, name in dict.fromkeys(pairs):
        hook = hook_of(module, name)
        orig = original(module, name, hook)
        tensor: Tensor = getattr(module, name)
        given = importance_scores.get((module, name))
        scores = tensor if given is None else scores_for(whose(module, name), tensor, given)
        weight = found.setdefault(id(orig), _Weight(orig, scores))
        weight.use((module, name), mask_of(module, name, hook))
    return list(found.values())


def _masks(method: BasePruningMethod, weights: list[_Weight]) -> list[Tensor]:
    """Return the new mask of each weight, of its shape, cut from one mask for all."""
    device = weights[0].scores.device
    tensors = [w.scores.detach().to(device) for w in weights]
    earlier = _earlier(weights, device)
    if selects_by_rank(method) and isinstance(method, RankedMethod):
        return _ranked(method, tensors, earlier)
    vector = torch.cat([t.reshape(-1) for t in tensors])
    before = torch.ones_like(vector) if earlier is None else earlier.to(vector.dtype)
    return _split(next_mask(method, vector, before), tensors)


def _split(flat: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    parts = flat.split([t.numel() for t in tensors])  # type: ignore[no-untyped-call]
    return [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]


def _earlier(weights: list[_Weight], device: torch.device) -> Tensor | None:
    if all(w.mask is None for w in weights):
        return None
    parts = [torch.ones_like(w.orig, dtype=torch.bool) if w.mask is None else w.mask for w in weights]
    return torch.cat([part.reshape(-1).to(device) for part in parts])


def _ranked(method: RankedMethod, tensors: list[Tensor], earlier: Tensor | None) -> list[Tensor]:
    """Return one mask for each tensor, boolean or in the tensor's dtype."""
    candidates = candidate_units(earlier, None)
    total = sum(t.numel() for t in tensors)
    left = total if candidates is None else int(torch.count_nonzero(candidates))
    k = units_to_prune(method.amount, left)
    if k == 0:
        ones = torch.ones(total, dtype=torch.bool, device=tensors[0].device)
        return _split(ones if earlier is None else earlier, tensors)
    masks = [fresh(t.shape, t.dtype, t.device) for t in tensors]
    if candidates is None and method.select_at_once(tensors, k, masks):
        return masks
    values = method.unit_scores(tensors, candidates)
    return _split(Ranking.of_units(values, (total,), None, earlier, candidates).mask(k), tensors)


def _plain(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments worth remembering: a generator is spent, a tensor belongs to its owner."""
    return {k: v for k, v in kwargs.items() if not isinstance(v, torch.Generator | Tensor)}


def _warn_of_empty(weights: list[_Weight], masks: list[Tensor]) -> None:
    left = []
    for weight, mask in zip(weights, masks, strict=True):
        # A sum is ten times as fast as a count of floats; near the limit it is settled by the count.
        if mask.numel() == 0 or float(mask.sum(dtype=torch.float32)) > 2 * _ALMOST_NOTHING * mask.numel():
            continue
        kept = int(torch.count_nonzero(mask.to(torch.bool)))
        if kept <= _ALMOST_NOTHING * mask.numel():
            module, name = weight.places[0]
            left.append(f"{name!r} of {described(module)} keeps {kept} of {mask.numel()}")
    if left:
        warnings.warn(f"global pruning left almost nothing: {'; '.join(left)}", UserWarning, stacklevel=3)
