"""Comparing two states of a session's model on one layer: what is shown, another method, a kept plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from prunescope.core.criteria import CRITERIA
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview, shortest_fraction
from prunescope.core.spec import FIELDS, METHODS, PruneSpec, Resolved, parse_norm
from prunescope.core.tensor import mask_so_far
from prunescope.measure import SIDES, Comparison, Side, cut_out
from prunescope.measure.costs.measuring import compressed_sizes, flops
from prunescope.measure.importance import scored_preview
from prunescope.prune import Norm
from prunescope.session import Session
from prunescope.session.history import History, Variant

GIVEN = "The model as it was given"
"""What the state without any step is called."""


@dataclass(frozen=True)
class Choice:
    """One side of a comparison: what is shown, changed in some fields but not in amount; or a kept plan.

    Attributes:
        method: Method instead of that of what is shown; None leaves it, as for the fields below.
        n: Order of the norm.
        dim: Axis that numbers the channels.
        seed: Seed of a random method.
        criterion: What counts as unimportant.
        plan: Name of a kept plan; "" is the model as it was given. The other fields then have no say.

    Example:
        >>> Choice(method="random_unstructured").values
        {'method': 'random_unstructured'}
    """

    method: str | None = None
    n: Norm | None = None
    dim: int | None = None
    seed: int | None = None
    criterion: str | None = None
    plan: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """Return the fields that are set, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def of(cls, what: object) -> Choice:
        """Return the choice that a name, or a mapping of fields, stands for.

        Args:
            what: A choice; the key of a method or else the name of a plan; fields of a choice by name.

        Raises:
            RequestError: It stands for none.

        Example:
            >>> Choice.of("gentle"), Choice.of({"n": 1}).n
            (Choice(method=None, n=None, dim=None, seed=None, criterion=None, plan='gentle'), 1)
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
        return cls(**values)


@dataclass(frozen=True)
class Comparing:
    """What is compared with what.

    Attributes:
        a: One side; what is shown unless told otherwise.
        b: The other; None is chance: the random method like that of what is shown, or one that ranks where
            that is random.
        shown: Whether it is looked at now.
    """

    a: Choice = field(default_factory=Choice)
    b: Choice | None = None
    shown: bool = False

    def other(self, preview: Preview) -> Choice:
        """Return the second side, beside what ``preview`` shows."""
        return counterpart(preview.spec.method) if self.b is None else self.b

    def renamed(self, old: str, new: str | None) -> Comparing:
        """Return it with the plan ``old`` called ``new``; with the sides that were it reset if None."""
        if not isinstance(old, str):
            return self
        a, b = (
            side if side is None or side.plan != old else (None if new is None else Choice(plan=new))
            for side in (self.a, self.b)
        )
        return replace(self, a=a or Choice(), b=b)


def counterpart(method: str) -> Choice:
    """Return chance for a method that ranks, and ranking for one of chance; both prune units of one kind.

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
    """Return the amount of what is shown; the share it prunes, where it counts other units or is by hand."""
    amount = shown.spec.amount
    kind = METHODS[other.spec.method].unit_name(shown.tensor, other.spec.dim)
    counts_others = isinstance(amount, int) and (shown.unit_name, shown.units) != (kind, other.units)
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
    """Return how two states of a session's model differ on one layer.

    Args:
        session: The session; left as it is.
        a: A spec or a preview, carried out after the session's steps; or a history, such as a kept plan.
        b: The same.
        at: Tells the layer, and ``n`` and ``dim`` of its norms; the first spec of the two if None.

    Raises:
        RequestError: A spec cannot be met, none tells the layer, or they tell two.

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
        raise RequestError("at", "`at` must tell the layer where two plans are compared.")
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
        dim=shown.spec.dim,
        norms=shown.norms.unpruned,
        a=sides[0],
        b=sides[1],
        measures=_measures(session),
    )


def _measures(session: Session) -> frozenset[str]:
    source = session.source
    network = isinstance(source.model, nn.Module)
    there = {
        "accuracy": source.data is not None,
        "numbers": network and source.evaluate is not None,
        "file": network,
        "flops": source.has_inputs,
    }
    return frozenset(name for name, can in there.items() if can)


def measured(session: Session, seen: Comparison, largest: int | None = None) -> Iterator[Comparison]:
    """Yield ``seen`` after each bit of work, with what is measured so far; the last one is the whole.

    The person's own measure is not asked: nobody knows how long that takes.

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
    for name in ("accuracy", "flops", "file"):
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


def _accuracy(session: Session, variant: Variant, _largest: int | None) -> Iterator[dict[str, Any]]:
    for _ in session.evaluate(variant):
        yield {}
    yield {"accuracy": session.known_accuracy(variant)}


def _flops(session: Session, variant: Variant, _largest: int | None) -> Iterator[dict[str, Any]]:
    counted = flops(session)
    cut = cut_out(session.source.module, session.masks(variant), counted)
    yield {"flops": counted.total, "flops_cut": cut.flops}


def _file(session: Session, variant: Variant, largest: int | None) -> Iterator[dict[str, Any]]:
    for sizes in compressed_sizes(session, variant, largest):
        yield {} if sizes is None else {"file": sizes.permanent}


_MEASURE: Mapping[str, Callable[[Session, Variant, int | None], Iterator[dict[str, Any]]]] = {
    "accuracy": _accuracy,
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
    """Return what to call two states; two of one method by what else tells them apart."""
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
