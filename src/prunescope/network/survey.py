"""Measure a sensitivity table incrementally: all cells on one chunk of examples before the next chunk.

Examples come in a fixed random order. Allocations are chosen on the first half and reported on the second.
The dense answers to a chunk are computed before its cells are run, so that each cell counts the answers that
turned from right to wrong and from wrong to right.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.measure import EvalCopy
from prunescope.network.asked import SensitivitySpec, how
from prunescope.network.estimates import Estimates
from prunescope.network.intervals import is_clear, paired_interval
from prunescope.network.layers import Layer, layers_of
from prunescope.network.replay import Replay
from prunescope.network.table import Cell, SensitivityTable, State
from prunescope.prune import units_to_prune
from prunescope.session import Session
from prunescope.sources.inputs import rows_of

LEAST_EXAMPLES = 64
"""Least number of examples a cell is run on before it may stop."""

LEAST_TO_SPLIT = 100
"""Least number of examples for which allocations are chosen on one half and reported on the other."""

FEW = 4
"""Number of examples on which reruns are compared with whole runs."""

MOST_AT_ONCE = 128
"""Largest number of examples in a chunk."""

REST = 0.03
"""Seconds of work before the caller gets control again."""

RUN = 0.04
"""Longest time that one run of a chunk should take, in seconds."""

MOST_KEPT = 32_000_000
"""Most masked weights kept from one chunk to the next; beyond it they are computed again."""


USUAL = SensitivitySpec()
"""The default request."""


def choosing_order(examples: int) -> tuple[Tensor, int]:
    """Return a fixed random order of the examples, and how many at its front are used for choosing.

    Example:
        >>> order, front = choosing_order(599)
        >>> len(order), front
        (599, 299)
    """
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(0))
    return order, examples // 2 if examples >= LEAST_TO_SPLIT else 0


@dataclass
class _Count:
    """Running counts of a cell: answers that became wrong, that became right, and examples seen."""

    layer: Layer
    amount: float
    pruned: int
    worse: int = 0
    better: int = 0
    seen: int = 0
    choosing: float | None = None
    stopped: bool = False
    weight: Tensor | None = field(default=None, repr=False)
    kept: Tensor | None = field(default=None, repr=False)

    def cell(self, examples: int) -> Cell:
        """Return the cell with the current counts."""
        low, high = paired_interval(self.worse, self.better, self.seen)
        state: State = "measured" if self.seen == examples else "sampled"
        drop = (self.worse - self.better) / self.seen
        return Cell(state, drop, low, high, self.pruned, self.seen, choosing=self.choosing)


class Survey:
    """Measure a sensitivity table on held-out data, a little at a time.

    Args:
        session: The session; its steps count as applied. Its model is read, never written.
        asked: How each layer is pruned, by how much, and which layers.
        tolerance: Stop a cell as soon as the 99 % interval of its drop is clear of this; None measures all.
        first: The layer to measure first; may be changed at any time.
        seconds: Longest time one run of a chunk may take: short to keep an interface responsive, long
            otherwise, since small chunks take longer in total.

    Raises:
        RequestError: There is no data, it has only one class, the model cannot be run on it, or a value is
            invalid.

    Example:
        >>> from prunescope.sources import demo_source
        >>> for table in Survey(Session(demo_source("mlp")), SensitivitySpec(amounts=(0.5,))).tables():
        ...     pass  # let others in; stop here to pause
        >>> table.in_words
        '3 of 3 cells measured'
    """

    def __init__(
        self,
        session: Session,
        asked: SensitivitySpec = USUAL,
        *,
        tolerance: float | None = None,
        first: str = "",
        seconds: float = RUN,
    ) -> None:
        self.first, self.tolerance, self._run_seconds = first, tolerance, seconds
        self.asked = asked.checked()
        self.amounts = tuple(self.asked.amounts)
        inputs, self._targets = _checked_data(session)
        self._order, self._front = choosing_order(len(self._targets))
        self._inputs = inputs
        self.layers = layers_of(session, self.asked.spec, self.asked.layers)
        copy, base = EvalCopy(session.source.module), session.weights(session.applied)
        # Raises a clear error if the model cannot be run on the data or its output has another form.
        next(copy.evaluate(rows_of(inputs, slice(2)), self._targets[:2], base))
        self._replay = Replay(copy, base)
        self._cells: dict[tuple[str, float], Cell] = {}
        self._counts: list[_Count] = []
        self._right = self._seen = self._runs = 0
        self._spent = 0.0
        self._estimates: Estimates | None = None

    def tables(self) -> Iterator[SensitivityTable]:
        """Yield the table measured so far about every 30 ms; the last one is complete.

        Raises:
            RequestError: The model cannot be run.
        """
        last = perf_counter()
        for _ in self._work():
            now = perf_counter()
            if now - last >= REST:
                self._spent += now - last
                yield self.table()
                last = perf_counter()
        self._spent += perf_counter() - last
        self._replay.forget()
        yield self.table()

    def table(self) -> SensitivityTable:
        """Return the table measured so far, with estimates for cells not yet run."""
        done = self._done()
        cells = {**(self._estimates.cells(self._cells) if self._estimates else {}), **self._cells}
        return SensitivityTable(
            layers=tuple(layer.name for layer in self.layers),
            amounts=self.amounts,
            cells=cells,
            **how(self.asked),
            dense=self._right / self._seen if self._seen else math.nan,
            examples=len(self._targets),
            weights=tuple(layer.weights for layer in self.layers),
            units=tuple(layer.units for layer in self.layers),
            tolerance=self.tolerance,
            done=done,
            seconds_left=self._spent * (1 - done) / done if done else None,
        )

    def _done(self) -> float:
        """Return the share of all runs (cells × examples) that is done, in [0, 1]."""
        whole = len(self._targets)
        if not self._counts:
            return 1.0 if self._cells and self._seen == whole else 0.0
        seen = sum(whole if count.stopped else count.seen for count in self._counts)
        return seen / (whole * len(self._counts))

    def _work(self) -> Iterator[None]:
        """Do the work, one run of the network or one ranking at a time."""
        for layer in self.layers:
            self._prepare(layer)
            yield
        self._estimates = Estimates([(count.layer, count.amount, count.pruned) for count in self._counts])
        yield from self._check()
        size = yield from self._chunk_size()
        start = 0
        while start < len(self._targets):
            end = min(start + size, len(self._targets))
            end = self._front if start < self._front < end else end
            yield from self._chunk(self._order[start:end], first=start == 0)
            if end == self._front:
                self._take_half()
            start = end

    def _prepare(self, layer: Layer) -> None:
        try:
            problem = layer.problem
            if not problem:
                _ = layer.ranking
        except RequestError as error:
            problem = str(error)
        for amount in self.amounts:
            pruned = 0 if problem else units_to_prune(amount, layer.units)
            if pruned:
                self._counts.append(_Count(layer, amount, pruned))
            else:
                why = problem or f"{amount:.0%} of {layer.units:,} is none."
                self._cells[layer.name, amount] = Cell("cannot", why=why)

    def _check(self) -> Iterator[None]:
        """Compare each layer's reruns with runs of the whole network, on a few examples."""
        inputs, _ = self._record(self._order[:FEW])
        yield
        for count in {count.layer.name: count for count in self._counts}.values():
            layer = count.layer
            self._replay.check(
                inputs, layer.name, layer.masked(count.pruned), layer.kept_channels(count.pruned)
            )
            yield

    def _chunk_size(self) -> Generator[None, None, int]:
        """Return how many examples to run at once to stay within the time for one run."""
        size = min(16, len(self._targets))
        rows = self._order[:size]
        self._record(rows)  # The first run is slower than those that follow.
        yield
        start = perf_counter()
        self._record(rows)
        each = (perf_counter() - start) / size
        fitting = max(1, int(self._run_seconds / max(each, 1e-9)))
        yield
        return min(MOST_AT_ONCE, 1 << max(2, fitting.bit_length() - 1))

    def _record(self, rows: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        inputs = rows_of(self._inputs, rows)
        return inputs, self._replay.record(inputs).argmax(1).cpu()

    def _chunk(self, rows: Tensor, first: bool) -> Iterator[None]:
        inputs, answers = self._record(rows)
        targets = self._targets[rows.to(self._targets.device)].cpu()
        right = answers == targets
        self._right += int(right.count_nonzero())
        self._seen += len(rows)
        yield
        todo = [count for count in self._counts if not count.stopped]
        if first:  # The middle amounts of every layer before the outer ones: they tell most, soonest.
            todo.sort(key=lambda count: _spread_order(self.amounts.index(count.amount)))
        while todo:
            count = _next(todo, self.first)
            self._run(count, inputs, targets, right)
            yield

    def _run(self, count: _Count, inputs: tuple[Tensor, ...], targets: Tensor, right: Tensor) -> None:
        weight, kept = count.weight, count.kept
        if weight is None:
            weight, kept = count.layer.masked(count.pruned), count.layer.kept_channels(count.pruned)
            count.kept = kept
            if sum(layer.weights for layer in self.layers) * len(self.amounts) <= MOST_KEPT:
                count.weight = weight
        answers = self._replay.run(inputs, count.layer.name, weight, kept).argmax(1).cpu()
        now = answers == targets
        count.worse += int((right & ~now).count_nonzero())
        count.better += int((~right & now).count_nonzero())
        count.seen += len(targets)
        whole = count.seen == len(self._targets)
        if self.tolerance is not None and count.seen >= LEAST_EXAMPLES and not whole:
            count.stopped = is_clear(count.worse, count.better, count.seen, self.tolerance)
        self._cells[count.layer.name, count.amount] = count.cell(len(self._targets))

    def _take_half(self) -> None:
        """Record each cell's drop on the half that allocations are chosen on."""
        for count in self._counts:
            count.choosing = (count.worse - count.better) / count.seen
            self._cells[count.layer.name, count.amount] = count.cell(len(self._targets))


def _next(todo: list[_Count], first: str) -> _Count:
    place = next((i for i, count in enumerate(todo) if count.layer.name == first), 0) if first else 0
    return todo.pop(place)


def _spread_order(place: int) -> int:
    """Return the rank of the ``place``-th amount when halves come before quarters: its bits reversed."""
    return int(f"{place + 1:016b}"[::-1], 2)


def _checked_data(session: Session) -> tuple[tuple[Tensor, ...], Tensor]:
    data, inputs = session.source.pair, session.source.inputs
    if data is None or inputs is None:
        raise RequestError("data", "`data` must be given to measure sensitivity: held-out (inputs, targets).")
    if bool((data[1] == data[1][0]).all()):
        raise RequestError(
            "data", "`data` must have examples of at least 2 classes to tell what pruning loses, got 1."
        )
    return inputs, data[1]
