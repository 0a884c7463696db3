"""What the explorer shows at one moment: one immutable value, assigned once per request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview, shortest_fraction
from prunescope.core.tensor import PrunableTensor
from prunescope.explorer.live.criteria import CriteriaShown
from prunescope.explorer.live.export import Exported
from prunescope.explorer.live.network import NetworkShown
from prunescope.explorer.live.recovery import RecoveryShown
from prunescope.explorer.live.smaller import SmallerShown
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
        preview: The last good preview.
        model_sparsity: Fraction of all the model's parameters that is pruned if the preview is applied.
        history: The steps, and how many of them are applied.
        step_measures: For each step that was measured, what the model was worth with it and all before.
        notes: Sentences about corrected values, by the field they belong to.
        problem: Why the last request was refused, or None.
        has_data: Whether the model has held-out data.
        metric: What the model is judged by, before and after, as far as it is measured; None if by nothing.
        effect: What changes in the answers to the held-out data; None likewise.
        costs: What the model costs with the steps and the preview, as far as it is measured.
        view: What the pictures show of the preview.
        plans: Histories kept under names.
        comparing: What is compared with what, if it is looked at.
        comparison: The two side by side; None unless it is looked at, and where they cannot be compared.
        comparing_problem: Why they cannot, or "".
        agreeing: How far the criteria agree on what is shown, as far as somebody wants to know.
        models: Title of each model on offer, by key.
        layers: What can be pruned of the model, by full name.
        not_prunable: Why each other tensor of it cannot be.
        note: What is to be said of the model, or "".
        largest_weight: The largest magnitude in the model; None unless the colours are the model's.
        front: Name of the panel that is in front.
        exporting: Key of the file whose text the export panel shows.
        exported: That text, of the steps it was made of; None until it has been asked for.
        files: Keys of the files that can be made of the model.
        scoring: Progress of the scores of the chosen criterion, or "".
        waits_for: The criterion whose scores are being computed before it is shown, or "".
        criteria: For each criterion why it cannot be chosen for this layer and method, or "".
        sparsities: Fraction of each layer that is pruned if the preview is applied, by full name.
        scope: Which layers the method works on at once.
        network: What is known of the whole network, and what is asked of it.
        units: The hidden units or heads that the rows of the tensor are parts of, or None.
        runs: Whether there is a network that can be run: a checkpoint has weights alone.
        recovery: What is known of a recovery, and how a person wants it trained.
        recovers: For each kind of recovery why it cannot be done, or "".
        outcomes: Accuracy, or the user's metric, of the pruned model before and after each recovery.
        smaller: What is known of the network without the channels that are pruned.
        staircase: The latency of fewer channels of a layer, as far as it is timed.
        hide: Names of what is not shown.
        lock: Names of the controls that are shown and cannot be moved by hand.
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
    smaller: SmallerShown = field(default_factory=SmallerShown)
    staircase: StaircaseShown = field(default_factory=StaircaseShown)
    hide: frozenset[str] = frozenset()
    lock: frozenset[str] = frozenset()

    def message(self, parameter: str) -> str:
        """Return the sentence that belongs beside the control of ``parameter``, or ""."""
        if self.problem is not None and self.problem.parameter == parameter:
            return str(self.problem)
        if parameter == "criterion" and self.scoring:
            return self.scoring
        return self.notes.get(parameter, "")

    @property
    def amount_as_count(self) -> int:
        """Return the amount as a count, of units or of each group's."""
        return self.preview.asked_units

    @property
    def amount_as_fraction(self) -> float:
        """Return the amount as the shortest fraction that asks for as many units."""
        return shortest_fraction(self.preview.asked_units, self.preview.most)
