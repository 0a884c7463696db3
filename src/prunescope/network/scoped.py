"""Previews of a scope for the explorer: the displayed layer as usual, plus the masks of the other layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from prunescope.core.preview import Preview
from prunescope.core.reach import Reach
from prunescope.core.resolve import Resolved
from prunescope.core.scores import ChannelNorms, Scores
from prunescope.core.spec import FIELDS, METHODS, PruneSpec
from prunescope.measure.importance import scored_preview
from prunescope.network.layers import masks_of
from prunescope.network.rules import for_one_weight
from prunescope.network.scopes import Members, Scope, members_of
from prunescope.session import Session


def is_pooled(spec: PruneSpec, scope: Scope) -> bool:
    """Return whether the scope ranks all layers together with a method that ranks one layer on its own."""
    method = METHODS.get(spec.method) if isinstance(spec.method, str) else None
    return scope.kind == "global" and method is not None and not method.pooled


def pool_units(session: Session, spec: PruneSpec, scope: Scope) -> int | None:
    """Return how many units an amount refers to in a scope with one threshold; None means the layer's own.

    Raises:
        RequestError: Units of different layers cannot be compared.
    """
    if not is_pooled(spec, scope):
        return None
    found = members_of(session, spec, scope)
    found.counts(0)
    return found.units


def scoped_preview(session: Session, resolved: Resolved, scope: Scope) -> Preview:
    """Preview what ``resolved`` does to all layers of a scope, displayed on the layer it names.

    Args:
        session: The session.
        resolved: What `Session.resolve` returned, with `pool_units` if there is one threshold.
        scope: The scope; not used by methods that rank all layers together anyway.

    Raises:
        RequestError: There is no such group, or the amount exceeds the units of a layer.
    """
    if scope.kind == "layer" or METHODS[resolved.spec.method].pooled:
        return scored_preview(session, resolved)
    found = members_of(session, resolved.spec, scope)
    counts = found.counts(resolved.spec.amount)
    if scope.kind == "global":
        return _one_threshold(session, resolved, found, counts)
    alone = scored_preview(session, resolved)
    return _reaching(alone, alone, found, counts)


def _reaching(shown: Preview, alone: Preview, found: Members, counts: list[int]) -> Preview:
    """Return ``shown`` with the masks of all layers; the displayed one keeps its own, hand edits included."""
    spec, name = alone.spec, alone.tensor.name
    asked = counts if found.scope.kind == "global" else [spec.amount] * len(counts)
    specs = [spec if each.layer == name else each for each in found.specs(asked)]
    others = sum(count for layer, count in zip(found.layers, counts, strict=True) if layer.name != name)
    reach = Reach(
        found.scope.text, found.where(), found.title(shown.spec), tuple(each.name for each in found.layers),
        tuple(specs), found.units, others + alone.pruned_units, found.scope.kind == "global",
        _left_out(found), alone,
    )  # fmt: skip
    masks = {**masks_of(found.layers, counts), **alone.masks}
    before = sum(layer.pruned_before for layer in found.layers if layer.name in masks)
    return replace(shown, masks=masks, pruned_before=before, reach=reach)


def _left_out(found: Members) -> str:
    if not found.left_out:
        return ""
    name, why = next(iter(found.left_out.items()))
    return f"Left out of the scope: {len(found.left_out)}, such as {name}: {why}"


def _one_threshold(session: Session, resolved: Resolved, found: Members, counts: list[int]) -> Preview:
    """Preview channels of all layers ranked together by their norm per weight."""
    spec = resolved.spec
    place = next(i for i, layer in enumerate(found.layers) if layer.name == spec.layer)
    own = replace(spec, amount=counts[place])
    alone = scored_preview(session, session.resolve(own, frozenset(FIELDS)))
    divisor = for_one_weight(found.layers[place])
    norms = ChannelNorms(
        alone.norms.now / divisor, alone.norms.unpruned / divisor, f"{alone.norms.label}/weight"
    )
    shown = replace(
        alone, spec=spec, norms=norms, units=found.units, most=found.units,
        threshold=_threshold(found, sum(counts)),
        pruned_units=sum(counts) - counts[place] + alone.pruned_units, scores=_scores(alone, norms, found),
    )  # fmt: skip
    return _reaching(shown, alone, found, counts)


def _threshold(found: Members, pruned: int) -> float | None:
    if not pruned:
        return None
    every = np.concatenate(list(found.scores.values()))
    return float(np.partition(every, pruned - 1)[pruned - 1])


def _scores(alone: Preview, norms: ChannelNorms, found: Members) -> Scores | None:
    if alone.scores is None or not alone.scores.by_channel:
        return alone.scores
    others = tuple(scores for name, scores in found.scores.items() if name != alone.tensor.name)
    return replace(alone.scores, label=norms.label, channels=norms.now, others=others)


def units_up_to(session: Session, preview: Preview, score: float) -> int:
    """Return how many units score at most ``score``: the count a threshold there would prune."""
    if preview.reach is None or not preview.reach.pooled:
        return session.units_up_to(preview.alone, score)
    found = members_of(session, preview.spec, Scope.of(preview.reach.scope))
    return sum(int(scores.searchsorted(score, side="right")) for scores in found.scores.values())
