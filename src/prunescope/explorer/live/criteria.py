"""Compute how far the criteria agree on the displayed layer, in the background, while the table is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from prunescope.core.preview import Preview
from prunescope.explorer.live.metric import REST_SECONDS
from prunescope.explorer.live.task import BackgroundTask
from prunescope.measure.criteria import CriteriaTable, criteria_table
from prunescope.session import Session

LARGEST = 1 << 22
"""Largest layer, in weights, whose criteria are compared live."""


@dataclass(frozen=True)
class CriteriaShown:
    """The agreement between criteria so far.

    Attributes:
        asked: Whether the table is open.
        table: The table so far; None before there is any.
        problem: Why criteria cannot be compared, or "".
    """

    asked: bool = False
    table: CriteriaTable | None = field(default=None, repr=False)
    problem: str = ""


class LiveCriteria(BackgroundTask):
    """Fill the table for the latest preview; earlier work is cancelled.

    Args:
        publish: Called with the preview and its table so far, whenever more is known.
    """

    def __init__(self, publish: Callable[[Preview, CriteriaShown], object]) -> None:
        super().__init__()
        self._publish = publish

    def start(self, session: Session, preview: Preview) -> None:
        """Compare the criteria on what ``preview`` shows."""
        why = why_not(preview)
        if why:
            self.close()
            self._publish(preview, CriteriaShown(True, problem=why))
        else:
            self._start(session, preview)

    async def _in_steps(self, session: Session, preview: Preview) -> None:
        await asyncio.sleep(REST_SECONDS)
        told = None
        for table in criteria_table(session, preview):
            if table is not told:
                told = table
                self._publish(preview, CriteriaShown(True, table))
            await asyncio.sleep(0)

    def _now(self, session: Session, preview: Preview) -> None:
        *_, table = criteria_table(session, preview)
        self._publish(preview, CriteriaShown(True, table))


def why_not(preview: Preview) -> str:
    """Return why criteria cannot be compared on ``preview``, in one sentence, or ""."""
    if not preview.method.takes_scores:
        return f"{preview.method.title} draws at random: no criterion has a say in it."
    if sum(mask.numel() for mask in preview.masks.values()) > LARGEST:
        return f"Criteria are compared on at most {LARGEST:,} weights while you look: choose a smaller layer."
    return ""
