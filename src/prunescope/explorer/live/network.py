"""The whole network in the background: fill the sensitivity table while it is displayed, and meet a goal.

Both run a few milliseconds at a time on the event loop that runs the user's cells, and pause while a control
moves. `evaluate` is called in a thread; a table that needs it is measured only on request. An unfinished
table resumes where it stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from prunescope.core.errors import RequestError
from prunescope.core.spec import PruneSpec
from prunescope.explorer.live.runner import MetricRunner
from prunescope.explorer.live.task import BackgroundTask
from prunescope.measure.importance import score
from prunescope.measure.states import Question
from prunescope.network import (
    Allocation,
    Bisection,
    GoalSpec,
    Network,
    SensitivitySpec,
    SensitivityTable,
    Survey,
)
from prunescope.network.asked import HOW, alone
from prunescope.network.keep import SHIPPED, find, fingerprint, user_folder
from prunescope.session import Session

REST_SECONDS = 0.3
"""Seconds without changes before measuring continues."""

PUBLISH_SECONDS = 0.12
"""Seconds between updates of a table while it fills."""

MOST_HASHED = 1_000_000
"""Largest network, in parameters, whose table is looked up in the cache."""

MOST_DOTS = 40
"""Most measured allocations that the trade-off plot shows."""

Bit = TypeVar("Bit")

Dot = tuple[float, float, str]
"""A measured allocation: the share it prunes, the drop, and the rule."""


@dataclass(frozen=True)
class NetworkShown:
    """What is known of the whole network.

    Attributes:
        table: The sensitivity table so far; None before there is any.
        running: Whether it is being measured.
        paused: Whether the user has paused it.
        problem: Why it cannot be measured, or "".
        offer: The cost of measuring it, if that happens only on request; else "".
        goal: The pruning goal.
        allocation: The allocation for the goal so far; None before there is any.
        finding: Whether the allocation is still being computed.
        goal_problem: Why the goal cannot be met, or "".
        rules: The known allocations of all rules at the same target, by rule.
        front: The predicted trade-off: rising shares, each with the least predicted drop.
        dots: Measured allocations of this model and unit.
    """

    table: SensitivityTable | None = None
    running: bool = False
    paused: bool = False
    problem: str = ""
    offer: str = ""
    goal: GoalSpec = field(default_factory=lambda: GoalSpec(0.5))
    allocation: Allocation | None = None
    finding: bool = False
    goal_problem: str = ""
    rules: Mapping[str, Allocation] = field(default_factory=dict)
    front: tuple[tuple[float, float], ...] = ()
    dots: tuple[Dot, ...] = ()

    @property
    def met(self) -> bool:
        """Return whether the allocation is final and belongs to the current goal."""
        found = self.allocation
        if found is None or self.finding:
            return False
        asked = (
            {each.name for each in fields(GoalSpec)} - set(HOW) - ({"rule"} if self.table is None else set())
        )
        return all(getattr(found.goal, name) == getattr(self.goal, name) for name in asked)


class LiveNetwork(BackgroundTask):
    """Measure the sensitivity table and find the allocation for the goal, in the background.

    Args:
        publish: Called with the state so far, whenever more is known.
        runner: Runs the user's metric.
    """

    def __init__(self, publish: Callable[[NetworkShown], object], runner: MetricRunner) -> None:
        super().__init__()
        self._publish, self._runner = publish, runner
        self._key: object = None
        self._tables: Iterator[SensitivityTable] | None = None
        self._network: tuple[object, Network] | None = None
        self._moved = 0.0
        self._asked_for = False
        self._shown = NetworkShown()

    def follow(self, session: Session, spec: PruneSpec, goal: GoalSpec) -> None:
        """Continue measuring for the displayed spec; results for another method or other steps are dropped.

        Args:
            session: The displayed session.
            spec: The spec of the displayed layer.
            goal: The pruning goal; its method is taken from ``spec``.
        """
        self._moved = perf_counter()
        asked = SensitivitySpec(**alone(spec))
        goal = replace(goal, **alone(spec))
        key = (session, session.history.done, asked)
        if key != self._key:
            self._key, self._tables, self._network, self._asked_for = key, None, None, False
            self._shown = NetworkShown(goal=goal, paused=self._shown.paused)
        elif goal == self._shown.goal and (self._busy or self._done):
            return
        dots = self._shown.dots if goal.unit == self._shown.goal.unit else ()
        self._shown = replace(self._shown, goal=goal, goal_problem="", finding=True, rules={}, dots=dots)
        self._start(session, asked, goal)

    def ask(self, session: Session, spec: PruneSpec, goal: GoalSpec) -> None:
        """Measure the table with the user's own function, which was only offered so far."""
        self._asked_for = True
        self._shown = replace(self._shown, problem="", offer="", finding=True)
        self._start(session, SensitivitySpec(**alone(spec)), replace(goal, **alone(spec)))

    def pause(self, paused: bool, session: Session, spec: PruneSpec, goal: GoalSpec) -> None:
        """Pause or resume measuring the table."""
        self._shown = replace(self._shown, paused=paused, finding=True)
        self._start(session, SensitivitySpec(**alone(spec)), replace(goal, **alone(spec)))

    @property
    def _busy(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def _done(self) -> bool:
        shown = self._shown
        known = bool(shown.problem or shown.offer or shown.paused)
        return (known or (shown.table is not None and shown.table.complete)) and not shown.finding

    async def _in_steps(self, session: Session, asked: SensitivitySpec, goal: GoalSpec) -> None:
        self._put()
        try:
            await self._measure(session, asked)
        except RequestError as problem:
            self._put(running=False, problem=str(problem))
        try:
            await self._find(session, goal)
        except RequestError as problem:
            self._put(finding=False, allocation=None, goal_problem=str(problem))

    # The table.

    async def _measure(self, session: Session, asked: SensitivitySpec) -> None:
        shown = self._shown
        if shown.paused or (shown.table is not None and shown.table.complete):
            self._put(running=False)
            return
        if session.source.data is None:
            await self._measure_by_function(session, asked)
            return
        await self._rest()
        for _ in score(session, asked.criterion):
            await self._rest()
        if self._tables is None and session.parameters <= MOST_HASHED:
            kept = find(fingerprint(session, asked), (SHIPPED, user_folder()))
            if kept is not None:
                self._put(table=kept, running=False, problem="")
                return
        if self._tables is None:
            self._tables = Survey(session, asked).tables()
        told = 0.0
        for table in self._tables:
            if perf_counter() - told > PUBLISH_SECONDS or table.complete:
                told = perf_counter()
                self._put(table=table, running=not table.complete, problem="")
            await self._rest(0.0)
        self._tables = None

    async def _measure_by_function(self, session: Session, asked: SensitivitySpec) -> None:
        """Measure with the user's own function, if the user has agreed to what that takes."""
        if session.source.evaluate is None:
            raise RequestError(
                "data", "`data` must be given to measure what each layer loses: held-out (inputs, targets)."
            )
        bisection = Bisection(session, asked)
        if not self._asked_for:
            self._put(running=False, offer=self._offer(bisection))
            return
        if self._tables is None:
            self._tables = bisection.tables()
        async for table in self._by_function(session, self._tables):
            self._put(table=table, running=not table.complete, problem=table.problem)
        self._tables = None

    def _offer(self, bisection: Bisection) -> str:
        calls, seconds = bisection.most_calls, self._runner.seconds
        takes = "" if seconds is None else f", about {_duration(calls * seconds)}"
        return f"at most {calls} calls of `evaluate`{takes}"

    # The goal.

    async def _find(self, session: Session, goal: GoalSpec) -> None:
        network = self._network_of(session, goal)
        if goal.rule == "sensitivity" and network.table is None:
            goal = replace(goal, rule="lamp")  # LAMP needs no table, and there is none yet.
        self._put(finding=True, goal_problem="", front=_front(network, goal))
        found, told = None, 0.0
        async for found in self._bits(session, network.allocating(goal)):
            if perf_counter() - told > PUBLISH_SECONDS:
                told = perf_counter()
                self._put(allocation=found)
        problem = "" if found is None else found.problem
        self._put(allocation=found, finding=False, goal_problem=problem, **self._measured(found))
        if session.source.data is None or goal.unit == "file" or found is None or goal.target is None:
            return
        known = {**found.candidates, found.rule: found}
        async for rules in self._bits(session, network.side_by_side(goal, known)):
            self._put(rules=rules, dots=_dots(self._shown.dots, rules.values()))

    def _measured(self, found: Allocation | None) -> dict[str, Any]:
        if found is None:
            return {}
        return {
            "rules": found.candidates,
            "dots": _dots(self._shown.dots, [*found.candidates.values(), found]),
        }

    def _network_of(self, session: Session, goal: GoalSpec) -> Network:
        """Return the network for goals with this unit; the last one is cached."""
        table = self._shown.table
        key = (self._key, goal.unit, table)
        if self._network is None or self._network[0] != key:
            self._network = (key, Network.of(session, goal, table))
        return self._network[1]

    # A bit at a time.

    async def _bits(self, session: Session, bits: Iterator[Bit]) -> AsyncIterator[Bit]:
        """Yield from ``bits``, giving way after each item; the user's function runs in a thread."""
        if session.source.data is None and session.source.evaluate is not None:
            async for bit in self._by_function(session, bits):
                yield bit
            return
        for bit in bits:
            yield bit
            await self._rest()

    async def _by_function(self, session: Session, bits: Iterator[Bit]) -> AsyncIterator[Bit]:
        """Yield from ``bits``, computing each item in the thread that calls the user's own function."""
        history = session.history
        while True:
            await self._rest()
            await self._runner.end(self._late)
            found: list[Bit] = []
            ask: Any = partial(next, bits, None)
            await self._runner.ask(Question(ask, found.append), self._late)  # type: ignore[arg-type]
            if found[0] is None or session.history is not history:
                return
            yield found[0]

    def _late(self, problem: RequestError) -> None:
        self._put(problem=str(problem))

    async def _rest(self, least: float = 0.02) -> None:
        """Give way to other tasks, and wait while a control moves."""
        await asyncio.sleep(least)
        while (left := self._moved + REST_SECONDS - perf_counter()) > 0:
            await asyncio.sleep(left)

    def _put(self, **found: object) -> None:
        self._shown = replace(self._shown, **found)  # type: ignore[arg-type]
        self._publish(self._shown)

    def _now(self, session: Session, asked: SensitivitySpec, goal: GoalSpec) -> None:
        """Do nothing: without an event loop there is no display; `Explorer.sensitivity` measures in code."""


def _duration(seconds: float) -> str:
    """Format a time for display.

    Example:
        >>> _duration(0.4), _duration(12.2), _duration(200)
        ('1 s', '12 s', '3 min')
    """
    return f"{max(1, round(seconds))} s" if seconds < 100 else f"{round(seconds / 60)} min"


def _front(network: Network, goal: GoalSpec) -> tuple[tuple[float, float], ...]:
    """Return the predicted trade-off; empty without a table, or for file sizes, which must be measured."""
    if network.table is None or goal.unit == "file":
        return ()
    shares, drops = network.budget(replace(goal, rule="sensitivity")).front(60)
    return tuple(zip(shares.tolist(), drops.tolist(), strict=True))


def _dots(known: tuple[Dot, ...], allocations: Any) -> tuple[Dot, ...]:
    """Return the dots with those of ``allocations`` that were measured added."""
    more = [
        (round(each.reached, 4), each.measured.drop, each.rule)
        for each in allocations
        if each.measured is not None
    ]
    return tuple(dict.fromkeys((*known, *more)))[-MOST_DOTS:]
