"""Turn a goal into an allocation by the goal's rule, and measure it if that is possible."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.core.text import percent
from prunescope.network.allocation import Allocation
from prunescope.network.asked import how
from prunescope.network.budget import Budget, Forecast
from prunescope.network.files import by_file
from prunescope.network.goal import RULES, GoalSpec, Limits, limits_of
from prunescope.network.joint import Measured, measuring
from prunescope.network.layers import Layer, layers_of, masks_of
from prunescope.network.solve import by_rule, check_reachable
from prunescope.network.table import SensitivityTable
from prunescope.network.tally import Counts, Tally, tally_of
from prunescope.session import Session

TRIED = ("sensitivity", *(rule for rule in RULES if rule != "sensitivity"))
"""The rules that `sensitivity` measures at the same target, to return the best."""

SEARCHES = 6
"""Number of targets tried in the search for the largest one within an allowed drop."""


@dataclass(frozen=True, eq=False)
class Network:
    """The layers of a session and what a goal counts: made once, then used for every target, rule and pin.

    Attributes:
        session: The session; its steps count as applied.
        layers: Its layers, with their units in pruning order.
        tally: Counts the goal's unit.
        table: The sensitivity table; None if sensitivity has not been measured.
    """

    session: Session
    layers: tuple[Layer, ...]
    tally: Tally
    table: SensitivityTable | None = None
    _budgets: dict[GoalSpec, Budget] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, session: Session, goal: GoalSpec, table: SensitivityTable | None = None) -> Network:
        """Return the network of ``session`` for goals with this method and unit.

        Raises:
            RequestError: The unit cannot be counted, the method is invalid, or ``table`` has another method.
        """
        goal = goal.checked()
        if table is not None:
            _check_table(table, goal)
        layers = layers_of(session, goal.spec)
        return cls(session, layers, tally_of(session, layers, goal.unit), table)

    @cached_property
    def forecast(self) -> Forecast | None:
        """Return the forecast of the drop of any counts; None without a table."""
        return None if self.table is None else Forecast(self.table, self.layers)

    @property
    def measurable(self) -> bool:
        """Return whether the model can be run and there is data or a metric to measure it with."""
        source = self.session.source
        return source.can_run and (source.data is not None or source.evaluate is not None)

    def budget(self, goal: GoalSpec, *, choosing: bool = True) -> Budget:
        """Return the program over the table with the pins and limits of ``goal``, good for every target.

        The last one is cached, since a slider asks for one target after another.

        Raises:
            RequestError: There is no table.
        """
        if self.table is None:
            raise RequestError("rule", "`rule` sensitivity needs a table: measure sensitivity first.")
        key = replace(goal, target=None, at_most=None, seed=int(choosing))
        if key not in self._budgets:
            self._budgets.clear()
            limits = limits_of(goal, self.layers)
            self._budgets[key] = Budget(self.table, self.layers, limits, self.tally, goal, choosing=choosing)
        return self._budgets[key]

    def counts(self, goal: GoalSpec, target: float, rule: str = "", budget: Budget | None = None) -> Counts:
        """Return how many units of each layer to prune, without measuring, so a slider can ask on every move.

        Args:
            goal: The goal.
            target: Overrides the goal's target.
            rule: Overrides the goal's rule, unless "".
            budget: What `budget` returned for this goal, if it was already computed.

        Raises:
            RequestError: The target cannot be met.
        """
        limits, rule = limits_of(goal, self.layers), rule or goal.rule
        if goal.unit == "file":
            return by_file(self.session, self.layers, target, self._of_weights(goal, limits, rule, budget))
        return self._at(goal, limits, rule, budget, target)

    def _of_weights(
        self, goal: GoalSpec, limits: Limits, rule: str, budget: Budget | None
    ) -> Callable[[float], Counts]:
        return lambda share: self._at(goal, limits, rule, budget, share)

    def _at(self, goal: GoalSpec, limits: Limits, rule: str, budget: Budget | None, target: float) -> Counts:
        if rule == "sensitivity":
            check_reachable(self.layers, limits, self.tally, goal, target)
            return (budget or self.budget(goal)).at(target)
        return by_rule(rule, self.layers, limits, self.tally, goal, target)

    def allocation(self, goal: GoalSpec, counts: Sequence[int] | Counts, rule: str = "") -> Allocation:
        """Return the allocation with these counts, not measured; counts set by hand are fine too."""
        limited = [int(count) for count in counts]
        predicted = None if self.forecast is None else self.forecast.predicted(limited)
        return Allocation(
            goal=goal,
            amounts={layer.name: count for layer, count in zip(self.layers, limited, strict=True)},
            units={layer.name: layer.units for layer in self.layers},
            weights={layer.name: layer.weights for layer in self.layers},
            reached=self._reached(goal, limited),
            sparsity=self._sparsity(goal, limited),
            rule=rule or goal.rule,
            predicted=predicted,
            note=_note(self.layers, limited),
        )

    def _reached(self, goal: GoalSpec, counts: Sequence[int]) -> float:
        if goal.unit == "file":
            from prunescope.network.files import file_share

            return file_share(self.session, masks_of(self.layers, counts))
        return self.tally.share(counts)

    def _sparsity(self, goal: GoalSpec, counts: Sequence[int]) -> float:
        if goal.unit in ("weights", "parameters"):
            return self.tally.share(counts)
        more = sum(layer.removed(count) for layer, count in zip(self.layers, counts, strict=True))
        return (self.session.pruned_weights(self.session.applied) + more) / self.session.parameters

    def masks(self, allocation: Allocation) -> dict[str, Tensor]:
        """Return the mask of every layer that loses any units, by full name."""
        return masks_of(self.layers, list(allocation.amounts.values()))

    def measuring(self, allocation: Allocation) -> Iterator[Measured | None]:
        """Measure the allocation: yield None after each batch, and the result at the end."""
        higher = self.table.higher_is_better if self.table and not self.session.source.data else None
        return measuring(self.session, self.masks(allocation), higher)

    def allocating(self, goal: GoalSpec) -> Iterator[Allocation]:
        """Yield the allocation for ``goal`` as it becomes known: not yet measured at first, final at the end.

        Between two yields lies at most one batch of examples, one call of ``evaluate``, or one counting.

        Raises:
            RequestError: No allocation can meet the goal, or one of its values is invalid.
        """
        goal = goal.checked()
        if goal.target is None:
            yield from self._most_within(goal)
            return
        found = yield from self._at_target(goal, goal.target)
        if goal.at_most is None or found.measured is None or _lost(found.measured) <= goal.at_most:
            yield found
            return
        best: Allocation | None = None
        for best in self._most_within(goal, below=goal.target):  # noqa: B007
            yield found
        yield replace(found, best=best, problem=_cannot(goal, found, best))

    def _at_target(
        self, goal: GoalSpec, target: float, enough: float | None = None
    ) -> Generator[Allocation, None, Allocation]:
        """Return the best allocation of the rules to try, measured if possible.

        With ``enough``, stop at the first allocation whose drop is no larger.
        """
        tried = TRIED if goal.rule == "sensitivity" and self.measurable else (goal.rule,)
        found: list[Allocation] = []
        for rule in tried:
            try:
                allocation = self.allocation(goal, self.counts(goal, target, rule), rule)
            except RequestError:
                if rule == goal.rule or not found:
                    raise
                continue  # Another rule that cannot be tried, such as global with random scores.
            yield found[0] if found else allocation
            if self.measurable:
                measured = None
                for measured in self.measuring(allocation):  # noqa: B007
                    yield found[0] if found else allocation
                allocation = replace(allocation, measured=measured)
            found.append(allocation)
            if enough is not None and allocation.measured and _lost(allocation.measured) <= enough:
                break
        best = min(found, key=lambda each: _lost(each.measured) if each.measured else 0.0)
        return replace(best, candidates={each.rule: each for each in found if each.measured})

    def side_by_side(
        self, goal: GoalSpec, known: Mapping[str, Allocation]
    ) -> Iterator[dict[str, Allocation]]:
        """Yield the allocations of all rules at the target of ``goal``, each measured if possible.

        Rules that cannot be tried, such as one threshold over random scores, are left out.

        Args:
            goal: The goal; it must have a target.
            known: Allocations that are already known, by rule.
        """
        found = dict(known)
        rules = [rule for rule in RULES if rule != "sensitivity" or self.table is not None]
        for rule in rules:
            if rule in found or goal.target is None:
                continue
            try:
                allocation = self.allocation(goal, self.counts(goal, goal.target, rule), rule)
            except RequestError:
                continue
            measured = None
            for measured in self.measuring(allocation) if self.measurable else ():  # noqa: B007
                yield {each: found[each] for each in rules if each in found}
            found[rule] = replace(allocation, measured=measured)
        yield {each: found[each] for each in rules if each in found}

    def _most_within(self, goal: GoalSpec, below: float = 1.0) -> Iterator[Allocation]:
        """Search for the allocation that prunes most within ``goal.at_most``; yield the best so far."""
        if not self.measurable:
            raise RequestError("at_most", "`at_most` needs `data` or `evaluate` to measure what is lost.")
        low, high, best = 0.0, below, self.allocation(goal, [0] * len(self.layers))
        for _ in range(SEARCHES):
            target = (low + high) / 2
            try:
                found = yield from self._at_target(goal, target, goal.at_most)
            except RequestError as error:
                if error.parameter not in ("target", "pins"):
                    raise
                low, high = (low, target) if error.parameter == "target" else (target, high)
                continue
            within = found.measured is not None and _lost(found.measured) <= (goal.at_most or 0.0)
            low, high, best = (target, high, found) if within else (low, target, best)
            yield best
        yield replace(best, goal=goal)


def _check_table(table: SensitivityTable, goal: GoalSpec) -> None:
    of_table, asked = how(table), how(goal)
    if {**of_table, "seed": 0} != {**asked, "seed": 0}:
        raise RequestError(
            "table", f"`table` is of {_pairs(of_table)}, and the goal of {_pairs(asked)}: measure it anew."
        )


def _pairs(how: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in how.items())


def _lost(measured: Measured) -> float:
    """Return the drop on the examples that allocations are chosen on."""
    return measured.drop if measured.choosing is None else measured.choosing


def _note(layers: Sequence[Layer], counts: Sequence[int]) -> str:
    emptied = [
        layer.name for layer, count in zip(layers, counts, strict=True) if count and count == layer.units
    ]
    if not emptied:
        return ""
    names = ", ".join(emptied[:3]) + (f" and {len(emptied) - 3} more" if len(emptied) > 3 else "")
    return f"Nothing is kept of {names}."


def _cannot(goal: GoalSpec, found: Allocation, best: Allocation | None) -> str:
    assert found.measured is not None
    start = (
        f"Cannot: {percent(found.reached)} of {goal.unit} loses {_in_words(found.measured)}, "
        f"and `at_most` is {(100 if found.measured.examples else 1) * (goal.at_most or 0):.4g}"
    )
    if best is None or not any(best.amounts.values()) or best.measured is None:
        return f"{start}; nothing that was tried stays within it."
    return f"{start}; the best is {percent(best.reached)}, which loses {_in_words(best.measured)}."


def _in_words(measured: Measured) -> str:
    """Describe the drop on the examples that allocations are chosen on."""
    lost = _lost(measured)
    return f"{100 * lost:.1f} points" if measured.examples else f"{lost:.4g} {measured.metric}"
