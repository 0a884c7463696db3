"""A pruning goal for a whole network: the target, the rule, and the largest allowed drop of the metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any

from prunescope.core.criteria import WEIGHT, parse_criterion
from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.network.asked import how
from prunescope.network.layers import Layer
from prunescope.prune import units_to_prune

UNITS: Mapping[str, str] = {
    "weights": "prunable weights, of tensors of two axes and more",
    "parameters": "zeros over all parameters of the model",
    "flops": "operations of whole channels, cut out",
    "file": "bytes of the compressed file, masks made permanent",
}
"""The units that a target can be a share of, by name."""

RULES: Mapping[str, str] = {
    "uniform": "the same share of every layer",
    "uniform_plus": "uniform, but the first convolution is dense and the last layer keeps at least 20 %",
    "global": "one threshold for all layers",
    "lamp": "one threshold for layer-adaptive magnitudes",
    "erk": "wide layers sparser than narrow ones (Erdős-Rényi-kernel)",
    "sensitivity": "what measurement says each layer can lose",
}
"""The rules that spread a goal over the layers, by name."""


@dataclass(frozen=True)
class GoalSpec:
    """A pruning goal for a whole network; immutable, comparable, and convertible to JSON.

    Attributes:
        target: Total share of ``unit`` to prune, in (0, 1); None prunes as much as ``at_most`` allows.
        unit: A key of `UNITS`.
        rule: A key of `RULES`.
        at_most: Largest allowed drop of the metric, in its own unit: 0.01 is one point of accuracy.
        exclude: Full parameter names or modules to leave unpruned.
        min_keep: The least that every layer keeps: a fraction of its units, or a count of them.
        round_to: Round the number of kept channels to multiples of this; structured methods only.
        pins: Amounts for single layers, overriding the rule: fractions of their units, or counts.
        method, n, dim, seed, criterion: How each layer is pruned; see `prunescope.spec.PruneSpec`.

    Example:
        >>> GoalSpec(0.5, rule="lamp").checked().unit
        'weights'
        >>> GoalSpec(1.5).checked()
        Traceback (most recent call last):
        prunescope.core.errors.RequestError: `target` must be a share between 0 and 1, such as 0.5, got 1.5.
    """

    target: float | None = 0.5
    unit: str = "weights"
    rule: str = "sensitivity"
    at_most: float | None = None
    exclude: tuple[str, ...] = ()
    min_keep: int | float = 0.0
    round_to: int = 1
    pins: Mapping[str, int | float] = field(default_factory=dict)
    method: str = "l1_unstructured"
    n: int | float | str = 2
    dim: int = 0
    seed: int = 0
    criterion: str = WEIGHT

    def __hash__(self) -> int:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return hash(tuple({**values, "pins": tuple(sorted(self.pins.items()))}.values()))

    @property
    def spec(self) -> PruneSpec:
        """Return the spec that says how each layer is pruned, without a layer or an amount."""
        return PruneSpec("", amount=0, **how(self))

    @property
    def structured(self) -> bool:
        """Return whether whole channels are pruned."""
        return METHODS[self.method].structured

    def values(self) -> dict[str, Any]:
        """Return the fields as JSON values, leaving out defaults other than the target."""
        usual = GoalSpec()
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        changed = {name: value for name, value in found.items() if value != getattr(usual, name)}
        if isinstance(self.n, float) and math.isinf(self.n):
            changed["n"] = str(self.n)
        if "exclude" in changed:
            changed["exclude"] = list(self.exclude)
        return {"target": self.target, **changed}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> GoalSpec:
        """Return the goal that `values` came from.

        Raises:
            RequestError: A field is unknown, or its value is invalid.

        Example:
            >>> goal = GoalSpec(0.8, pins={"head": 0})
            >>> GoalSpec.of(goal.values()) == goal
            True
        """
        try:
            given = dict(values)
            return cls(**given).checked()
        except TypeError as error:
            raise RequestError("goal", f"`goal` cannot be read: {error}.") from error

    def checked(self) -> GoalSpec:
        """Check every field and return the goal with normalized values.

        Raises:
            RequestError: A value is invalid; ``error.parameter`` names its field.
        """
        if self.target is None and self.at_most is None:
            raise RequestError("target", "`target` must be a share between 0 and 1, or `at_most` be given.")
        if self.target is not None and not _is_between(self.target, 0, 1):
            raise RequestError(
                "target", f"`target` must be a share between 0 and 1, such as 0.5, got {self.target!r}."
            )
        _one_of("unit", self.unit, UNITS)
        _one_of("rule", self.rule, RULES)
        alone = {key: method for key, method in METHODS.items() if method.ranks_a_layer}
        _one_of("method", self.method, alone)
        parse_criterion(self.criterion)
        _check_at_most(self.at_most)
        return replace(self, **self._plain(), **self._checked_limits())

    def _plain(self) -> dict[str, Any]:
        n = {"inf": math.inf, "-inf": -math.inf}.get(self.n, self.n) if isinstance(self.n, str) else self.n
        return {"n": n, "target": None if self.target is None else float(self.target)}

    def _checked_limits(self) -> dict[str, Any]:
        if not METHODS[self.method].structured:
            if self.unit == "flops":
                raise RequestError(
                    "unit",
                    "`unit` flops counts channels that are cut out: choose a structured `method`, such as "
                    "ln_structured.",
                )
            if self.round_to != 1:
                raise RequestError("round_to", "`round_to` is of channels: choose a structured `method`.")
        if not _is_count(self.round_to) or self.round_to < 1:
            raise RequestError("round_to", f"`round_to` must be a count from 1, got {self.round_to!r}.")
        if not _is_amount(self.min_keep):
            raise RequestError(
                "min_keep",
                f"`min_keep` must be a float in [0, 1] or a count ≥ 0 of units, got {self.min_keep!r}.",
            )
        if not isinstance(self.pins, Mapping) or not all(map(_is_amount, self.pins.values())):
            raise RequestError(
                "pins",
                f"`pins` must give layers a float in [0, 1] or a count ≥ 0 of units, got {self.pins!r}.",
            )
        names = (self.exclude,) if isinstance(self.exclude, str) else self.exclude
        if not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
            raise RequestError("exclude", f"`exclude` must list names of layers, got {self.exclude!r}.")
        return {"exclude": tuple(names), "pins": dict(self.pins)}


@dataclass(frozen=True)
class Limits:
    """Bounds on how many units of each layer may be pruned.

    Attributes:
        least, most: Bounds for each layer; equal if the layer is pinned or excluded.
        free: Whether the rule decides on the layer.
    """

    least: tuple[int, ...]
    most: tuple[int, ...]
    free: tuple[bool, ...]


def limits_of(goal: GoalSpec, layers: Sequence[Layer]) -> Limits:
    """Return the bounds on how many units of each layer may be pruned.

    Raises:
        RequestError: A name in the goal matches no layer, or a pin exceeds the layer's units.

    Example:
        >>> from torch import nn
        >>> from prunescope.network.layers import layers_of
        >>> from prunescope.session import Session
        >>> from prunescope.sources import module_source
        >>> session = Session(module_source(nn.Linear(4, 3)))
        >>> limits_of(GoalSpec(min_keep=0.25), layers_of(session, PruneSpec("")))
        Limits(least=(0,), most=(9,), free=(True,))
    """
    pins = {name: amount for key, amount in goal.pins.items() for name in _named("pins", key, layers)}
    excluded = {name for key in goal.exclude for name in _named("exclude", key, layers)}
    found = []
    for layer in layers:
        if layer.name in pins:
            pinned = _pinned(layer, pins[layer.name])
            found.append((pinned, pinned, False))
        elif layer.name in excluded or layer.problem:
            found.append((0, 0, False))
        else:
            found.append((0, max(0, layer.units - _kept_least(goal.min_keep, layer.units)), True))
    least, most, free = zip(*found, strict=True)
    return Limits(least, most, free)


def _pinned(layer: Layer, amount: int | float) -> int:
    if layer.problem and amount:
        raise RequestError("pins", f"`pins` cannot prune {layer.name}: {layer.problem}")
    try:
        return units_to_prune(amount, layer.units) if amount else 0
    except ValueError as error:
        raise RequestError(
            "pins", f"`pins`: {layer.name} has {layer.units:,} units to prune, got {amount!r}."
        ) from error


def _kept_least(min_keep: int | float, units: int) -> int:
    if isinstance(min_keep, Integral):
        return min(int(min_keep), units)
    return math.ceil(round(min_keep * units, 9))


def _named(field_name: str, key: str, layers: Sequence[Layer]) -> list[str]:
    """Return the layers that ``key`` names: one by its full name, or all within a module."""
    found = [layer.name for layer in layers if layer.name == key or layer.name.startswith(f"{key}.")]
    if not found:
        some = ", ".join(layer.name for layer in layers[:4]) + (", …" if len(layers) > 4 else "")
        raise RequestError(field_name, f"`{field_name}` must name layers such as {some}, got {key!r}.")
    return found


def _one_of(name: str, value: object, allowed: Mapping[str, object]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise RequestError(name, f"`{name}` must be one of {', '.join(allowed)}, got {value!r}.")


def _check_at_most(value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise RequestError(
            "at_most",
            f"`at_most` must be a drop of the metric ≥ 0, such as 0.01 for a point, got {value!r}.",
        )


def _is_between(value: object, low: float, high: float) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and low < float(value) < high


def _is_count(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral)


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return 0 <= float(value) <= (math.inf if isinstance(value, Integral) else 1.0)
