"""Scopes, the layers a method prunes at once: one, a group, all by the same amount, all by one threshold."""

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
"""Prefix of a group's text; a module, a layer type, or comma-separated names follow it."""

Kind = Literal["layer", "group", "alike", "global"]


@dataclass(frozen=True)
class Scope:
    """The layers that a method prunes at once.

    Attributes:
        kind: ``"layer"``: one layer; ``"group"``: those of a module or a type, each by the same amount;
            ``"alike"``: all, each by the same amount; ``"global"``: all, by one threshold.
        group: For a group, the module, the layer type, or comma-separated full names; else "".

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
        """Parse what `text` returned; return a scope unchanged.

        Raises:
            RequestError: ``text`` is not a scope.
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
    """A spec expanded over a scope: one spec per layer, with a title for the whole.

    Attributes:
        scope: The scope.
        specs: A spec for each layer that loses any units, in the model's order.
        title: Its title as a step.
        left_out: Layers of the scope that the method cannot prune, with the reason.
    """

    scope: Scope
    specs: tuple[PruneSpec, ...]
    title: str
    left_out: Mapping[str, str]


def groups(tensors: Mapping[str, PrunableTensor]) -> dict[str, tuple[str, ...]]:
    """Return the groups of a model: its modules that hold several layers, and its layer types.

    Args:
        tensors: Its prunable tensors by full name, as in `Session.tensors`.

    Returns:
        Full parameter names by the name of the group, as it follows ``"group:"``; outer modules come first.

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
    """Return the full names of the layers in a scope; ``layer`` is the displayed one.

    Raises:
        RequestError: The model has no such group, or too many weights to read at once.
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
    """The ranked layers of a scope, independent of the amount.

    Attributes:
        scope: The scope.
        layers: The layers that the method can prune, in the model's order.
        left_out: The other layers, with the reason.
    """

    scope: Scope
    layers: tuple[Layer, ...]
    left_out: Mapping[str, str]

    @property
    def units(self) -> int:
        """Return the total number of units in these layers."""
        return sum(layer.units for layer in self.layers)

    @cached_property
    def _counts(self) -> Family:
        return family("global", self.layers)

    @cached_property
    def scores(self) -> Mapping[str, NDArray[Any]]:
        """Return the scores that a single threshold compares, rising, by layer name."""
        return {layer.name: comparable(layer) for layer in self.layers}

    def counts(self, amount: int | float) -> list[int]:
        """Return how many units of each layer to prune.

        Args:
            amount: A fraction or count of every layer's units; of all units of the scope if there is one
                threshold.

        Raises:
            RequestError: The amount exceeds the units, or units of different layers cannot be compared.
        """
        if self.scope.kind != "global":
            return [_count(amount, layer.units) for layer in self.layers]
        share = _count(amount, self.units) / max(self.units, 1)
        try:
            return [int(count) for count in self._counts(share)]
        except RequestError as error:
            raise RequestError("scope", str(error).replace("`rule` global", "`scope` global")) from error

    def where(self) -> str:
        """Describe the scope in words."""
        many = f"{len(self.layers)} layers"
        chosen = "," in self.scope.group
        return {
            "layer": self.layers[0].name,
            "group": f"{many} chosen" if chosen else f"{self.scope.group}, {many}",
            "alike": f"{many} alike",
            "global": f"{many}, one threshold",
        }[self.scope.kind]

    def title(self, spec: PruneSpec) -> str:
        """Return the title of `spec` as a step on all of these layers."""
        return f"{spec.call} on {self.where()}"

    def specs(self, amounts: Sequence[int | float]) -> tuple[PruneSpec, ...]:
        """Return a spec for each layer with an amount above zero."""
        pairs = zip(self.layers, amounts, strict=True)
        return tuple(replace(layer.spec, amount=amount) for layer, amount in pairs if amount)


def members_of(session: Session, spec: PruneSpec, scope: Scope) -> Members:
    """Return the layers of a scope, ranked by ``spec``; the last result is cached.

    Args:
        session: The session; its steps count as applied.
        spec: How each layer is pruned; its layer is the displayed one, its amount is not used.
        scope: The scope.

    Raises:
        RequestError: There is no such group, the method already ranks tensors together, or nothing can be
            pruned.
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
    """Expand ``spec`` over a scope of the session's model, with its steps applied.

    The amount is a fraction or count of every layer's units; of all units of the scope if there is one
    threshold. A single threshold for whole channels ranks them by their norm per weight.

    Args:
        session: The session.
        spec: The request; its layer is the displayed one.
        scope: The scope, or its text.

    Raises:
        RequestError: The scope is invalid, the method already ranks tensors together, or nothing can be
            pruned.

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
