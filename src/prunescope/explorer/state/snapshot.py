"""What the explorer shows at one moment: one immutable value, assigned once per request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview, shortest_fraction
from prunescope.core.tensor import PrunableTensor
from prunescope.explorer.live.compact import CompactShown
from prunescope.explorer.live.criteria import CriteriaShown
from prunescope.explorer.live.export import Exported
from prunescope.explorer.live.network import NetworkShown
from prunescope.explorer.live.recovery import RecoveryShown
from prunescope.explorer.live.staircase import StaircaseShown
from prunescope.figures import View
from prunescope.measure import Comparison, Costs, Effect, Measure, Metric
from prunescope.measure.compare import Comparing
from prunescope.network import Scope
from prunescope.session.history import History, Step
from prunescope.session.plans import Plans
from prunescope.sources.units import Units


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What the explorer shows at one moment.

    Attributes:
        model: Key of the model in the explorer's catalogue.
        preview: The last valid preview.
        model_sparsity: Sparsity of the whole model if the preview is applied, in [0, 1].
        history: The steps, and how many of them are applied.
        step_measures: The metric after each step that was measured, with all earlier ones applied.
        notes: Sentences about corrected values, by the field they belong to.
        problem: Why the last request was refused, or None.
        has_data: Whether the model has held-out data.
        metric: The metric before and after, as far as it is measured; None if there is none.
        effect: The changes in the predictions on held-out data; None if not known.
        costs: The costs of the model with the steps and the preview, as far as they are measured.
        view: What the pictures show of the preview.
        plans: Histories saved under names.
        comparing: The two sides to compare, and whether the comparison is displayed.
        comparison: The comparison; None unless it is displayed and possible.
        comparing_problem: Why the sides cannot be compared, or "".
        agreeing: The agreement between criteria, if that table is open.
        models: Title of each model on offer, by key.
        layers: The prunable tensors of the model, by full name.
        not_prunable: Why each other tensor cannot be pruned, by full name.
        note: A note about the model, or "".
        largest_weight: Largest magnitude in the model; None unless the colour range is that of the model.
        front: Name of the panel in front.
        exporting: Key of the file whose text the export panel shows.
        exported: That text, with the steps it was made from; None until requested.
        files: Keys of the files that the model can be exported to.
        scoring: Progress of the scores of the chosen criterion, or "".
        waits_for: The criterion whose scores are being computed before it is shown, or "".
        criteria: Why each criterion cannot be chosen for this layer and method, or "".
        sparsities: Sparsity of each layer if the preview is applied, by full name.
        scope: The layers that the method prunes at once.
        network: The state of the whole network: its table, goal and allocation.
        units: The hidden units or heads that the rows of the tensor belong to, or None.
        runs: Whether the model can be run; a checkpoint has only weights.
        recovery: The state of a recovery, and the chosen recipe.
        recovers: Why each kind of recovery is not possible, or "".
        outcomes: Accuracy, or the user's metric, of the pruned model before and after each recovery.
        compact: The state of the network with pruned channels cut out.
        staircase: The latency of a layer with fewer channels, as far as it is timed.
        hide: Names of hidden controls and panels.
        lock: Names of controls that are visible but disabled.
    """

    model: str
    preview: Preview
    model_sparsity: float
    history: History = field(default_factory=History)
    step_measures: Mapping[Step, Measure] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    problem: RequestError | None = None
    has_data: bool = False
    metric: Metric | None = None
    effect: Effect | None = None
    costs: Costs = field(default_factory=Costs)
    view: View = field(default_factory=View)
    plans: Plans = field(default_factory=Plans)
    comparing: Comparing = field(default_factory=Comparing)
    comparison: Comparison | None = None
    comparing_problem: str = ""
    agreeing: CriteriaShown = field(default_factory=CriteriaShown)
    models: Mapping[str, str] = field(default_factory=dict)
    layers: Mapping[str, PrunableTensor] = field(default_factory=dict)
    not_prunable: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    largest_weight: float | None = None
    front: str = "steps"
    exporting: str = "state_dict"
    exported: Exported | None = None
    files: tuple[str, ...] = ()
    scoring: str = ""
    waits_for: str = ""
    criteria: Mapping[str, str] = field(default_factory=dict)
    sparsities: Mapping[str, float] = field(default_factory=dict)
    scope: Scope = field(default_factory=Scope)
    network: NetworkShown = field(default_factory=NetworkShown)
    units: Units | None = None
    runs: bool = True
    recovery: RecoveryShown = field(default_factory=RecoveryShown)
    recovers: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[str, Measure] = field(default_factory=dict)
    compact: CompactShown = field(default_factory=CompactShown)
    staircase: StaircaseShown = field(default_factory=StaircaseShown)
    hide: frozenset[str] = frozenset()
    lock: frozenset[str] = frozenset()

    def message(self, parameter: str) -> str:
        """Return the message to show next to the control of ``parameter``, or ""."""
        if self.problem is not None and self.problem.parameter == parameter:
            return str(self.problem)
        if parameter == "criterion" and self.scoring:
            return self.scoring
        return self.notes.get(parameter, "")

    @property
    def amount_as_count(self) -> int:
        """Return the amount as a count of units, or of units per group."""
        return self.preview.asked_units

    @property
    def amount_as_fraction(self) -> float:
        """Return the amount as the shortest fraction that gives the same count."""
        return shortest_fraction(self.preview.asked_units, self.preview.most)
