"""The background work of an explorer: what runs after each picture, and how its results are published.

Work starts after the picture is drawn, or when the user asks for it. Every result reaches the page as fields
of the snapshot; a result for an earlier preview is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from prunescope.core.criteria import WEIGHT
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.explorer.live.compact import CompactShown, LiveCompact
from prunescope.explorer.live.compare import LiveSides
from prunescope.explorer.live.costs import LiveCosts
from prunescope.explorer.live.criteria import CriteriaShown, LiveCriteria
from prunescope.explorer.live.export import LiveExport
from prunescope.explorer.live.metric import LiveMeasure, MeasuredPreview
from prunescope.explorer.live.network import LiveNetwork
from prunescope.explorer.live.recovery import FINE_TUNE, LiveRecovery, Work
from prunescope.explorer.live.runner import MetricRunner
from prunescope.explorer.live.scores import LiveScores
from prunescope.explorer.live.staircase import LiveStaircase
from prunescope.explorer.state import actions
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.measure import Comparison, Costs
from prunescope.measure.states import known_of_steps
from prunescope.recover import kept, outcomes
from prunescope.session import Session

if TYPE_CHECKING:
    from prunescope.explorer.state.state import ExplorerState

TRAINING_OFF = "Training is off on this server. To allow it, start it with: prunescope --allow-training"
"""The message shown where training is disabled."""


class Tasks:
    """The background tasks of one explorer.

    Args:
        state: The state whose snapshot they follow, and publish to.

    Attributes:
        runner: Runs the user's metric.
        training_limit: Longest training time, in seconds; 0 disables training, None sets no limit.
    """

    def __init__(self, state: ExplorerState) -> None:
        self._state, publish = state, state.publish
        self.runner = MetricRunner()
        self.training_limit: float | None = None
        self._waits_for = ""
        self._agreeing_of: Preview | None = None
        self._compared: Comparison | None = None
        self._metric = LiveMeasure(self._publish_measured, self.runner)
        self._costs = LiveCosts(self._publish_costs)
        self._export = LiveExport(lambda made: publish(exported=made))
        self._scores = LiveScores(self._publish_scoring, state.refuse)
        self._criteria = LiveCriteria(self._publish_agreeing)
        self._network = LiveNetwork(lambda known: publish(network=known), self.runner)
        self._recovery = LiveRecovery(lambda known: publish(recovery=known), self._keep_recovered)
        self._staircase = LiveStaircase(lambda known: publish(staircase=known))
        self._compact = LiveCompact(lambda known: publish(compact=known), self.runner)
        self._sides = LiveSides(self._publish_sides, self.runner)

    @property
    def _session(self) -> Session:
        return self._state.session

    @property
    def _snapshot(self) -> Snapshot:
        return self._state.snapshot

    def follow(self, before: Snapshot) -> None:
        """Start measuring what is not known of the snapshot yet, and stop what is out of date.

        Args:
            before: The snapshot that was shown until now.
        """
        shown = self._snapshot
        if shown.comparison is not before.comparison:
            self._compared = shown.comparison
            self._sides.prepare(self._session, shown.comparison)
        if shown.history.done != before.history.done and shown.compact.busy:
            self._compact.close()
            self._state.publish(compact=CompactShown(coupled=shown.compact.coupled))
        if shown.preview is not before.preview:
            self.measure()
        else:
            self._sides.go()
        self._write_export()
        self._recovery.follow(self._session, shown.recovery.recipe)
        self._agree()
        if shown.front == "network":
            self._network.follow(self._session, shown.preview.spec, shown.network.goal)
        else:
            self._network.close()

    def close(self) -> None:
        """Cancel all background work."""
        several = (self._metric, self._costs, self._export, self._scores, self._criteria, self._network)
        for task in (*several, self._recovery, self._compact, self._staircase, self._sides):
            task.close()

    # Metric, costs and comparison.

    def measure(self, *, large: bool = False) -> None:
        """Measure the current preview in the background.

        Args:
            large: Whether to measure only the costs, and to compress files of any size.
        """
        snapshot = self._snapshot
        if not large:
            if snapshot.metric is not None:
                self._metric.start(self._session, snapshot.preview)
            else:
                self._metric.close()
                self._sides.go()
        self._costs.start(self._session, snapshot.preview, large=large)

    def _publish_measured(self, measured: MeasuredPreview) -> None:
        with self._state.lock:
            if measured.preview is not self._snapshot.preview:
                return
            metric = measured.metric
            self._state.publish(
                metric=metric,
                effect=measured.effect,
                step_measures=known_of_steps(self._session),
                outcomes=outcomes(self._session),
            )
            if metric is not None and (metric.after is not None or metric.problem):
                self._sides.go()

    def _publish_costs(self, preview: Preview, costs: Costs) -> None:
        with self._state.lock:
            if preview is self._snapshot.preview:
                self._state.publish(costs=costs)

    def _publish_sides(self, compared: Comparison, measured: Comparison) -> None:
        with self._state.lock:
            if compared is self._compared:
                self._state.publish(comparison=measured)

    # Importance scores, and how far they agree.

    def once_scored(self, criterion: str, ask: Callable[[], object], shown: str = "") -> None:
        """Call ``ask`` once the scores of ``criterion`` are computed, or immediately if there cannot be any.

        Args:
            criterion: A key of `prunescope.core.criteria.CRITERIA`.
            ask: What then requests it.
            shown: What the criterion's control shows meanwhile; "" leaves it as it is.
        """
        with self._state.lock:
            self._waits_for = shown
            there = criterion == WEIGHT or self._session.criteria.known(criterion) is not None
            if there or self._snapshot.criteria.get(criterion, ""):
                self._scores.close()
                self._state.publish(scoring="", waits_for="")
                ask()
            else:
                self._scores.start(self._session, criterion, ask)

    def _publish_scoring(self, words: str) -> None:
        self._state.publish(scoring=words, waits_for=self._waits_for if words else "")

    def compare_criteria(self, asked: bool) -> None:
        """Show or stop showing how far the criteria agree."""
        with self._state.lock:
            self._state.publish(agreeing=CriteriaShown(asked))
            self._agreeing_of = None
            self._agree()

    def _agree(self) -> None:
        """Compare the criteria on the current preview, if that table is open and visible."""
        snapshot = self._snapshot
        if not (snapshot.agreeing.asked and snapshot.front == "compare"):
            self._criteria.close()
            self._agreeing_of = None
        elif self._agreeing_of is not snapshot.preview:
            self._agreeing_of = snapshot.preview
            self._criteria.start(self._session, snapshot.preview)

    def _publish_agreeing(self, preview: Preview, shown: CriteriaShown) -> None:
        with self._state.lock:
            if preview is self._snapshot.preview and self._snapshot.agreeing.asked:
                self._state.publish(agreeing=shown)

    # The whole network.

    def measure_network(self) -> None:
        """Measure the whole network with the user's own function, as was offered."""
        with self._state.lock:
            self._network.ask(self._session, self._state.spec, self._snapshot.network.goal)

    def pause_network(self, paused: bool) -> None:
        """Pause or resume measuring the whole network."""
        with self._state.lock:
            self._network.pause(paused, self._session, self._state.spec, self._snapshot.network.goal)

    # Export, and the compact model.

    def _write_export(self) -> None:
        """Generate the text for the export panel, if the panel is visible and the text is missing."""
        snapshot = self._snapshot
        made, steps = snapshot.exported, snapshot.history.done
        if snapshot.front == "export" and not (made and made.is_of(snapshot.exporting, steps)):
            self._export.start(self._session, snapshot.exporting)

    def make_compact(self, coupled: str = "same", *, make: bool) -> None:
        """Find what can be cut out of the model, and cut it out if ``make``.

        Args:
            coupled: How to treat channels that are added to those of other layers; see
                `prunescope.export.compact.possible_cuts`.
            make: Whether to build and measure the compact model too.
        """
        with self._state.lock:
            self._compact.start(self._session, coupled, make=make)

    def time_widths(self) -> None:
        """Time the model with fewer channels in the displayed layer."""
        with self._state.lock:
            layer, _, _ = self._state.preview.tensor.name.rpartition(".")
            self._staircase.start(self._session, layer)

    # Recovery.

    def recover(self, doing: str, *, quiet: bool = True) -> None:
        """Start a recovery; the preview is applied as a step first, if it prunes.

        Args:
            doing: `FINE_TUNE` or `REESTIMATE`.
            quiet: Whether to mask residual outputs of pruned channels first: training would rely on them.
        """
        with self._state.lock:
            reason = self._snapshot.recovers.get(doing, "") or self._not_served(doing)
            if reason:
                self._state.refuse(RequestError("recover", reason))
                return
            notes: list[str] = []
            ready = partial(actions.make_ready, notes=notes, quiet=quiet)
            if self._state.act(ready, "recover") is not None:
                return
            recipe = self._snapshot.recovery.recipe
            try:
                self._recovery.start(self._session, doing, recipe, self.training_limit, "".join(notes))
            except RequestError as problem:
                self._state.refuse(problem)

    def _not_served(self, doing: str) -> str:
        return TRAINING_OFF if doing == FINE_TUNE and self.training_limit == 0 else ""

    def stop_recovery(self) -> None:
        """Stop after the current batch; the result then waits to be kept or discarded."""
        self._recovery.stop()

    def end_recovery(self, *, keep: bool) -> None:
        """Apply the result of a stopped training as a step, or discard it."""
        self._recovery.end(keep)

    def _keep_recovered(self, work: Work) -> None:
        self._state.act(partial(actions.recover, work=partial(kept, work=work)), "recover")
