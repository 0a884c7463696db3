"""Calls of the user's `evaluate`, each in its own thread, one at a time.

Python cannot interrupt a function from outside. So the session carries on, reports after a while that
`evaluate` is still running, and calls it again only after it returns. It runs on a copy of the model, and the
global random states are restored afterwards, unless a cell has run meanwhile and moved them too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread

from IPython import get_ipython

from prunescope.core.errors import RequestError
from prunescope.measure import Metrics, Randomness
from prunescope.measure.states import Question

_log = logging.getLogger("prunescope")

PATIENCE_SECONDS = 30.0
"""Seconds a call may take before the user is told that it is still running."""


class MetricRunner:
    """Run calls of one function, one at a time.

    Attributes:
        seconds: Time the last finished call took, in seconds; None before there is one.
    """

    def __init__(self) -> None:
        self._answer: Future[Metrics] | None = None
        self._ended: asyncio.Future[RequestError | None] | None = None
        self._started = 0.0
        self.seconds: float | None = None

    async def ask(self, question: Question, late: Callable[[RequestError], object]) -> None:
        """Call ``question`` and store its result, which happens even if this coroutine is cancelled.

        Args:
            question: The call to make. No other may be running: see `end`.
            late: Called with an error if there is no result after `PATIENCE_SECONDS`.

        Raises:
            RequestError: The function raised or returned an invalid result, or the model changed meanwhile.
        """
        put_back = put_back_later()
        answer = asyncio.wrap_future(self._start(question))
        self._ended = asyncio.ensure_future(_see_through(answer, question.keep, put_back))
        await self.end(late)
        problem = self._ended.result()
        if problem is not None:
            raise problem

    async def end(self, late: Callable[[RequestError], object]) -> None:
        """Wait for the running call, if any; ``late`` as for `ask`."""
        while self._ended is not None and not self._ended.done():  # Another call may have started first.
            done, _ = await asyncio.wait({self._ended}, timeout=self._patience())
            if not done:
                late(_late())
                await asyncio.wait({self._ended})

    def ask_now(self, question: Callable[[], Question]) -> None:
        """Call ``question()``, store its result, and return; for use without an event loop.

        Raises:
            RequestError: As for `ask`; or this call or an earlier one has not returned in time.
        """
        if self._answer is not None:
            wait([self._answer], self._patience())
            if not self._answer.done():
                raise _late()
        asked, put_back = question(), put_back_later()
        answer = self._start(asked)
        wait([answer], PATIENCE_SECONDS)
        if not answer.done():
            raise _late()
        put_back()
        asked.keep(answer.result())

    def _start(self, question: Question) -> Future[Metrics]:
        answer: Future[Metrics] = Future()
        answer.set_running_or_notify_cancel()  # From here on it cannot be cancelled.

        def run() -> None:
            try:
                start = time.monotonic()
                found = question.ask()
                self.seconds = time.monotonic() - start
                answer.set_result(found)
            except RequestError as problem:
                _log.info("evaluate failed", exc_info=problem)
                answer.set_exception(problem)
            except Exception as error:
                _log.exception("evaluate could not be called")
                answer.set_exception(RequestError("evaluate", f"`evaluate` cannot be called: {error}"))

        self._answer, self._started = answer, time.monotonic()
        # A daemon thread, since Python waits for any other before it exits.
        Thread(target=run, name="prunescope-evaluate", daemon=True).start()
        return answer

    def _patience(self) -> float:
        return max(0.0, self._started + PATIENCE_SECONDS - time.monotonic())


async def _see_through(
    answer: asyncio.Future[Metrics], keep: Callable[[Metrics], None], put_back: Callable[[], None]
) -> RequestError | None:
    try:
        keep(await answer)
    except RequestError as problem:
        return problem
    finally:
        put_back()
    return None


def put_back_later() -> Callable[[], None]:
    """Return a function that restores the current global random states, unless a cell runs meanwhile."""
    found, cells = Randomness.now(), _cells_run()

    def put_back() -> None:
        if _cells_run() == cells:
            found.restore()

    return put_back


def _late() -> RequestError:
    return RequestError(
        "evaluate",
        f"`evaluate` has been running for over {PATIENCE_SECONDS:g} s. Python cannot interrupt it; it will "
        "be called again after it returns. The explorer stays usable.",
    )


def _cells_run() -> int:
    """Return a number that changes whenever a cell has run."""
    shell = get_ipython()
    return 0 if shell is None else int(shell.execution_count)
