"""Compute the scores of the criterion that the user has chosen, a batch at a time, then request it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prunescope.core.criteria import CRITERIA
from prunescope.core.errors import RequestError
from prunescope.core.text import percent
from prunescope.explorer.live.task import BackgroundTask
from prunescope.measure.importance import score
from prunescope.session import Session


class LiveScores(BackgroundTask):
    """Compute the scores of the latest chosen criterion in the background.

    Args:
        say: Called with a sentence about the progress; "" at the end.
        fail: Called with the error if they cannot be computed.
    """

    def __init__(
        self,
        say: Callable[[str], object],
        fail: Callable[[RequestError], object],
    ) -> None:
        super().__init__()
        self._say, self._fail = say, fail

    def start(self, session: Session, criterion: str, done: Callable[[], object]) -> None:
        """Compute the scores of ``criterion``, then call ``done``; any earlier work is cancelled."""
        self._start(session, criterion, done)

    async def _in_steps(self, session: Session, criterion: str, done: Callable[[], object]) -> None:
        title = CRITERIA[criterion].title
        try:
            self._say(f"Computing {title} …")
            await asyncio.sleep(0)
            for share in score(session, criterion):
                self._say(f"Computing {title}: {percent(share)} of the batches. Choose another to stop.")
                await asyncio.sleep(0)
        except RequestError as problem:
            self._say("")
            self._fail(problem)
        except asyncio.CancelledError:
            self._say("")
            raise
        else:
            self._say("")
            done()

    def _now(self, session: Session, criterion: str, done: Callable[[], object]) -> None:
        done()  # Without an event loop, the request itself computes the scores.
