"""The whole network in the background: the sensitivity table fills while somebody looks, and a goal is met.

Both go a few milliseconds at a time on the event loop that runs the user's cells, and rest while a control
moves. A table that was left half-way goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from time import perf_counter

from prunescope.core.errors import RequestError
from prunescope.core.spec import PruneSpec
from prunescope.explorer.live.task import Latest
from prunescope.network import Allocation, GoalSpec, Network, SensitivitySpec, SensitivityTable, Survey
from prunescope.network.asked import alone, how
from prunescope.network.keep import find, fingerprint
from prunescope.session import Session

REST_SECONDS = 0.3
"""How long the controls must rest before the network is measured further."""

PUBLISH_SECONDS = 0.12
"""How often a table is shown while it fills."""


MOST_HASHED = 1_000_000
"""Parameters of a network that is looked up among the tables that ship with the package."""


@dataclass(frozen=True)
class NetworkShown:
    """What is known of the whole network.

    Attributes:
        table: What each layer loses, as far as it is measured; None before anything is.
        running: Whether it is being measured.
        problem: Why it cannot be, or "".
        goal: What the network is asked to lose.
        allocation: What meets the goal, measured as far as it is; None before it is found.
        finding: Whether it is being looked for.
        goal_problem: Why it cannot be met, or "".
    """

    table: SensitivityTable | None = None
    running: bool = False
    problem: str = ""
    goal: GoalSpec = field(default_factory=lambda: GoalSpec(0.5))
    allocation: Allocation | None = None
    finding: bool = False
    goal_problem: str = ""


class LiveNetwork(Latest):
    """Measures the sensitivity table of what is shown, and finds what meets the goal.

    Args:
        publish: Called with what is known, as often as more is.
    """

    def __init__(self, publish: Callable[[NetworkShown], object]) -> None:
        super().__init__()
        self._publish = publish
        self._key: object = None
        self._tables: Iterator[SensitivityTable] | None = None
        self._moved = 0.0
        self._shown = NetworkShown()

    def follow(self, session: Session, spec: PruneSpec, goal: GoalSpec) -> None:
        """Go on measuring for what is shown now; what was measured for something else is given up.

        Args:
            session: The session that is shown.
            spec: What is asked of the layer that is shown.
            goal: What the network is asked to lose; its method is taken from ``spec``.
        """
        self._moved = perf_counter()
        asked = SensitivitySpec(**alone(spec))
        goal = replace(goal, **how(asked))
        if goal.rule == "sensitivity" and session.source.data is None:
            goal = replace(goal, rule="lamp")  # There is nothing to measure on, and LAMP needs no data.
        key = (session, session.history.done, asked)
        if key != self._key:
            self._key, self._tables = key, None
            self._shown = NetworkShown(goal=goal)
        elif goal == self._shown.goal and (self._busy or self._done):
            return
        self._shown = replace(self._shown, goal=goal, goal_problem="", finding=True)
        self._start(session, asked, goal)

    @property
    def _busy(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def _done(self) -> bool:
        shown = self._shown
        known = bool(shown.problem) or (shown.table is not None and shown.table.complete)
        return known and not shown.finding

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

    async def _measure(self, session: Session, asked: SensitivitySpec) -> None:
        if self._shown.table is not None and self._shown.table.complete:
            return
        if session.source.data is None:
            raise RequestError(
                "data", "`data` must be given to measure what each layer loses: held-out (inputs, targets)."
            )
        await self._rest()
        if self._tables is None and session.parameters <= MOST_HASHED:
            shipped = find(fingerprint(session, asked))
            if shipped is not None:
                self._put(table=shipped, running=False, problem="")
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

    async def _find(self, session: Session, goal: GoalSpec) -> None:
        network = Network.of(session, goal, self._shown.table)
        self._put(finding=True, goal_problem="")
        found, told = None, 0.0
        for found in network.allocating(goal):
            if perf_counter() - told > PUBLISH_SECONDS:
                told = perf_counter()
                self._put(allocation=found)
            await self._rest()
        self._put(allocation=found, finding=False, goal_problem="" if found is None else found.problem)

    async def _rest(self, least: float = 0.02) -> None:
        """Let others in, and wait for as long as a control moves."""
        await asyncio.sleep(least)
        while (left := self._moved + REST_SECONDS - perf_counter()) > 0:
            await asyncio.sleep(left)

    def _put(self, **found: object) -> None:
        self._shown = replace(self._shown, **found)  # type: ignore[arg-type]
        self._publish(self._shown)

    def _now(self, session: Session, asked: SensitivitySpec, goal: GoalSpec) -> None:
        """Nothing: without an event loop nobody sees it fill; `Explorer.sensitivity` measures in code."""
