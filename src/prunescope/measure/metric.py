"""The user's ``evaluate``: call it on a model, and check what it returns."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from prunescope.core.errors import RequestError

Evaluate = Callable[[nn.Module], object]
"""Takes a model, and returns a number or a dict of numbers."""


@dataclass(frozen=True)
class Numbers:
    """Numbers by name, such as a loss.

    Attributes:
        values: At least one; none of them NaN.

    Example:
        >>> Numbers({"loss": 0.25, "top 5": 1.0}).in_words
        'loss 0.25, top 5 1'
    """

    values: Mapping[str, float]

    @property
    def in_words(self) -> str:
        """Return all numbers with their names, as text."""
        return ", ".join(f"{name} {number(value)}" for name, value in self.values.items())


def number(value: float) -> str:
    """Format a number with four significant digits.

    Example:
        >>> number(0.98765), number(float("inf")), number(-12345.0)
        ('0.9877', '∞', '−1.234e+04')
    """
    return f"{value:.4g}".replace("inf", "∞").replace("-", "−", 1)


def evaluated(evaluate: Evaluate, model: nn.Module) -> Numbers:
    """Call ``evaluate`` on ``model``; a single number takes the function's name.

    Raises:
        RequestError: It raises, or returns anything but numbers; NaN is refused.

    Example:
        >>> def loss(model):
        ...     return 0.5
        >>> evaluated(loss, nn.Linear(2, 2))
        Numbers(values={'loss': 0.5})
    """
    try:
        answer = evaluate(model)
    except BaseException as error:  # Whatever it raises, `sys.exit` included, is shown to its author.
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise RequestError("evaluate", f"`evaluate` raised {type(error).__name__}: {reason}") from error
    if not isinstance(answer, Mapping):
        return Numbers({name_of(evaluate): _checked(answer, "")})
    if not answer:
        raise _refused("an empty dict")
    for name in answer:
        if not isinstance(name, str) or not name.strip():
            raise _refused(f"the name {name!r}")
    return Numbers({name: _checked(value, f" for {name!r}") for name, value in answer.items()})


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
