"""Latency of two models on the same inputs, measured in turns so that both see the same load."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer

from prunescope.measure.randomness import untouched_randomness
from prunescope.sources import arguments, rows_of

EXAMPLES = 64
"""Default number of examples in the timed batch."""

BLOCK_SECONDS = 0.005
"""Shortest block of calls, in seconds: timings of less are noise."""

FEWEST_BLOCKS = 5
"""Fewest blocks of each model, however short the time."""


@dataclass(frozen=True)
class Quartiles:
    """Quartiles of several measurements.

    Example:
        >>> Quartiles.of([3.0, 1.0, 2.0])
        Quartiles(low=1.5, median=2.0, high=2.5)
    """

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quartiles:
        """Return the quartiles of ``values``."""
        found = torch.tensor(values, dtype=torch.float64).quantile(
            torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
        )
        return cls(*found.tolist())


@dataclass(frozen=True)
class Latency:
    """Latency of two models.

    Attributes:
        before: Seconds that the first took for one batch.
        after: Seconds that the second took.
        ratio: How many times as fast the second is, per block.
        examples: Examples in the batch.

    Example:
        >>> quick = Latency(Quartiles(2, 2, 2), Quartiles(1, 1, 1), Quartiles(1.9, 2.0, 2.1), 64)
        >>> quick.in_words
        '2,000 ms → 1,000 ms for 64 examples: 2.00 times as fast (middle half 1.90 to 2.10)'
    """

    before: Quartiles
    after: Quartiles
    ratio: Quartiles
    examples: int

    @property
    def is_noisy(self) -> bool:
        """Return whether the middle half of the ratios is too wide to say which is faster."""
        spread = self.ratio.high - self.ratio.low
        return self.ratio.low <= 1 <= self.ratio.high or spread > self.ratio.median / 2

    @property
    def in_words(self) -> str:
        """Return both times and the ratio with its quartiles as text, or that they are too noisy."""
        times = f"{_ms(self.before.median)} → {_ms(self.after.median)} for {self.examples:,} examples"
        half = f"middle half {self.ratio.low:.2f} to {self.ratio.high:.2f}"
        if self.is_noisy:
            return f"{times}: too noisy to say which is faster, and by how much ({half})"
        return f"{times}: {self.ratio.median:.2f} times as fast ({half})"


def _ms(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def compare_latency(
    before: nn.Module,
    after: nn.Module,
    inputs: tuple[Tensor, ...],
    *,
    seconds: float = 2.0,
    examples: int = EXAMPLES,
) -> Iterator[Latency]:
    """Yield the latency so far after each turn of both models; the last is complete.

    Args:
        before: A model in eval mode.
        after: Another.
        inputs: What they are called with; repeated or cut to ``examples``.
        seconds: How long it may take, roughly.
        examples: Examples in the batch.
    """
    batch = batch_of(inputs, examples)
    timers = [BlockTimer(model, batch) for model in (before, after)]
    turns: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(turns) < FEWEST_BLOCKS or time.perf_counter() < end:
        first, second = timers if len(turns) % 2 == 0 else timers[::-1]
        found = {id(first): first.block(), id(second): second.block()}
        turns.append((found[id(timers[0])], found[id(timers[1])]))
        yield Latency(
            Quartiles.of([each for each, _ in turns]),
            Quartiles.of([each for _, each in turns]),
            Quartiles.of([a / b for a, b in turns]),
            examples,
        )


def batch_of(inputs: tuple[Tensor, ...], examples: int) -> tuple[Tensor, ...]:
    """Return a batch of so many examples: repeated, or cut."""
    index = torch.arange(examples) % len(inputs[0])
    return rows_of(inputs, index.to(inputs[0].device))


class BlockTimer:
    """Times blocks of calls of one model.

    Args:
        model: A model in eval mode.
        batch: What it is called with.
    """

    def __init__(self, model: nn.Module, batch: tuple[Tensor, ...]) -> None:
        positional, named = arguments(batch)
        names = {"model": model, "positional": positional, "named": named}
        self._timer = Timer("model(*positional, **named)", globals=names, num_threads=torch.get_num_threads())
        with torch.no_grad(), untouched_randomness():
            once = min(self._timer.timeit(1).mean for _ in range(3))
        self._calls = max(1, round(BLOCK_SECONDS / max(once, 1e-7)))

    def block(self) -> float:
        """Return the seconds of one call, the mean over a block."""
        with torch.no_grad(), untouched_randomness():
            return float(self._timer.timeit(self._calls).mean)
