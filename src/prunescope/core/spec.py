"""`PruneSpec`: a pruning request for one tensor, as controls, links, plans and code write it."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from prunescope.core.channels import channel_dim, channels_text, parse_channels
from prunescope.core.criteria import WEIGHT
from prunescope.core.errors import RequestError
from prunescope.core.knobs import (
    Dim,
    parse_dim,
    parse_group,
    parse_norm,
    plain_dim,
)
from prunescope.core.methods import METHODS
from prunescope.core.tensor import PrunableTensor
from prunescope.core.text import percent
from prunescope.prune import Norm

__all__ = ["BY_HAND", "FIELDS", "METHODS", "Done", "PruneSpec"]


class Done(Protocol):
    """What a step reports about itself; see `prunescope.session.history.Step`."""

    @property
    def units(self) -> int:
        """How many units there were to prune."""

    @property
    def pruned_units(self) -> int:
        """How many of them were pruned."""

    @property
    def unit_name(self) -> str:
        """What a unit is, in the plural."""

    @property
    def share_before(self) -> float:
        """Sparsity before the step, in [0, 1]."""

    @property
    def share_after(self) -> float:
        """Sparsity after the step, in [0, 1]."""


@dataclass(frozen=True, eq=False)
class PruneSpec:
    """A pruning request for one tensor; immutable, hashable, and serialisable as JSON.

    ``amount`` keeps its type: ``1`` is one unit and ``1.0`` is everything, so they are different specs.

    Attributes:
        layer: Full parameter name, such as ``"features.0.weight"``.
        method: A key of `METHODS`, torch's own function name.
        amount: A float in [0, 1] is a fraction of the remaining units, an int a count of them.
        n: Order of the norm: a number, ``inf``, ``-inf``, ``"fro"`` or ``"nuc"``.
        dim: Channel axis; or the axes that groups run along, a tuple once resolved.
        seed: Seed of the random methods, ``0 <= seed < 2**53``.
        criterion: What counts as unimportant: a key of `prunescope.core.criteria.CRITERIA`.
        keep_channels: Channels along ``dim`` that are kept by hand, whatever the method selects.
        prune_channels: Channels along ``dim`` that are pruned whole by hand.
        group: Elements of a group, consecutive along ``dim``; None: all of them.

    Example:
        >>> PruneSpec("fc.weight", amount=1) == PruneSpec("fc.weight", amount=1.0)
        False
        >>> PruneSpec.from_json(PruneSpec("fc.weight", n=float("inf")).to_json()).n
        inf
    """

    layer: str
    method: str = "l1_unstructured"
    amount: int | float = 0.3
    n: Norm = 2
    dim: Dim = 0
    seed: int = 0
    criterion: str = WEIGHT
    keep_channels: tuple[int, ...] = ()
    prune_channels: tuple[int, ...] = ()
    group: int | None = None

    def _key(self) -> tuple[object, ...]:
        return (type(self.amount), *(getattr(self, name) for name in FIELDS))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PruneSpec) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def axis(self) -> int:
        """Return `dim` where it is one axis, else 0: the axes of groups are for the layer they were of."""
        return self.dim if isinstance(self.dim, int) else 0

    def channel_dim(self, tensor: PrunableTensor) -> int:
        """Return the axis that numbers the channels of ``tensor``: see `prunescope.core.channels`."""
        return channel_dim(self.dim, len(tensor.shape))

    @property
    def by_hand(self) -> str:
        """Describe what is kept or pruned by hand, such as ``"keep 3, prune 7-9"``; "" if nothing is."""
        done = (("keep", self.keep_channels), ("prune", self.prune_channels))
        return ", ".join(f"{verb} {channels_text(these)}" for verb, these in done if these)

    @property
    def call(self) -> str:
        """The request as a function call, without the layer.

        With channels kept or pruned by hand it is a custom mask, and the text names the method it started
        from.

        Example:
            >>> PruneSpec("fc.weight", "ln_structured", amount=3).call
            'ln_structured(amount=3, n=2, dim=0)'
        """
        row = METHODS[self.method]
        called = row.called(self)
        fields = ("amount", *(knob.name for knob in row.knobs))
        values = ", ".join(f"{name}={plain_dim(getattr(called, name))!r}" for name in fields)
        if row.takes_scores and self.criterion != WEIGHT:
            values += f", importance_scores={self.criterion}"
        method = f"{self.method}({values})"
        return f"custom_from_mask: {method}, by hand {self.by_hand}" if self.by_hand else method

    @property
    def has_call(self) -> bool:
        """Whether one function call does it; channels by hand need a custom mask."""
        row = METHODS[self.method]
        return not self.by_hand and (row.pooled or row.function is not None)

    def where(self, tensors: Collection[str]) -> str:
        """Return what was pruned: the tensor's name, or how many tensors were ranked together."""
        return f"{len(tensors)} tensors" if METHODS[self.method].pooled else self.layer

    def told(self, done: Done) -> str:
        """Describe what the step did; a repeated amount is explained as relative to what remained."""
        if done.share_before == 0:
            text = f"pruned {done.pruned_units:,} of {done.units:,} {done.unit_name}"
            return f"{text}; sparsity {percent(done.share_after)}"
        text = f"pruned {done.pruned_units:,} of the {done.units:,} remaining {done.unit_name}"
        if isinstance(self.amount, float) and not self.by_hand:
            text += f" ({percent(self.amount)} of what remained)"
        return f"{text}; sparsity {percent(done.share_before)} → {percent(done.share_after)}"

    def values(self) -> dict[str, Any]:
        """Return the fields that the method reads, as a plan or a link stores them."""
        uses = {"layer", "method"} | METHODS[self.method].uses
        if self.criterion == WEIGHT:
            uses -= {"criterion"}  # Plans written before criteria existed do not name one.
        by_hand = {name for name in BY_HAND if getattr(self, name)}
        uses |= by_hand | ({"dim"} if by_hand else set())
        found = {name: value for name, value in asdict(self).items() if name in uses}
        if isinstance(found.get("n"), float) and math.isinf(found["n"]):
            found["n"] = str(found["n"])
        if "dim" in found:
            found["dim"] = plain_dim(found["dim"])
        return found

    @property
    def again(self) -> Mapping[str, Any]:
        """Spec fields that show this step's settings again."""
        return vars(self)

    def apply_to(self, session: Any) -> Any:
        """Apply it in a `prunescope.session.Session` as its next step, and return the step."""
        return session.apply(session.preview(session.resolve(self, frozenset(FIELDS))))

    def parsed(self) -> PruneSpec:
        """Return the spec with `n`, axes, group and channels parsed, however they were written.

        Raises:
            RequestError: One of them cannot be parsed.
        """
        keep, prune = (parse_channels(name, getattr(self, name)) for name in BY_HAND)
        n, dim, group = parse_norm(self.n), parse_dim(self.dim), parse_group(self.group)
        return replace(self, n=n, dim=dim, group=group, keep_channels=keep, prune_channels=prune)

    def to_json(self) -> str:
        """Return the spec as a JSON object; infinite ``n`` is the string ``"inf"`` or ``"-inf"``."""
        values = asdict(self)
        if isinstance(self.n, float) and math.isinf(self.n):
            values["n"] = str(self.n)
        return json.dumps(values, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> PruneSpec:
        """Read the spec that `to_json` wrote; ``amount`` keeps its type.

        Raises:
            RequestError: ``text`` is not a JSON object, or has an unknown field.
        """
        try:
            values = json.loads(text)
            spec = cls(**values)
        except (ValueError, TypeError) as error:
            raise RequestError(
                "spec", f"`spec` must be a JSON object of {', '.join(FIELDS)}, got {text!r}."
            ) from error
        return spec.parsed()


FIELDS = tuple(PruneSpec.__dataclass_fields__)
"""The names of a spec's fields, in order."""

BY_HAND = ("keep_channels", "prune_channels")
"""The fields that list channels."""
