"""Compare two states of a session's model on one layer: the preview, another method, a kept plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from prunescope.core.criteria import CRITERIA
from prunescope.core.errors import RequestError
from prunescope.core.knobs import Dim, parse_dim, parse_norm
from prunescope.core.preview import Preview, shortest_fraction
from prunescope.core.resolve import Resolved
from prunescope.core.spec import FIELDS, METHODS, PruneSpec
from prunescope.core.tensor import mask_so_far
from prunescope.measure import SIDES, Comparison, Side, cut_out
from prunescope.measure.costs.measuring import compressed_sizes, flops
from prunescope.measure.importance import scored_preview
from prunescope.measure.states import evaluate, known, metric_name
from prunescope.prune import Norm
from prunescope.session import Session
from prunescope.session.history import History, Variant

GIVEN = "The original model"
"""Name of the state without any step."""


@dataclass(frozen=True)
class Choice:
    """One side of a comparison: the current settings with some fields changed, but not the amount; or a plan.

    Attributes:
        method: Method in place of the current one; None keeps it, likewise for the fields below.
        n: Order of the norm.
        dim: Channel axis, or axes that groups run along.
        group: Elements of a group.
        seed: Seed of a random method.
        criterion: What counts as unimportant.
        plan: Name of a kept plan; "" is the original model. The other fields are then ignored.

    Example:
        >>> Choice(method="random_unstructured").values
        {'method': 'random_unstructured'}
    """

    method: str | None = None
    n: Norm | None = None
    dim: Dim | None = None
    group: int | None = None
    seed: int | None = None
    criterion: str | None = None
    plan: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """Return the fields that are set, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def of(cls, what: object) -> Choice:
        """Return the choice for a name or a mapping of fields.

        Args:
            what: A choice; the key of a method or else the name of a plan; fields of a choice by name.

        Raises:
            RequestError: It does not describe a choice.

        Example:
            >>> Choice.of("gentle"), Choice.of({"n": 1}).n
            (Choice(method=None, n=None, dim=None, group=None, seed=None, criterion=None, plan='gentle'), 1)
        """
        if isinstance(what, Choice):
            return what
        if isinstance(what, str):
            if what in CRITERIA:
                return cls(criterion=what)
            return cls(method=what) if what in METHODS else cls(plan=what)
        if not isinstance(what, Mapping) or not set(what) <= set(cls.__dataclass_fields__):
            allowed = ", ".join(cls.__dataclass_fields__)
            raise RequestError("compare", f"`compare` takes a name, or some of {allowed}, got {what!r}.")
        values = dict(what)
        if values.get("n") is not None:
            values["n"] = parse_norm(values["n"])
        if values.get("dim") is not None:
            values["dim"] = parse_dim(values["dim"])
        return cls(**values)


@dataclass(frozen=True)
class Comparing:
    """What is compared with what.

    Attributes:
        a: One side; the preview by default.
        b: The other; None: compare with the random counterpart of the current method (or L1/Ln if it is
            random).
        shown: Whether the comparison is visible.
    """

    a: Choice = field(default_factory=Choice)
    b: Choice | None = None
    shown: bool = False

    def other(self, preview: Preview) -> Choice:
        """Return the second side, to compare with ``preview``."""
        return counterpart(preview.spec.method) if self.b is None else self.b

    def renamed(self, old: str, new: str | None) -> Comparing:
        """Return it with the plan ``old`` renamed to ``new``; None resets the sides that showed it."""
        if not isinstance(old, str):
            return self
        a, b = (
            side if side is None or side.plan != old else (None if new is None else Choice(plan=new))
            for side in (self.a, self.b)
        )
        return replace(self, a=a or Choice(), b=b)


def counterpart(method: str) -> Choice:
    """Return the random counterpart of a ranking method, or a ranking one for a random method.

    Example:
        >>> counterpart("ln_structured").method, counterpart("random_unstructured").method
        ('random_structured', 'l1_unstructured')
    """
    return Choice(method=METHODS[method].against)


def chosen(session: Session, choice: Choice, shown: Preview, place: int) -> Preview | History:
    """Return the state of ``session``'s model that ``choice`` stands for.

    Args:
        session: The session.
        choice: One side.
        shown: What is shown: where the choice says nothing, it is as this is.
        place: Where the session caches its ranking: see `Session.preview`.

    Raises:
        RequestError: There is no such plan, or the layer allows no such choice.
    """
    if choice.plan is not None:
        return session.plans[choice.plan] if choice.plan != "" else History()
    if choice == Choice():
        return shown  # With what is by hand; another method is shown as it is.
    spec = replace(shown.spec, keep_channels=(), prune_channels=(), **choice.values)
    nothing = session.resolve(replace(spec, amount=0.0))
    same = replace(nothing.spec, amount=_same_amount(shown, nothing))
    return scored_preview(session, session.resolve(same), place)


def _same_amount(shown: Preview, other: Resolved) -> int | float:
    """Return the current amount; as a fraction where units differ or channels are by hand."""
    amount = shown.spec.amount
    method, dim = METHODS[other.spec.method], other.spec.channel_dim(shown.tensor)
    counted = method.count_name(shown.tensor, dim), other.units
    counts_others = isinstance(amount, int) and (shown.count_name, shown.most) != counted
    if counts_others or shown.spec.by_hand:
        return shortest_fraction(shown.pruned_units, shown.units)
    return amount


def compare(
    session: Session,
    a: PruneSpec | Preview | History,
    b: PruneSpec | Preview | History,
    *,
    at: PruneSpec | Preview | None = None,
) -> Comparison:
    """Compare two states of a session's model on one layer.

    Args:
        session: The session; left as it is.
        a: A spec or a preview, applied after the session's steps; or a history, such as a kept plan.
        b: The same.
        at: Gives the layer, and ``n`` and ``dim`` of its norms; None takes the first spec of the two.

    Raises:
        RequestError: A spec is not possible, no layer is given, or two different ones are.

    Example:
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> session = Session(module_source(nn.Linear(4, 3)))
        >>> seen = compare(session, PruneSpec("weight", amount=0.5), PruneSpec("weight", amount=1.0))
        >>> seen.only_b, seen.only_a, seen.agreement
        (6, 0, 0.5)
    """
    states = [_state(session, a, 1), _state(session, b, 2)]
    shown = None if at is None else _state(session, at, 0)
    shown = shown or next((state for state in states if isinstance(state, Preview)), None)
    if not isinstance(shown, Preview):
        raise RequestError("at", "`at` must give the layer when two plans are compared.")
    for state in states:
        if isinstance(state, Preview) and state.tensor.name != shown.tensor.name:
            raise RequestError(
                "layer", f"`layer` must be one for both, got {shown.tensor.name} and {state.tensor.name}."
            )
    titles = _titles(session, states)
    sides = [_side(session, *each, shown) for each in zip(states, titles, strict=True)]
    return Comparison(
        tensor=shown.tensor,
        n=shown.spec.n,
        dim=shown.dim,
        norms=shown.norms.unpruned,
        a=sides[0],
        b=sides[1],
        measures=_measures(session),
        metric=metric_name(session.source),
    )


def _measures(session: Session) -> frozenset[str]:
    source = session.source
    network = isinstance(source.model, nn.Module)
    there = {
        "metric": network and bool(metric_name(source)),
        "file": network,
        "flops": source.has_inputs,
    }
    return frozenset(name for name, can in there.items() if can)


def measured(session: Session, seen: Comparison, largest: int | None = None) -> Iterator[Comparison]:
    """Yield ``seen`` after each piece of work, with what is measured so far; the last is complete.

    The user's ``evaluate`` is not called: nobody knows how long that takes.

    Args:
        session: The session that it was made of.
        seen: What `compare` returned.
        largest: Bytes up to which a file is compressed; None compresses a file of any size.

    Example:
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> session = Session(module_source(nn.Linear(40, 30)))
        >>> seen = compare(session, PruneSpec("weight", amount=0.1), PruneSpec("weight", amount=0.9))
        >>> *_, seen = measured(session, seen)
        >>> seen.a.file > seen.b.file
        True
    """
    for name in ("metric", "flops", "file"):
        for side in SIDES:
            if name not in seen.measures or name in seen.problems:
                continue
            try:
                for found in _MEASURE[name](session, getattr(seen, side).variant, largest):
                    seen = seen.knowing(side, **found) if found else seen
                    yield seen
            except RequestError as problem:
                seen = seen.failing(name, problem)
                yield seen


def _metric(session: Session, variant: Variant, _largest: int | None) -> Iterator[dict[str, Any]]:
    for _ in evaluate(session, variant):
        yield {}
    yield {"measure": known(session, variant)}


def _flops(session: Session, variant: Variant, _largest: int | None) -> Iterator[dict[str, Any]]:
    counted = flops(session)
    cut = cut_out(session.source.module, session.masks(variant), counted)
    yield {"flops": counted.total, "flops_cut": cut.flops}


def _file(session: Session, variant: Variant, largest: int | None) -> Iterator[dict[str, Any]]:
    for sizes in compressed_sizes(session, variant, largest):
        yield {} if sizes is None else {"file": sizes.permanent}


_MEASURE: Mapping[str, Callable[[Session, Variant, int | None], Iterator[dict[str, Any]]]] = {
    "metric": _metric,
    "flops": _flops,
    "file": _file,
}


def _state(session: Session, what: PruneSpec | Preview | History, place: int) -> Preview | History:
    if not isinstance(what, PruneSpec):
        return what
    return scored_preview(session, session.resolve(what, frozenset(FIELDS)), place)


def _side(session: Session, state: Preview | History, title: str, shown: Preview) -> Side:
    if isinstance(state, Preview):
        variant, mask, what = session.with_preview(state), state.mask, state.spec.call
    else:
        variant = Variant(state.masks(), state.done, state.values())
        mask = mask_so_far(session.tensor_after(shown.tensor.name, state))
        what = "1 step" if len(state.done) == 1 else f"{len(state.done)} steps"
    for name, pruned in {**variant.masks, shown.tensor.name: mask}.items():
        tensor = session.tensor(name)
        if pruned.shape != tensor.shape:
            raise RequestError(
                "compare", f"`compare`: {name} is {tensor.shape_text} now, not when it was pruned."
            )
    return Side(title, what, mask, session.model_sparsity(variant), variant)


def _titles(session: Session, states: list[Preview | History]) -> list[str]:
    """Return titles of two states; two of one method are named by the fields that differ."""
    titles = [_title(session, state) for state in states]
    a, b = states
    if not isinstance(a, Preview) or not isinstance(b, Preview) or titles[0] != titles[1]:
        return titles
    uses = [*(knob.name for knob in a.method.knobs), "criterion", "amount"]
    apart = [name for name in uses if getattr(a.spec, name) != getattr(b.spec, name)]
    return [
        ", ".join([title, *(f"{name}={getattr(state.spec, name)!r}" for name in apart)])
        for title, state in zip(titles, (a, b), strict=True)
    ]


def _title(session: Session, state: Preview | History) -> str:
    if isinstance(state, Preview):
        return state.method.title
    kept = (name for name, plan in session.plans.items() if plan is state)
    return next(kept, "Steps" if state.done else GIVEN)
