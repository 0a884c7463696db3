"""Computes how far the criteria agree on what is shown, bit by bit, while somebody looks at the table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from prunescope.core.preview import Preview
from prunescope.explorer.live.metric import REST_SECONDS
from prunescope.explorer.live.task import Latest
from prunescope.measure.criteria import CriteriaTable, criteria_table
from prunescope.session import Session

LARGEST = 1 << 22
"""Weights of a layer up to which its criteria are compared while somebody looks."""


@dataclass(frozen=True)
class CriteriaShown:
    """What is known of how far criteria agree.

    Attributes:
        asked: Whether somebody wants to see it.
        table: As far as it is known; None before anything is.
        problem: Why it cannot be known, or "".
    """

    asked: bool = False
    table: CriteriaTable | None = field(default=None, repr=False)
    problem: str = ""


class LiveCriteria(Latest):
    """Fills the table of what is shown; whatever was being computed before is given up.

    Args:
        publish: Called with the preview it is of, and what is known, as often as more is.
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
    """Return why criteria cannot be compared on what is shown, in a sentence, or ""."""
    if not preview.method.takes_scores:
        return f"{preview.method.title} draws at random: no criterion has a say in it."
    if sum(mask.numel() for mask in preview.masks.values()) > LARGEST:
        return f"Criteria are compared on at most {LARGEST:,} weights while you look: choose a smaller layer."
    return ""
