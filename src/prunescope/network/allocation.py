"""What a goal gives: how many units of each layer go, and what the network is then worth."""

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
    """How much of each layer goes. A value; nothing is pruned by making one.

    Attributes:
        goal: What was asked.
        amounts: How many units of each layer go, by full parameter name, in the model's order.
        units: How many units of each layer there are to prune.
        weights: How many weights each layer holds.
        reached: The share of the goal's unit that is then gone, earlier steps included, in [0, 1].
        sparsity: That of weights or parameters, as the goal counts; for FLOPs and files that of parameters.
        rule: The rule it is by: of ``"sensitivity"`` the best of those that were measured.
        predicted: Sum of the layers' measured drops, as if they added up; None without a table.
        measured: What the network is worth with all of it pruned; None where it was not measured.
        problem: "Cannot: …" where the goal is not met, in one sentence; "" if it is.
        note: What else is to be known, such as layers that are emptied; "" if nothing.
        candidates: The allocation of each rule that was tried and measured, by its name.
        best: Where the goal is not met, the allocation that prunes most within the allowed drop.
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
        """Return one spec for each layer of which anything goes."""
        goal = self.goal
        return tuple(
            replace(goal.spec, layer=name, amount=count) for name, count in self.amounts.items() if count
        )

    @property
    def shares(self) -> dict[str, float]:
        """Return which fraction of each layer's units goes, in [0, 1]."""
        return {
            name: count / self.units[name] if self.units[name] else 0.0
            for name, count in self.amounts.items()
        }

    @property
    def title(self) -> str:
        """Return what it is called as a step, such as ``"50.0 % of weights by lamp, 21 layers"``."""
        return f"{percent(self.reached)} of {self.goal.unit} by {self.rule}, {len(self.specs)} layers"

    @property
    def in_words(self) -> str:
        """Return what it does and what it was measured to be worth."""
        worth = self.measured.in_words if self.measured else "not measured"
        return " ".join(text for text in (f"{self.title}: {worth}.", self.note, self.problem) if text)

    def figure(self) -> Figure:
        """Return the layers as bars: what is kept of each, and what goes."""
        from prunescope.figures.allocation import allocation_figure

        return allocation_figure(self)

    def _repr_html_(self) -> str:
        """Return it as a notebook shows it."""
        from html import escape

        lines = "".join(
            f'<tr><th scope="row">{escape(name)}</th><td>{count:,} of {self.units[name]:,}</td>'
            f"<td>{percent(self.shares[name])}</td></tr>"
            for name, count in self.amounts.items()
        )
        return f"<p>{escape(self.in_words)}</p><table>{lines}</table>"
