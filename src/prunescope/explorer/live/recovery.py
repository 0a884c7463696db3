"""Recovery in the background: a bit of training at a time, while the slider stays alive and goes first.

A bit is a batch, taken on the event loop that runs the person's cells. Where batches are slow they are taken
in a thread instead, on a copy that nobody else touches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from time import perf_counter

from prunescope.core.errors import RequestError
from prunescope.explorer.live.calling import put_back_later
from prunescope.explorer.live.task import Latest
from prunescope.measure import Accuracy
from prunescope.measure.states import evaluate, known_accuracy
from prunescope.recover import FineTuning, Point, Progress, Recipe, Reestimation
from prunescope.session import Session

REST_SECONDS = 0.3
"""How long the controls must rest before training goes on."""

PUBLISH_SECONDS = 0.25
"""How often the curve is shown while it grows."""

SLOW_SECONDS = 0.15
"""A bit that took longer is not waited for on the event loop any more."""

USUAL = Recipe(seconds=50, targets="dense")
"""How the page trains unless it is asked otherwise: as long as anyone likes to wait."""

FINE_TUNE, REESTIMATE = "fine_tune", "reestimate_batchnorm"
"""What can be done."""

GIVEN_UP = "Given up: the steps it began with have changed."
"""What is said of work whose result would be of no use."""

Work = FineTuning | Reestimation


@dataclass(frozen=True)
class RecoveryShown:
    """What is known of a recovery.

    Attributes:
        recipe: How a person wants it trained.
        doing: What is done now, `FINE_TUNE` or `REESTIMATE`; "" while nothing is.
        progress: How far it is; None before anything was done.
        curve: The held-out accuracies measured so far.
        losses: The loss of training at parts of the whole in [0, 1].
        start: Accuracy before it began, with the steps applied; None where there is none.
        stopping: Whether it was asked to stop, and ends with the batch it is in.
        waits: Whether it has stopped and waits to be kept or given up.
        note: What else is to be said, or "".
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


class LiveRecovery(Latest):
    """Trains, or re-estimates, for the latest that was asked.

    Args:
        publish: Called with what is known, as often as more is.
        keep: Called with work that has come to its end, to make it a step.
    """

    def __init__(self, publish: Callable[[RecoveryShown], object], keep: Callable[[Work], object]) -> None:
        super().__init__()
        self._publish, self._keep = publish, keep
        self._work: Work | None = None
        self._session: Session | None = None
        self._moved = 0.0
        self._shown = RecoveryShown()

    def start(self, session: Session, doing: str, recipe: Recipe, limit: float | None, note: str) -> None:
        """Begin; any earlier work is cancelled.

        Args:
            session: The session.
            doing: `FINE_TUNE` or `REESTIMATE`.
            recipe: How to train.
            limit: Seconds that it may take at most; None: as long as it needs.
            note: What is to be said beside it, or "".

        Raises:
            RequestError: There is nothing to do it on, or it cannot be done.
        """
        if limit is not None and recipe.seconds is not None:
            recipe = replace(recipe, seconds=min(recipe.seconds, limit))
        self._work = FineTuning(session, recipe) if doing == FINE_TUNE else Reestimation(session)
        self._session = session
        start = known_accuracy(session, session.applied)
        self._shown = RecoveryShown(self._shown.recipe, doing, start=start, note=note)
        self._start(session, self._work, limit)

    def stop(self) -> None:
        """Stop after the batch that is being trained on; what is trained by then waits to be kept."""
        if self._shown.doing:
            self._put(stopping=True)

    def end(self, keep: bool) -> None:
        """Keep what waits, or give it up."""
        work, self._work = self._work, None
        if work is not None and self._shown.waits:
            self._put(waits=False, note="" if keep else "Given up: the weights are as they were before.")
            if keep:
                self._keep(work)

    def follow(self, session: Session, recipe: Recipe) -> None:
        """Go first for a moment: a control has moved. Work on other steps than those there are is given up.

        Args:
            session: The session that is shown.
            recipe: How a person wants it trained from now on.
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
        steps, slow, told, began = work.run(), False, 0.0, perf_counter()
        while True:
            start = perf_counter()
            progress = await asyncio.to_thread(next, steps, None) if slow else next(steps, None)
            slow = perf_counter() - start > SLOW_SECONDS
            if progress is None:
                self._end(work)
                return
            late = limit is not None and start - began > limit
            if self._shown.stopping or late:
                self._wait(work, f"Stopped after {limit:g} s, the most this server allows." if late else "")
                return
            if perf_counter() - told > PUBLISH_SECONDS:
                told = perf_counter()
                self._tell(work, progress)
            await self._rest()

    def _tell(self, work: Work, progress: Progress) -> None:
        if isinstance(work, FineTuning):
            loss = () if progress.loss is None else ((progress.done, progress.loss),)
            self._put(progress=progress, curve=tuple(work.curve), losses=(*self._shown.losses, *loss))
        else:
            self._put(progress=progress)

    def _end(self, work: Work) -> None:
        """Make what was done a step."""
        self._work = None
        curve = tuple(work.curve) if isinstance(work, FineTuning) else ()
        done = None if self._shown.progress is None else replace(self._shown.progress, done=1.0)
        self._keep(work)
        self._put(doing="", stopping=False, curve=curve, progress=done)

    def _wait(self, work: Work, note: str) -> None:
        """Let a person say whether what was done so far is kept."""
        kept = isinstance(work, FineTuning) and work.step > 0
        if not kept:
            self._work = None
        said = note or self._shown.note
        self._put(doing="", stopping=False, waits=kept, note=said if kept else "Stopped: nothing was done.")

    async def _rest(self) -> None:
        """Let others in, and wait for as long as a control moves; not once it is to stop."""
        await asyncio.sleep(0)
        while (left := self._moved + REST_SECONDS - perf_counter()) > 0 and not self._shown.stopping:
            await asyncio.sleep(min(left, 0.05))

    def _put(self, **found: object) -> None:
        self._shown = replace(self._shown, **found)  # type: ignore[arg-type]
        self._publish(self._shown)

    def _now(self, session: Session, work: Work, limit: float | None) -> None:
        """Do it at once: without an event loop nobody sees it go on."""
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
