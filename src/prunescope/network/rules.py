"""Rules that need no data: they spread a goal over the layers by shapes and magnitudes alone.

Each rule is a family of counts that grow with one number, its *strength* in [0, 1]; a goal is met with the
smallest strength that reaches it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS
from prunescope.network.layers import Layer
from prunescope.network.tally import Counts

Family = Callable[[float], Counts]
"""Returns how many units of each layer to prune at a strength in [0, 1]."""

LAST_KEEPS = 0.2
"""Least share of the last layer that *uniform+* keeps."""

MOST_RANKED = 1 << 27
"""Largest number of weights ranked together: their scores must fit in memory."""


def uniform(layers: Sequence[Layer]) -> Family:
    """Return the family that prunes the same share of every layer."""
    units = np.array([layer.units for layer in layers])
    return lambda strength: np.rint(strength * units).astype(np.int64)


def uniform_plus(layers: Sequence[Layer]) -> Family:
    """Return the uniform family, but with a dense first convolution and a last layer that keeps 20 %.

    T. Gale, E. Elsen and S. Hooker, "The state of sparsity in deep neural networks" (2019), 1902.09574.
    """
    units = np.array([layer.units for layer in layers])
    most = np.ones(len(layers))
    most[-1:] = 1 - LAST_KEEPS
    first = next((i for i, layer in enumerate(layers) if len(layer.tensor.shape) > 2), None)
    if first is not None:
        most[first] = 0.0
    return lambda strength: np.floor(np.minimum(strength, most) * units + 0.5).astype(np.int64)


def erk(layers: Sequence[Layer]) -> Family:
    """Return the family of Erdős-Rényi-kernel densities: in proportion to Σ dims / Π dims of each layer.

    U. Evci et al., "Rigging the lottery" (ICML 2020), 1911.11134.
    """
    sizes = np.array([layer.weights for layer in layers], np.float64)
    sums = np.array([sum(layer.tensor.shape) for layer in layers], np.float64)
    whole = np.array([_all_units(layer) for layer in layers], np.float64)
    units = np.array([layer.units for layer in layers])

    def counts(strength: float) -> Counts:
        kept = np.rint(erk_densities(sums / sizes, sizes, 1 - strength) * whole)
        pruned: Counts = np.clip(units - kept, 0, units).astype(np.int64)
        return pruned

    return counts


def erk_densities(
    raw: NDArray[np.float64], sizes: NDArray[np.float64], density: float
) -> NDArray[np.float64]:
    """Return densities proportional to ``raw``, none above 1, for an overall ``density``.

    Layers that would exceed 1 become dense, and the factor of the others is solved again.

    Example:
        >>> erk_densities(np.array([1.0, 0.1]), np.array([10.0, 100.0]), 0.5).round(3).tolist()
        [1.0, 0.45]
    """
    dense = np.zeros(len(raw), bool)
    while not dense.all():
        left = density * sizes.sum() - sizes[dense].sum()
        factor = max(left, 0.0) / (raw * sizes)[~dense].sum()
        over = ~dense & (factor * raw > 1)
        if not over.any():
            return np.where(dense, 1.0, factor * raw)
        dense |= over
    return np.ones(len(raw))


def global_threshold(layers: Sequence[Layer]) -> Family:
    """Return the family with one threshold for all layers, like torch's ``global_unstructured``.

    Channels are ranked together by their norm per weight: the Ln norm divided by the n-th root of the
    number of weights in a channel, so that wide channels do not outrank narrow ones.
    """
    return threshold([comparable(layer) for layer in layers])


def lamp(layers: Sequence[Layer]) -> Family:
    """Return the family with one threshold for layer-adaptive magnitude scores.

    A weight's score is its square over the sum of the squares in its layer that are not below it: J. Lee et
    al., "Layer-adaptive sparsity for the magnitude-based pruning" (ICLR 2021), 2010.07611. The last weight of
    a layer scores 1, so that no layer is emptied before the others are.
    """
    return threshold([lamp_scores(_sorted(layer)) for layer in layers])


def lamp_scores(magnitudes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the LAMP scores of magnitudes in rising order.

    Example:
        >>> lamp_scores(np.array([1.0, 2.0, 2.0])).round(3).tolist()
        [0.111, 0.5, 1.0]
    """
    squares = magnitudes.astype(np.float64) ** 2
    sums = np.cumsum(squares[::-1])[::-1]
    return np.divide(squares, sums, out=np.zeros_like(squares), where=sums > 0)


def threshold(scores: Sequence[NDArray[Any]]) -> Family:
    """Return the family that prunes the lowest of all ``scores``, ties in the order of the layers.

    Args:
        scores: The scores of each layer's units, rising.

    Example:
        >>> threshold([np.array([1.0, 4.0]), np.array([2.0, 3.0, 4.0])])(0.8).tolist()
        [2, 2]
    """
    together = np.sort(np.concatenate(list(scores))) if scores else np.zeros(0)

    def counts(strength: float) -> Counts:
        asked = round(strength * len(together))
        if asked == 0:
            return np.zeros(len(scores), np.int64)
        at = together[asked - 1]
        upto = np.array([each.searchsorted(at, side="right") for each in scores], np.int64)
        ties = upto - np.array([each.searchsorted(at, side="left") for each in scores], np.int64)
        surplus = int(upto.sum()) - asked
        for place in range(len(scores) - 1, -1, -1):
            kept = min(surplus, int(ties[place]))
            upto[place] -= kept
            surplus -= kept
        return upto

    return counts


FAMILIES: Mapping[str, Callable[[Sequence[Layer]], Family]] = {
    "uniform": uniform,
    "uniform_plus": uniform_plus,
    "global": global_threshold,
    "lamp": lamp,
    "erk": erk,
}
"""The rules that need no data, by name."""


def family(rule: str, layers: Sequence[Layer]) -> Family:
    """Return the family of ``rule`` for ``layers``, all of which the rule decides on.

    Raises:
        RequestError: The rule ranks all units together, and their scores are random, not finite or too many.
    """
    if rule in ("global", "lamp"):
        _check_ranked(rule, layers)
    return FAMILIES[rule](layers)


def _check_ranked(rule: str, layers: Sequence[Layer]) -> None:
    if layers and "seed" in METHODS[layers[0].spec.method].uses:
        raise RequestError(
            "rule", f"`rule` {rule} compares magnitudes: choose l1_unstructured or ln_structured as `method`."
        )
    weights = sum(layer.weights for layer in layers)
    if weights > MOST_RANKED:
        raise RequestError(
            "rule",
            f"`rule` {rule} ranks weights together in memory: at most {MOST_RANKED:,}, and here are "
            f"{weights:,}. Choose uniform, uniform_plus or erk.",
        )


def _all_units(layer: Layer) -> int:
    return layer.tensor.shape[layer.dim] if layer.structured else layer.weights


def _sorted(layer: Layer) -> NDArray[Any]:
    found: NDArray[Any] = layer.ranking.scores.cpu().numpy()
    return np.sort(found)


def comparable(layer: Layer) -> NDArray[Any]:
    """Return the scores of a layer's units, rising, scaled for comparison with other layers."""
    return np.asarray(_sorted(layer) / for_one_weight(layer))


def for_one_weight(layer: Layer) -> float:
    """Return the divisor that turns a channel's norm into a norm per weight; 1 for single weights."""
    n = METHODS[layer.spec.method].called(layer.spec).n
    order = 2.0 if isinstance(n, str) else float(n)
    if not layer.structured or order <= 0 or math.isinf(order):
        return 1.0
    return float((layer.weights / max(_all_units(layer), 1)) ** (1 / order))
