"""Cut out pruned channels in the background: first the list of cuts, then the network, then its latency.

The session is read on the event loop. What takes long runs in a thread, on copies that nothing else uses.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from prunescope.core.errors import RequestError
from prunescope.explorer.live.metric import REST_SECONDS
from prunescope.explorer.live.runner import MetricRunner
from prunescope.explorer.live.task import BackgroundTask, in_thread
from prunescope.export.compact import (
    INSTALL,
    CompactModel,
    Cutting,
    Found,
    Pair,
    compacted,
    compacting,
    is_installed,
    latency_of,
    metrics_of,
)
from prunescope.measure import EvalCopy, Metrics, evaluated
from prunescope.measure.states import Question, known, question
from prunescope.session import Session
from prunescope.session.history import Step

LATENCY_SECONDS = 2.0
"""How long to measure latency, in seconds."""


@dataclass(frozen=True)
class CompactShown:
    """The state of the smaller network.

    Attributes:
        steps: The steps that it is made from.
        coupled: How to treat channels that are added to those of other layers; see `possible_cuts`.
        cuts: What can be cut out, one sentence each; None before the search.
        refused: Why other pruned channels cannot be cut out, one sentence per layer.
        busy: What is running, in words; "" if nothing is.
        found: The network and its measures so far; None before it is built.
        problem: Why it cannot be built, or "".
    """

    steps: tuple[Step, ...] = ()
    coupled: str = "same"
    cuts: tuple[str, ...] | None = None
    refused: tuple[str, ...] = ()
    busy: str = ""
    found: CompactModel | None = None
    problem: str = ""

    def is_of(self, steps: tuple[Step, ...]) -> bool:
        """Return whether it is made from these steps."""
        return self.steps == steps


class LiveCompact(BackgroundTask):
    """Find what can be cut out after the latest steps, and cut it out on request.

    Args:
        publish: Called with the state so far, whenever more is known.
        runner: Calls the user's metric, one call at a time.
    """

    def __init__(self, publish: Callable[[CompactShown], object], runner: MetricRunner) -> None:
        super().__init__()
        self._publish, self._runner = publish, runner
        self._shown = CompactShown()

    def start(self, session: Session, coupled: str, *, make: bool) -> None:
        """Find what can be cut out after the steps of ``session``; any earlier work is cancelled.

        Args:
            session: The session.
            coupled: One of `prunescope.export.compact.COUPLED`.
            make: Whether to build the smaller network too.
        """
        self.close()
        self._shown = CompactShown(session.history.done, coupled)
        self._put(busy="Cutting it out …" if make else "Looking for what can be cut out …")
        self._start(session, coupled, make)

    async def _in_steps(self, session: Session, coupled: str, make: bool) -> None:
        await asyncio.sleep(REST_SECONDS)
        try:
            cutting = _cutting(session, coupled)
            found = await asyncio.to_thread(cutting.find)
            self._tell(found)
            if make:
                await self._make(session, cutting, found)
        except RequestError as problem:
            self._put(problem=str(problem))
        self._put(busy="")

    async def _make(self, session: Session, cutting: Cutting, found: Found) -> None:
        dense = EvalCopy(session.source.module)
        compact = await asyncio.to_thread(compacted, cutting, found, dense)
        self._put(found=compact)
        compact = replace(compact, metric=await self._metric(session, compact))
        self._put(found=compact, busy="Measuring latency …")
        turns = latency_of(dense, compact, cutting, seconds=LATENCY_SECONDS)
        async for latency in in_thread(turns):
            self._put(found=replace(compact, latency=latency))

    async def _metric(self, session: Session, compact: CompactModel) -> Pair[Any] | None:
        """Measure both networks in small pieces; the user's function in its thread, call by call."""
        function = session.source.evaluate
        if function is None:
            pairs: list[Pair[Any] | None] = [None]
            for pair in metrics_of(session, compact.model):
                pairs.append(pair)
                await asyncio.sleep(0)
            return pairs[-1]
        if known(session) is None:
            await self._runner.ask(question(session), self._late)
        answers: list[Metrics] = []
        asked = Question(partial(evaluated, function, copy.deepcopy(compact.model)), answers.append)
        await self._runner.ask(asked, self._late)
        self._put(problem="")
        return Pair(known(session), answers[0])

    def _late(self, problem: RequestError) -> None:
        self._put(problem=str(problem))

    def _tell(self, found: Found) -> None:
        stays = tuple(f"{layer} stays whole: {why}." for layer, why in found.refused.items())
        self._put(cuts=tuple(f"{cut.sentence}." for cut in found.cuts), refused=stays)

    def _put(self, **found: object) -> None:
        self._shown = replace(self._shown, **found)  # type: ignore[arg-type]
        self._publish(self._shown)

    def _now(self, session: Session, coupled: str, make: bool) -> None:
        try:
            self._tell(_cutting(session, coupled).find())
            for found in compacting(session, coupled, seconds=LATENCY_SECONDS) if make else ():
                self._put(found=found or self._shown.found)
        except RequestError as problem:
            self._put(problem=str(problem))
        self._put(busy="")


def _cutting(session: Session, coupled: str) -> Cutting:
    if not is_installed():
        raise RequestError(
            "compact_model", f"Cutting out needs torch-pruning, which is not installed: {INSTALL}"
        )
    return Cutting(session, coupled)
