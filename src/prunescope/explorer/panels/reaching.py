"""Which layers an amount may be taken of: the choices of a scope, as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping

from prunescope.core.tensor import PrunableTensor
from prunescope.network.layers import pool_of
from prunescope.network.scopes import GROUP, groups

THIS_LAYER = ("this layer", "layer")

EVERY_LAYER = (("all layers alike", "alike"), ("all, one threshold", "global"))


def scope_choices(layers: Mapping[str, PrunableTensor], shown: str, now: str) -> list[tuple[str, str]]:
    """Return the scopes to choose from, as title and text: those that the layer shown is in.

    Args:
        layers: What can be pruned, by full name.
        shown: Full name of the layer that is shown.
        now: The scope there is; in the list, whatever it is.

    Example:
        >>> import torch
        >>> def layer(name):
        ...     return PrunableTensor(name, "Linear", torch.ones(2, 2), ("outputs", "inputs"))
        >>> names = ["block.up.weight", "block.down.weight", "head.weight"]
        >>> scope_choices({name: layer(name) for name in names}, "head.weight", "layer")
        [('this layer', 'layer'), ('all layers alike', 'alike'), ('all, one threshold', 'global')]
    """
    pool = set(pool_of(layers))
    if len(pool) < 2:
        return [THIS_LAYER, *(each for each in EVERY_LAYER if each[1] == now)]
    kind = layers[shown].layer_type
    inside = [group for group, names in groups(layers).items() if shown in names and set(names) != pool]
    titles = [(f"all {group}" if group == kind else f"all of {group}", f"{GROUP}{group}") for group in inside]
    every = EVERY_LAYER if shown in pool or now in ("alike", "global") else ()
    choices = [THIS_LAYER, *titles, *every]
    if now not in dict(choices).values():
        choices.insert(1, (_chosen(now), now))
    return choices


def _chosen(scope: str) -> str:
    names = scope.removeprefix(GROUP).split(",")
    return f"all of {names[0]}" if len(names) == 1 else f"{len(names)} layers chosen"
