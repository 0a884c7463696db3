"""Isotonic regression and rank correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def monotone_fit(values: Sequence[float] | NDArray[Any]) -> NDArray[np.float64]:
    """Return the non-decreasing sequence with the least squared distance to ``values``.

    Computed by pooling adjacent violators (Ayer et al., 1955).

    Example:
        >>> monotone_fit([0.0, 3.0, 1.0, 5.0]).tolist()
        [0.0, 2.0, 2.0, 5.0]
    """
    means: list[float] = []
    counts: list[int] = []
    for value in values:
        mean, count = float(value), 1
        while means and means[-1] > mean:
            last, many = means.pop(), counts.pop()
            mean, count = (mean * count + last * many) / (count + many), count + many
        means.append(mean)
        counts.append(count)
    return np.repeat(np.asarray(means, np.float64), counts)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's rank correlation, ties with their mean rank; 0.0 if either sequence is constant.

    Example:
        >>> rank_correlation([1.0, 2.0, 3.0], [10.0, 30.0, 20.0])
        0.5
    """
    a, b = _ranks(np.asarray(one, np.float64)), _ranks(np.asarray(other, np.float64))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return round(float(a @ b) / scale, 12) if scale else 0.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], np.float64)
