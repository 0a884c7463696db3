"""Common misconceptions about pruning methods, each as the mask that it would predict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from prunescope import prune
from prunescope.core.preview import Preview, preview_tensor
from prunescope.core.resolve import resolve
from prunescope.lessons.writing import signed
from prunescope.prune import units_to_prune

_OTHER_NORMS = (1, 2, math.inf, -math.inf)


@dataclass(frozen=True, eq=False)
class Mistake:
    """A plausible wrong mask (True is kept), and the sentence that names the misconception behind it."""

    mask: Tensor
    hint: str


def plausible_mistakes(preview: Preview) -> Iterator[Mistake]:
    """Yield the masks of common misconceptions about ``preview``; some may equal its mask by chance.

    Every mask except the last is made by the engine, from other scores, another amount or another norm.
    """
    earlier = preview.tensor.default_mask
    gone = ~preview.mask if earlier is None else earlier & ~preview.mask
    yield from _mistaken_scores(preview)
    yield from _mistaken_counts(preview)
    # Last: with two channels and one pruned, every mistake marks the kept one.
    yield Mistake(gone, "You marked what stays; mark what goes.")


def _mistaken_scores(preview: Preview) -> Iterator[Mistake]:
    weight, spec = preview.tensor.effective, preview.spec
    if spec.method == "l1_unstructured":
        low, pair = weight.min(), _misleading_pair(weight)
        example = f", and {pair[0]} is larger than {pair[1]} in that" if pair else ""
        hint = f"Those are the lowest values; the method ranks by magnitude{example}."
        yield _reranked(preview, weight - low, hint)
        highest = weight.abs().max()
        yield _reranked(preview, highest - weight.abs(), "You marked the largest; the smallest go.")
    if spec.method == "ln_structured":
        yield from _mistaken_norms(preview)


def _mistaken_norms(preview: Preview) -> Iterator[Mistake]:
    weight, spec = preview.tensor.effective, preview.spec
    axes = [axis for axis in range(weight.ndim) if axis != preview.dim]
    sums = weight.sum(dim=axes, keepdim=True)
    hint = "Those have the lowest sum; a norm adds up magnitudes, so minus and plus do not cancel."
    yield _reranked(preview, (sums - sums.min()).expand_as(weight), hint)
    hint = "You marked the channels of the largest norm; the smallest go."
    norms = preview.norms.now
    shape = [-1 if axis == preview.dim else 1 for axis in range(weight.ndim)]
    yield _reranked(preview, (norms.max() - norms).reshape(shape).expand_as(weight), hint)
    for n in _OTHER_NORMS:
        if n != spec.n:
            method = prune.LnStructured(spec.amount, n, preview.dim)
            mask = method.rank(weight, preview.tensor.default_mask).mask(preview.pruned_units)
            which = "That one" if preview.pruned_units == 1 else "Those"
            yield Mistake(mask, f"{which} would go by the norm of order {n}; here n = {spec.n}.")


def _mistaken_counts(preview: Preview) -> Iterator[Mistake]:
    spec, units = preview.spec, preview.units
    counts: dict[int, str] = {}
    if isinstance(spec.amount, float):
        exact = f"{spec.amount:g} of {units} is {spec.amount * units:g}"
        near = "rounded to the even number" if (spec.amount * units) % 1 == 0.5 else "rounded to the nearest"
        for rounded in (math.floor(spec.amount * units + 1e-9), math.ceil(spec.amount * units - 1e-9)):
            counts[rounded] = f"{exact}, and that is {near}."
        if spec.amount == 1.0:
            counts[1] = "`1.0` is a fraction: all of them. A count would be `1`."
        total = preview.mask.numel() if not preview.method.structured else preview.mask.shape[preview.dim]
        counts[min(units_to_prune(spec.amount, total), units)] = (
            f"`amount` is taken of what is left, {units}, not of all {total}."
        )
    elif spec.amount == 1:
        counts[units] = "`1` is a count: one unit. All of them would be `1.0`."
    counts.pop(preview.pruned_units, None)
    for count, hint in counts.items():
        yield Mistake(_at_count(preview, count), hint)


def _reranked(preview: Preview, scores: Tensor, hint: str) -> Mistake:
    """Return the mask of the engine's own method on other ``scores``, as many units as in ``preview``."""
    dim, count = preview.dim, preview.pruned_units
    method = prune.LnStructured(count, 1, dim) if preview.method.structured else prune.L1Unstructured(count)
    ranking = method.rank(preview.tensor.effective, preview.tensor.default_mask, scores)
    return Mistake(ranking.mask(count), hint)


def _at_count(preview: Preview, count: int) -> Tensor:
    spec = replace(preview.spec, amount=count)
    resolved = resolve(spec, preview.tensor, asked=("amount",))
    return preview_tensor(resolved, preview.tensor).mask


def _misleading_pair(weight: Tensor) -> tuple[str, str] | None:
    """Return a negative weight and a positive one of smaller magnitude, as text; None if there are none."""
    low = weight.min()
    high = weight[weight > 0].min() if bool((weight > 0).any()) else low
    return (signed(float(low)), signed(float(high))) if low < 0 < high < -low else None
