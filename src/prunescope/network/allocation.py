"""The result of a goal: how many units of each layer to prune, and the metric of the network after that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from prunescope.core.spec import PruneSpec
from prunescope.core.text import percent
from prunescope.network.goal import GoalSpec
from prunescope.network.joint import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Allocation:
    """How much of each layer to prune. A plain value: making one prunes nothing.

    Attributes:
        goal: The goal it was made for.
        amounts: How many units of each layer to prune, by full parameter name, in the model's order.
        units: How many units of each layer can be pruned.
        weights: How many weights each layer holds.
        reached: Share of the goal's unit that is pruned, earlier steps included, in [0, 1].
        sparsity: Sparsity of weights or parameters, as the goal counts; of parameters for FLOPs and files.
        rule: The rule that made it; for ``"sensitivity"``, the best of the rules that were measured.
        predicted: Drop of the metric predicted from the layers' own drops; None without a table.
        measured: The metric with the whole allocation pruned; None if it was not measured.
        problem: "Cannot: …", one sentence, if the goal is not met; "" if it is.
        note: Anything else worth knowing, such as layers left empty; "" if nothing.
        candidates: The allocation of each rule that was tried and measured, by rule name.
        best: If the goal is not met, the allocation that prunes most within the allowed drop.
    """

    goal: GoalSpec
    amounts: Mapping[str, int]
    units: Mapping[str, int] = field(repr=False)
    weights: Mapping[str, int] = field(repr=False)
    reached: float
    sparsity: float
    rule: str
    predicted: float | None = None
    measured: Measured | None = None
    problem: str = ""
    note: str = ""
    candidates: Mapping[str, Allocation] = field(default_factory=dict, repr=False)
    best: Allocation | None = field(default=None, repr=False)

    @property
    def specs(self) -> tuple[PruneSpec, ...]:
        """Return one spec for each layer that loses any units."""
        goal = self.goal
        return tuple(
            replace(goal.spec, layer=name, amount=count) for name, count in self.amounts.items() if count
        )

    @property
    def shares(self) -> dict[str, float]:
        """Return the fraction of each layer's units to prune, in [0, 1]."""
        return {
            name: count / self.units[name] if self.units[name] else 0.0
            for name, count in self.amounts.items()
        }

    @property
    def title(self) -> str:
        """Return its title as a step, such as ``"50.0 % of weights by lamp, 21 layers"``."""
        return f"{percent(self.reached)} of {self.goal.unit} by {self.rule}, {len(self.specs)} layers"

    @property
    def in_words(self) -> str:
        """Describe what it prunes and the metric that was measured."""
        worth = self.measured.in_words if self.measured else "not measured"
        return " ".join(text for text in (f"{self.title}: {worth}.", self.note, self.problem) if text)

    def figure(self) -> Figure:
        """Draw the layers as bars: how much of each is kept and how much is pruned."""
        from prunescope.figures.allocation import allocation_figure

        return allocation_figure(self)

    def _repr_html_(self) -> str:
        """Return the HTML that a notebook shows."""
        from html import escape

        lines = "".join(
            f'<tr><th scope="row">{escape(name)}</th><td>{count:,} of {self.units[name]:,}</td>'
            f"<td>{percent(self.shares[name])}</td></tr>"
            for name, count in self.amounts.items()
        )
        return f"<p>{escape(self.in_words)}</p><table>{lines}</table>"
