"""Scopes: what a method works on at once: a layer, a group of them, all alike, or all by one threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.network.goal import GoalSpec
from prunescope.network.layers import layers_of, pool_names
from prunescope.network.rules import family
from prunescope.prune import units_to_prune
from prunescope.session import Session

GROUP = "group:"
"""What the text of a group begins with; a module, a kind of layer, or names with commas between follow."""

Kind = Literal["layer", "group", "alike", "global"]


@dataclass(frozen=True)
class Scope:
    """What a method works on at once.

    Attributes:
        kind: ``"layer"``: one; ``"group"``: those of a module or of a kind, each by the same amount;
            ``"alike"``: all, each by the same amount; ``"global"``: all, by one threshold.
        group: Of a group, the module, the kind of layer, or full names with commas between.

    Example:
        >>> Scope.of("group:layer1").text, Scope.of("alike").kind
        ('group:layer1', 'alike')
        >>> Scope.of("all")
        Traceback (most recent call last):
        prunescope.core.errors.RequestError: `scope` must be layer, group:NAME, alike or global, got 'all'.
    """

    kind: Kind = "layer"
    group: str = ""

    @classmethod
    def of(cls, text: object) -> Scope:
        """Return the scope that `text` wrote.

        Raises:
            RequestError: It is none.
        """
        if isinstance(text, Scope):
            return text
        if isinstance(text, str) and text.startswith(GROUP) and text != GROUP:
            return cls("group", text.removeprefix(GROUP))
        if text == "layer":
            return cls("layer")
        if text == "alike":
            return cls("alike")
        if text == "global":
            return cls("global")
        raise RequestError("scope", f"`scope` must be layer, group:NAME, alike or global, got {text!r}.")

    @property
    def text(self) -> str:
        """Return the scope as code, links and plans write it."""
        return f"{GROUP}{self.group}" if self.kind == "group" else self.kind


@dataclass(frozen=True)
class ScopedSpecs:
    """What a spec means in a scope: one spec a layer, with a title for all of them.

    Attributes:
        scope: The scope.
        specs: A spec for each layer of which anything goes, in the model's order.
        title: What it is called as a step.
        left_out: Layers of the scope that the method cannot prune, with the reason.
    """

    scope: Scope
    specs: tuple[PruneSpec, ...]
    title: str
    left_out: Mapping[str, str]


def groups(session: Session) -> dict[str, tuple[str, ...]]:
    """Return the groups that a model offers: its modules that hold several layers, and its kinds of layer.

    Returns:
        Full parameter names by the group's name, as after ``"group:"``; outer modules before inner ones.

    Example:
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> net = nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), nn.Linear(2, 2))
        >>> groups(Session(module_source(net)))
        {'0': ('0.0.weight', '0.1.weight'), 'Linear': ('0.0.weight', '0.1.weight', '1.weight')}
    """
    names = pool_names(session)
    found: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")[:-1]
        for depth in range(1, len(parts) + 1):
            found.setdefault(".".join(parts[:depth]), []).append(name)
    for name in names:
        found.setdefault(session.tensors[name].layer_type, []).append(name)
    return {group: tuple(members) for group, members in found.items() if len(members) > 1}


def members(session: Session, scope: Scope, layer: str) -> list[str]:
    """Return the full names of the layers in a scope; ``layer`` is the one that is looked at.

    Raises:
        RequestError: The group is none of the model's.
    """
    if scope.kind == "layer":
        return [session.tensor(layer).name]
    pool = pool_names(session)
    if scope.kind != "group":
        return pool
    listed = [name.strip() for name in scope.group.split(",")]
    found = [name for name in pool if any(_is_in(session.tensors[name], each) for each in listed)]
    if not found:
        some = ", ".join(list(groups(session))[:5]) or "none"
        raise RequestError("scope", f"`scope` must name a group such as {some}; {scope.group!r} is none.")
    return found


def _is_in(tensor: PrunableTensor, group: str) -> bool:
    inside = tensor.name == group or tensor.name.startswith(f"{group}.")
    return inside or tensor.layer_type == group


def scope_specs(session: Session, spec: PruneSpec, scope: Scope | str) -> ScopedSpecs:
    """Return what ``spec`` means in a scope of the session's model, with its steps applied.

    A fraction is one of every layer's units, or of all units of the scope where there is one threshold; so is
    a count. One threshold for whole channels ranks them by their norm for a single weight.

    Args:
        session: The session.
        spec: What is asked; its layer is the one that is looked at.
        scope: The scope, or its text.

    Raises:
        RequestError: The scope is none, its method ranks tensors together already, or nothing can be pruned.

    Example:
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> session = Session(module_source(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))))
        >>> found = scope_specs(session, PruneSpec("0.weight", amount=0.5), "alike")
        >>> [(each.layer, each.amount) for each in found.specs], found.title
        ([('0.weight', 0.5), ('1.weight', 0.5)], 'l1_unstructured(amount=0.5) on 2 layers alike')
    """
    scope = Scope.of(scope)
    goal = GoalSpec(method=spec.method, n=spec.n, dim=spec.dim, seed=spec.seed)
    layers = layers_of(session, goal.spec, members(session, scope, spec.layer))
    left_out = {layer.name: layer.problem for layer in layers if layer.problem}
    able = [layer for layer in layers if not layer.problem]
    if not able:
        raise RequestError("scope", f"`scope` {scope.text}: {next(iter(left_out.values()))}")
    if scope.kind == "global":
        units = sum(layer.units for layer in able)
        counts = family("global", able)(_count(spec.amount, units) / max(units, 1))
        amounts: Sequence[int | float] = [int(count) for count in counts]
    else:
        for layer in able:
            _count(spec.amount, layer.units)
        amounts = [spec.amount] * len(able)
    specs = tuple(
        replace(layer.spec, amount=amount) for layer, amount in zip(able, amounts, strict=True) if amount
    )
    return ScopedSpecs(scope, specs, _title(spec, scope, len(able)), left_out)


def _count(amount: int | float, units: int) -> int:
    try:
        return units_to_prune(amount, units)
    except (TypeError, ValueError) as error:
        raise RequestError("amount", f"{str(error).rstrip('.')}.") from error


def _title(spec: PruneSpec, scope: Scope, count: int) -> str:
    fields = ("amount", "n", "dim", "seed")
    uses = METHODS[spec.method].uses
    call = f"{spec.method}({', '.join(f'{name}={getattr(spec, name)!r}' for name in fields if name in uses)})"
    where = {
        "layer": f"on {spec.layer}",
        "group": f"on {scope.group}, {count} layers",
        "alike": f"on {count} layers alike",
        "global": f"on {count} layers, one threshold",
    }
    return f"{call} {where[scope.kind]}"
