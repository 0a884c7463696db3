"""Generate the text of an export while the panel is open; code copies the model, which takes time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from prunescope.core.errors import RequestError
from prunescope.explorer.live.metric import REST_SECONDS
from prunescope.explorer.live.task import BackgroundTask
from prunescope.export import FILES
from prunescope.session import Session
from prunescope.session.history import Step

TEXTS = ("plan", "torch", "prunescope")
"""Keys of the files whose text the page shows."""


@dataclass(frozen=True)
class Exported:
    """The text of a file, or why there is none.

    Attributes:
        what: A key of `FILES`.
        steps: The steps that it was made from.
        text: The text; "" for a file that is not text.
        problem: Why it could not be generated, or "".
    """

    what: str
    steps: tuple[Step, ...] = ()
    text: str = ""
    problem: str = ""

    def is_of(self, what: str, steps: tuple[Step, ...]) -> bool:
        """Return whether this is the file ``what`` of ``steps``."""
        return self.what == what and self.steps == steps


class LiveExport(BackgroundTask):
    """Generate the text of one file in the background.

    Args:
        publish: Called with the result.
    """

    def __init__(self, publish: Callable[[Exported], object]) -> None:
        super().__init__()
        self._publish = publish

    def start(self, session: Session, what: str) -> None:
        """Generate the file ``what`` from the steps of ``session``. May be called from any thread."""
        self._start(session, what)

    async def _in_steps(self, session: Session, what: str) -> None:
        await asyncio.sleep(REST_SECONDS)
        self._now(session, what)

    def _now(self, session: Session, what: str) -> None:
        steps = session.history.done
        try:
            text = FILES[what].content(session).decode() if steps and what in TEXTS else ""
            self._publish(Exported(what, steps, text))
        except RequestError as problem:
            self._publish(Exported(what, steps, problem=str(problem)))
