"""Scopes: what a method works on at once: a layer, a group of them, all alike, or all by one threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from numpy.typing import NDArray

from prunescope.core.errors import RequestError
from prunescope.core.spec import PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.network.asked import how
from prunescope.network.goal import GoalSpec
from prunescope.network.layers import Layer, layers_of, pool_names, pool_of
from prunescope.network.rules import Family, comparable, family
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


def groups(tensors: Mapping[str, PrunableTensor]) -> dict[str, tuple[str, ...]]:
    """Return the groups that a model offers: its modules that hold several layers, and its kinds of layer.

    Args:
        tensors: What can be pruned of it, by full name, as `Session.tensors` has it.

    Returns:
        Full parameter names by the group's name, as after ``"group:"``; outer modules before inner ones.

    Example:
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> net = nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), nn.Linear(2, 2))
        >>> groups(Session(module_source(net)).tensors)
        {'0': ('0.0.weight', '0.1.weight'), 'Linear': ('0.0.weight', '0.1.weight', '1.weight')}
    """
    names = pool_of(tensors)
    found: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")[:-1]
        for depth in range(1, len(parts) + 1):
            found.setdefault(".".join(parts[:depth]), []).append(name)
    for name in names:
        found.setdefault(tensors[name].layer_type, []).append(name)
    return {group: tuple(members) for group, members in found.items() if len(members) > 1}


def members(session: Session, scope: Scope, layer: str) -> list[str]:
    """Return the full names of the layers in a scope; ``layer`` is the one that is looked at.

    Raises:
        RequestError: The group is none of the model's, or there are too many weights to be read at once.
    """
    if scope.kind == "layer":
        return [session.tensor(layer).name]
    session.check_in_memory("scope")
    pool = pool_names(session)
    if scope.kind != "group":
        return pool
    listed = [name.strip() for name in scope.group.split(",")]
    found = [name for name in pool if any(_is_in(session.tensors[name], each) for each in listed)]
    if not found:
        some = ", ".join(list(groups(session.tensors))[:5]) or "none"
        raise RequestError("scope", f"`scope` must name a group such as {some}; {scope.group!r} is none.")
    return found


def _is_in(tensor: PrunableTensor, group: str) -> bool:
    inside = tensor.name == group or tensor.name.startswith(f"{group}.")
    return inside or tensor.layer_type == group


@dataclass(frozen=True, eq=False)
class Members:
    """The layers of a scope, ranked; the same for every amount.

    Attributes:
        scope: The scope.
        layers: Those that the method can prune, in the model's order.
        left_out: The others, with the reason.
    """

    scope: Scope
    layers: tuple[Layer, ...]
    left_out: Mapping[str, str]

    @property
    def units(self) -> int:
        """Return how many units all of them have."""
        return sum(layer.units for layer in self.layers)

    @cached_property
    def _counts(self) -> Family:
        return family("global", self.layers)

    @cached_property
    def scores(self) -> Mapping[str, NDArray[Any]]:
        """Return what units of all layers are compared by where there is one threshold, rising, by name."""
        return {layer.name: comparable(layer) for layer in self.layers}

    def counts(self, amount: int | float) -> list[int]:
        """Return how many units of each layer go.

        Args:
            amount: A fraction of every layer's units, or of those of the scope where there is one threshold;
                so is a count.

        Raises:
            RequestError: There are not so many, or units of several layers cannot be compared.
        """
        if self.scope.kind != "global":
            return [_count(amount, layer.units) for layer in self.layers]
        share = _count(amount, self.units) / max(self.units, 1)
        try:
            return [int(count) for count in self._counts(share)]
        except RequestError as error:
            raise RequestError("scope", str(error).replace("`rule` global", "`scope` global")) from error

    def where(self) -> str:
        """Return the scope in words."""
        many = f"{len(self.layers)} layers"
        chosen = "," in self.scope.group
        return {
            "layer": self.layers[0].name,
            "group": f"{many} chosen" if chosen else f"{self.scope.group}, {many}",
            "alike": f"{many} alike",
            "global": f"{many}, one threshold",
        }[self.scope.kind]

    def title(self, spec: PruneSpec) -> str:
        """Return what `spec` is called as a step of all of them."""
        return f"{spec.call} on {self.where()}"

    def specs(self, amounts: Sequence[int | float]) -> tuple[PruneSpec, ...]:
        """Return a spec for each layer of which anything goes."""
        pairs = zip(self.layers, amounts, strict=True)
        return tuple(replace(layer.spec, amount=amount) for layer, amount in pairs if amount)


def members_of(session: Session, spec: PruneSpec, scope: Scope) -> Members:
    """Return the layers of a scope, ranked by ``spec``; kept until another one is asked for.

    Args:
        session: The session; its steps count as applied.
        spec: How each layer is pruned; its layer is the one that is looked at, its amount plays no part.
        scope: The scope.

    Raises:
        RequestError: The group is none, its method ranks tensors together already, or nothing can be pruned.
    """
    names = members(session, scope, spec.layer)
    key = (tuple(names), scope, tuple(how(spec).values()), session.history.done)
    known = session.findings.get("scope")
    if known is None or known[0] != key:
        layers = layers_of(session, GoalSpec(**how(spec)).spec, names)
        able = tuple(layer for layer in layers if not layer.problem)
        left_out = {layer.name: layer.problem for layer in layers if layer.problem}
        if not able:
            raise RequestError("scope", f"`scope` {scope.text}: {next(iter(left_out.values()))}")
        known = session.findings["scope"] = (key, Members(scope, able, left_out))
    found: Members = known[1]
    return found


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
    found = members_of(session, spec, Scope.of(scope))
    counts = found.counts(spec.amount)
    amounts = counts if found.scope.kind == "global" else [spec.amount] * len(counts)
    return ScopedSpecs(found.scope, found.specs(amounts), found.title(spec), found.left_out)


def _count(amount: int | float, units: int) -> int:
    try:
        return units_to_prune(amount, units)
    except (TypeError, ValueError) as error:
        raise RequestError("amount", f"{str(error).rstrip('.')}.") from error
