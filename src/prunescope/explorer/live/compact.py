"""Cut out pruned channels in the background: first the list of cuts, then the network, then its latency."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from prunescope.core.errors import RequestError
from prunescope.explorer.live.metric import REST_SECONDS
from prunescope.explorer.live.task import BackgroundTask
from prunescope.export.compact import INSTALL, CompactModel, compacting, is_installed, possible_cuts
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
    """

    def __init__(self, publish: Callable[[CompactShown], object]) -> None:
        super().__init__()
        self._publish = publish
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
            self._look(session, coupled)
            if make:
                for found in compacting(session, coupled, seconds=LATENCY_SECONDS):
                    self._tell(found)
                    await asyncio.sleep(0)
        except RequestError as problem:
            self._put(problem=str(problem))
        self._put(busy="")

    def _look(self, session: Session, coupled: str) -> None:
        if not is_installed():
            raise RequestError(
                "compact_model", f"Cutting out needs torch-pruning, which is not installed: {INSTALL}"
            )
        cuts, refused = possible_cuts(session, coupled)
        stays = tuple(f"{layer} stays whole: {why}." for layer, why in refused.items())
        self._put(cuts=tuple(f"{cut.sentence}." for cut in cuts), refused=stays)

    def _tell(self, found: CompactModel | None) -> None:
        if found is not None:
            self._put(found=found, busy="Measuring latency …" if found.latency else self._shown.busy)

    def _put(self, **found: object) -> None:
        self._shown = replace(self._shown, **found)  # type: ignore[arg-type]
        self._publish(self._shown)

    def _now(self, session: Session, coupled: str, make: bool) -> None:
        try:
            self._look(session, coupled)
            for found in compacting(session, coupled, seconds=LATENCY_SECONDS) if make else ():
                self._tell(found)
        except RequestError as problem:
            self._put(problem=str(problem))
        self._put(busy="")
