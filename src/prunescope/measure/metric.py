"""What a model is judged by: a metric, and its value before and after pruning."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from prunescope.core.errors import RequestError

Evaluate = Callable[[nn.Module], object]
"""Takes a model, and returns a number or a dict of numbers."""


class Measure(Protocol):
    """What one state of a model is worth: an accuracy, or the numbers of a metric of the user's own."""

    @property
    def values(self) -> Mapping[str, float]:
        """Return its numbers by name; at least one, and none of them NaN."""

    @property
    def short(self) -> Mapping[str, str]:
        """Return each number as people read it, by the name it is shown under."""

    @property
    def precise(self) -> Mapping[str, str]:
        """Return the same, each with its interval where it has one."""

    def since(self, before: Measure | None) -> list[tuple[str, str]]:
        """Return each number before and now, as pairs of name and ``"before → now"``."""


@dataclass(frozen=True)
class Metric:
    """What a model is judged by, before and after pruning.

    Attributes:
        name: What it is called: ``"Held-out accuracy"``, or the name of the function.
        before: Of the original model; None while it is not known.
        after: With the steps and what is shown; None likewise.
        problem: Why it could not be measured, or "".

    Example:
        >>> Metric("loss", Metrics({"loss": 0.25}), Metrics({"loss": 0.5})).facts
        [('loss', '0.25 → 0.5')]
        >>> Metric("loss").facts, Metric("loss", problem="`evaluate` raised ValueError: no").facts
        ([('loss', '… → …')], [('loss', 'not measured')])
    """

    name: str
    before: Measure | None = None
    after: Measure | None = None
    problem: str = ""

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Return its numbers before and after, as pairs of name and value, in words."""
        if self.after is not None and not self.problem:
            return self.after.since(self.before)
        if self.before is None:
            return [(self.name, "not measured" if self.problem else "… → …")]
        unknown = "not measured" if self.problem else "…"
        return [(name, f"{value} → {unknown}") for name, value in self.before.short.items()]

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Return its facts with before and after apart, for a table."""
        halves = ((name, *value.partition(" → ")[::2]) for name, value in self.facts)
        return [(name, before, after or before) for name, before, after in halves]


@dataclass(frozen=True)
class Metrics:
    """Numbers by name, such as a loss: what ``evaluate`` returned for one state of the model.

    Attributes:
        values: At least one; none of them NaN.

    Example:
        >>> Metrics({"loss": 0.25, "top 5": 1.0}).in_words
        'loss 0.25, top 5 1'
    """

    values: Mapping[str, float]

    @property
    def in_words(self) -> str:
        """Return all numbers with their names, as text."""
        return ", ".join(f"{name} {value}" for name, value in self.short.items())

    @property
    def short(self) -> dict[str, str]:
        """Return each of them as people read it, by name."""
        return {name: number(value) for name, value in self.values.items()}

    @property
    def precise(self) -> dict[str, str]:
        """Return the same: nothing is known of how far they can be trusted."""
        return self.short

    def since(self, before: Measure | None) -> list[tuple[str, str]]:
        """Return each of them before and now, as pairs of name and ``"before → now"``."""
        first = {} if before is None else before.short
        names = {**first, **self.short}
        return [(name, f"{first.get(name, '…')} → {self.short.get(name, '…')}") for name in names]


def number(value: float) -> str:
    """Format a number with four significant digits.

    Example:
        >>> number(0.98765), number(float("inf")), number(-12345.0)
        ('0.9877', '∞', '−1.234e+04')
    """
    return f"{value:.4g}".replace("inf", "∞").replace("-", "−", 1)


def evaluated(evaluate: Evaluate, model: nn.Module) -> Metrics:
    """Call ``evaluate`` on ``model``; a single number takes the function's name.

    Raises:
        RequestError: It raises, or returns anything but numbers; NaN is refused.

    Example:
        >>> def loss(model):
        ...     return 0.5
        >>> evaluated(loss, nn.Linear(2, 2))
        Metrics(values={'loss': 0.5})
    """
    try:
        answer = evaluate(model)
    except BaseException as error:  # Whatever it raises, `sys.exit` included, is shown to its author.
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise RequestError("evaluate", f"`evaluate` raised {type(error).__name__}: {reason}") from error
    if not isinstance(answer, Mapping):
        return Metrics({name_of(evaluate): _checked(answer, "")})
    if not answer:
        raise _refused("an empty dict")
    for name in answer:
        if not isinstance(name, str) or not name.strip():
            raise _refused(f"the name {name!r}")
    return Metrics({name: _checked(value, f" for {name!r}") for name, value in answer.items()})


def name_of(evaluate: Evaluate) -> str:
    """Return the name of a single number that ``evaluate`` returns."""
    name = getattr(evaluate, "__name__", "")
    return name if isinstance(name, str) and name.isidentifier() else "evaluate"


def _checked(value: object, whose: str) -> float:
    plain = value.item() if isinstance(value, Tensor | np.ndarray) and math.prod(value.shape) == 1 else value
    if not isinstance(plain, numbers.Real):
        raise _refused(f"{type(value).__name__}{whose}")
    found = float(plain)
    if math.isnan(found):
        raise _refused(f"NaN{whose}")
    return found


def _refused(came: str) -> RequestError:
    return RequestError(
        "evaluate", f"`evaluate` must return a number or a dict of numbers by name, got {came}."
    )
