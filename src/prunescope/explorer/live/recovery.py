"""Recovery in the background: train one batch at a time, while the slider stays responsive and has priority.

Quick batches run on the event loop that runs the user's cells. Slow ones, and all until one has proved quick,
run in a thread instead, on a copy of the model that nothing else uses; to stop does not wait for their end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from time import perf_counter

from prunescope.core.errors import RequestError
from prunescope.explorer.live.runner import put_back_later
from prunescope.explorer.live.task import BackgroundTask
from prunescope.measure import Accuracy
from prunescope.measure.states import evaluate, known_accuracy
from prunescope.recover import FineTuning, Point, Progress, Recipe, Reestimation
from prunescope.session import Session

REST_SECONDS = 0.3
"""Seconds without changes before training continues."""

PUBLISH_SECONDS = 0.25
"""Seconds between updates of the curve."""

SLOW_SECONDS = 0.15
"""A step that takes longer makes the next one run in a thread."""

USUAL = Recipe(seconds=50, targets="dense")
"""The default recipe of the page."""

FINE_TUNE, REESTIMATE = "fine_tune", "reestimate_batchnorm"
"""The kinds of recovery."""

GIVEN_UP = "Given up: the steps it began with have changed."
"""The note shown when work is cancelled because its result could not be applied."""

Work = FineTuning | Reestimation


@dataclass(frozen=True)
class RecoveryShown:
    """The state of a recovery.

    Attributes:
        recipe: The recipe that the user has chosen.
        doing: What is running, `FINE_TUNE` or `REESTIMATE`; "" if nothing is.
        progress: The progress so far; None before the first.
        curve: Held-out accuracies measured so far.
        losses: The training loss at shares of the training in [0, 1].
        start: Accuracy before recovery, with the steps applied; None if not known.
        stopping: Whether it was asked to stop after the current batch.
        waits: Whether it has stopped, and waits to be kept or discarded.
        note: Anything else to show, or "".
        problem: Why it failed, or "".
    """

    recipe: Recipe = field(default_factory=lambda: USUAL)
    doing: str = ""
    progress: Progress | None = None
    curve: tuple[Point, ...] = ()
    losses: tuple[tuple[float, float], ...] = ()
    start: Accuracy | None = None
    stopping: bool = False
    waits: bool = False
    note: str = ""
    problem: str = ""


class LiveRecovery(BackgroundTask):
    """Run the latest recovery in the background.

    Args:
        publish: Called with the state so far, whenever it changes.
        keep: Called with finished work, to apply it as a step.
    """

    def __init__(self, publish: Callable[[RecoveryShown], object], keep: Callable[[Work], object]) -> None:
        super().__init__()
        self._publish, self._keep = publish, keep
        self._work: Work | None = None
        self._session: Session | None = None
        self._moved = 0.0
        self._shown = RecoveryShown()

    def start(self, session: Session, doing: str, recipe: Recipe, limit: float | None, note: str) -> None:
        """Start a recovery; any earlier work is cancelled.

        Args:
            session: The session.
            doing: `FINE_TUNE` or `REESTIMATE`.
            recipe: How to train.
            limit: Longest time it may take, in seconds; None for no limit.
            note: A note to show with it, or "".

        Raises:
            RequestError: There is no training data, or this recovery is not possible.
        """
        if limit is not None and recipe.seconds is not None:
            recipe = replace(recipe, seconds=min(recipe.seconds, limit))
        self._halt()
        self._work = FineTuning(session, recipe) if doing == FINE_TUNE else Reestimation(session)
        self._session = session
        start = known_accuracy(session, session.applied)
        self._shown = RecoveryShown(self._shown.recipe, doing, start=start, note=note)
        self._start(session, self._work, limit)

    def stop(self) -> None:
        """Stop, within the current batch if it is a slow one; the result waits to be kept or discarded."""
        if self._shown.doing:
            self._put(stopping=True)
            self._halt()

    def close(self) -> None:
        """Cancel the current work, and end what a thread does for it. May be called from any thread."""
        self._halt()
        super().close()

    def _halt(self) -> None:
        if self._work is not None and self._shown.doing:
            self._work.stop()

    def end(self, keep: bool) -> None:
        """Keep the waiting result, or discard it."""
        work, self._work = self._work, None
        if work is not None and self._shown.waits:
            self._put(waits=False, note="" if keep else "Discarded: the weights are as they were before.")
            if keep:
                self._keep(work)

    def follow(self, session: Session, recipe: Recipe) -> None:
        """Pause for a moment, since a control has moved; cancel work whose steps have changed.

        Args:
            session: The displayed session.
            recipe: The recipe to use from now on.
        """
        self._moved = perf_counter()
        work, gone = self._work, self._session is not session
        if work is not None and (gone or not work.is_current):
            self.close()
            self._work = None
            self._shown = replace(self._shown, doing="", stopping=False, waits=False, note=GIVEN_UP)
            if not gone:
                self._publish(self._shown)
        if gone:
            self._session, self._shown = session, RecoveryShown()
        self._shown = replace(self._shown, recipe=recipe)

    async def _in_steps(self, session: Session, work: Work, limit: float | None) -> None:
        self._put()
        put_back = put_back_later()
        try:
            for _ in evaluate(session, session.applied):
                await self._rest()
            self._put(start=known_accuracy(session, session.applied))
            await self._run(work, limit)
        except RequestError as problem:
            self._work = None
            self._put(doing="", stopping=False, problem=str(problem))
        finally:
            put_back()

    async def _run(self, work: Work, limit: float | None) -> None:
        loop = asyncio.get_running_loop()
        timer = None if limit is None else loop.call_later(limit, self._time_is_up, limit)
        told = 0.0
        try:
            async for progress in _pieces(work.run()):
                if self._shown.stopping:
                    break
                if perf_counter() - told > PUBLISH_SECONDS:
                    told = perf_counter()
                    self._tell(work, progress)
                await self._rest()
        finally:
            if timer is not None:
                timer.cancel()
        (self._wait if self._shown.stopping else self._end)(work)

    def _time_is_up(self, limit: float) -> None:
        self._put(note=f"Stopped after {limit:g} s, the most this server allows.")
        self.stop()

    def _tell(self, work: Work, progress: Progress) -> None:
        if isinstance(work, FineTuning):
            loss = () if progress.loss is None else ((progress.done, progress.loss),)
            self._put(progress=progress, curve=tuple(work.curve), losses=(*self._shown.losses, *loss))
        else:
            self._put(progress=progress)

    def _end(self, work: Work) -> None:
        """Apply the finished work as a step."""
        self._work = None
        curve = tuple(work.curve) if isinstance(work, FineTuning) else ()
        done = None if self._shown.progress is None else replace(self._shown.progress, done=1.0)
        self._keep(work)
        self._put(doing="", stopping=False, curve=curve, progress=done)

    def _wait(self, work: Work) -> None:
        """Wait for the user to keep or discard what has been trained so far."""
        kept = isinstance(work, FineTuning) and work.step > 0
        if not kept:
            self._work = None
        note = self._shown.note if kept else "Stopped: nothing was done."
        self._put(doing="", stopping=False, waits=kept, note=note)

    async def _rest(self) -> None:
        """Give way to other tasks, and wait while a control moves, unless asked to stop."""
        await asyncio.sleep(0)
        while (left := self._moved + REST_SECONDS - perf_counter()) > 0 and not self._shown.stopping:
            await asyncio.sleep(min(left, 0.05))

    def _put(self, **found: object) -> None:
        self._shown = replace(self._shown, **found)  # type: ignore[arg-type]
        self._publish(self._shown)

    def _now(self, session: Session, work: Work, limit: float | None) -> None:
        """Run to the end immediately: without an event loop there is no progress to show."""
        try:
            self._drain(work.run(), work)
        except RequestError as problem:
            self._work = None
            self._put(doing="", problem=str(problem))
        else:
            self._end(work)

    def _drain(self, steps: Iterator[Progress], work: Work) -> None:
        for progress in steps:
            self._tell(work, progress)


async def _pieces(steps: Iterator[Progress]) -> AsyncIterator[Progress]:
    """Yield from ``steps``: on this loop once a step has proved quick, in a thread before and when slow."""
    slow, step = True, 0
    while True:
        start = perf_counter()
        progress = await asyncio.to_thread(next, steps, None) if slow else next(steps, None)
        if progress is None:
            return
        quick = perf_counter() - start <= SLOW_SECONDS
        if not quick or progress.step > step:
            slow, step = not quick, progress.step
        yield progress
