"""Confidence intervals for the difference of two accuracies on the same examples."""

from __future__ import annotations

import math

Z95, Z99 = 1.959964, 2.575829
"""Half-widths of a 95 % and a 99 % normal interval, in standard deviations."""


def paired_interval(worse: int, better: int, examples: int, z: float = Z95) -> tuple[float, float]:
    """Return the confidence interval of an accuracy drop from paired answers, in [-1, 1].

    Wald interval with half an answer added to each of the four cells: A. Agresti and Y. Min, "Simple
    improved confidence intervals for comparing matched proportions", Statistics in Medicine 24 (2005).

    Args:
        worse: Examples that went from right to wrong.
        better: Examples that went from wrong to right.
        examples: Number of examples.
        z: Half-width of the interval, in standard deviations.

    Example:
        >>> low, high = paired_interval(worse=10, better=2, examples=100)
        >>> round(low, 3), round(high, 3)
        (0.011, 0.146)
    """
    if examples == 0:
        return -1.0, 1.0
    n, b, c = examples + 2, worse + 0.5, better + 0.5
    middle = (b - c) / n
    reach = z * math.sqrt(max(b + c - (b - c) ** 2 / n, 0.0)) / n
    return max(-1.0, middle - reach), min(1.0, middle + reach)


def is_clear(worse: int, better: int, examples: int, tolerance: float) -> bool:
    """Return whether the 99 % interval of the drop lies on one side of ``tolerance``.

    It is checked repeatedly while examples come in, hence 99 % and not 95 %.
    """
    low, high = paired_interval(worse, better, examples, Z99)
    return low > tolerance or high < tolerance
