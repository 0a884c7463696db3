"""Measure the network with a whole allocation pruned, on examples that were not used for choosing it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.core.text import percent
from prunescope.measure import evaluated, pruned_copy
from prunescope.measure.states import eval_copy, known_accuracy
from prunescope.network.bisecting import is_higher_better
from prunescope.network.intervals import paired_interval
from prunescope.network.survey import choosing_order
from prunescope.session import Session


@dataclass(frozen=True)
class Measured:
    """The measured metric of an allocation.

    Attributes:
        value: The metric with the whole allocation pruned.
        dense: The metric without it, on the same examples.
        drop: Loss in the metric's unit; positive is worse.
        low, high: 95 % interval of the drop on examples like these; None for the user's own metric.
        metric: Name of the metric.
        examples: Number of examples; 0 for the user's own metric.
        split: Whether these examples were not used for choosing the allocation.
        choosing: The drop on the examples that were used for choosing; None if there are none.
    """

    value: float
    dense: float
    drop: float
    low: float | None = None
    high: float | None = None
    metric: str = "accuracy"
    examples: int = 0
    split: bool = False
    choosing: float | None = None

    @property
    def in_words(self) -> str:
        """Describe the drop and the examples it was measured on.

        Example:
            >>> Measured(0.95, 0.99, 0.04, 0.02, 0.06, examples=300, split=True).in_words
            '99.0 → 95.0 % accuracy (lost 4.0 points, 2.0 to 6.0) on 300 examples not used for choosing'
        """
        if not self.examples or self.low is None or self.high is None:
            return f"{self.dense:.4g} → {self.value:.4g} {self.metric}"
        lost = f"lost {100 * self.drop:.1f} points, {100 * self.low:.1f} to {100 * self.high:.1f}"
        which = "not used for choosing" if self.split else "that were used for choosing too: not split"
        return (
            f"{100 * self.dense:.1f} → {percent(self.value)} {self.metric} ({lost}) on {self.examples:,} "
            f"examples {which}"
        )


def measuring(
    session: Session, masks: Mapping[str, Tensor], higher_is_better: bool | None = None
) -> Iterator[Measured | None]:
    """Measure the network with the steps and ``masks``: yield None after each batch, the result at the end.

    Args:
        session: The session; it must have data or an ``evaluate``.
        masks: Boolean masks by full name, True where kept; each replaces the steps' mask of that tensor.
        higher_is_better: Whether a higher result of ``evaluate`` is better; None decides by its name.

    Raises:
        RequestError: The network cannot be measured.
    """
    if session.source.pair is None:
        yield _by_function(session, masks, higher_is_better)
        return
    targets = session.source.pair[1].cpu()
    order, front = choosing_order(len(targets))
    dense = yield from _answers(session, session.applied.masks)
    pruned = yield from _answers(session, {**session.applied.masks, **masks})
    right, now = dense == targets, pruned == targets
    chosen, others = order[:front], order[front:]
    worse = int((right & ~now)[others].sum())
    better = int((~right & now)[others].sum())
    low, high = paired_interval(worse, better, len(others))
    yield Measured(
        value=float(now[others].double().mean()),
        dense=float(right[others].double().mean()),
        drop=(worse - better) / len(others),
        low=low,
        high=high,
        examples=len(others),
        split=front > 0,
        choosing=float(right[chosen].double().mean() - now[chosen].double().mean()) if front else None,
    )


def _answers(session: Session, masks: Mapping[str, Tensor]) -> Generator[None, None, Tensor]:
    """Return the predicted class of every example, yielding after each batch."""
    assert session.source.pair is not None
    if not masks and (known := known_accuracy(session)) is not None and known.answers is not None:
        return known.answers
    weights = {name: _masked(session, name, mask) for name, mask in masks.items()}
    answers = torch.empty(0)
    for accuracy in eval_copy(session).evaluate(*session.source.pair, weights):
        if accuracy.answers is not None:
            answers = accuracy.answers
        yield
    return answers


def _masked(session: Session, name: str, mask: Tensor) -> Tensor:
    weight = session.tensor(name).weight
    return torch.where(mask.to(weight.device), weight, torch.zeros((), dtype=weight.dtype))


def _by_function(session: Session, masks: Mapping[str, Tensor], higher: bool | None) -> Measured:
    evaluate = session.source.evaluate
    if evaluate is None:
        raise RequestError("data", "`data` or `evaluate` must be given to measure an allocation.")
    applied, values = session.applied.masks, session.applied.values
    dense_numbers = evaluated(evaluate, pruned_copy(session.source.module, applied, values)).values
    numbers = evaluated(evaluate, pruned_copy(session.source.module, {**applied, **masks}, values)).values
    metric = next(iter(dense_numbers))
    if metric not in numbers:
        raise RequestError("evaluate", f"`evaluate` must return {metric!r} each time, as at first.")
    dense, value = dense_numbers[metric], numbers[metric]
    better = is_higher_better(metric) if higher is None else higher
    return Measured(value, dense, dense - value if better else value - dense, metric=metric)
