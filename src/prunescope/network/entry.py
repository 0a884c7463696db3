"""The Python entry points `sensitivity` and `allocate`: one call each, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from prunescope.core.criteria import WEIGHT
from prunescope.core.errors import RequestError
from prunescope.network.allocation import Allocation
from prunescope.network.asked import AMOUNTS, SensitivitySpec, how
from prunescope.network.bisecting import Bisection
from prunescope.network.goal import GoalSpec, limits_of
from prunescope.network.keep import SHIPPED, find, fingerprint, keep, user_folder
from prunescope.network.layers import layers_of
from prunescope.network.network import Network
from prunescope.network.survey import Survey
from prunescope.network.table import SensitivityTable
from prunescope.session import Session
from prunescope.sources import checkpoint_source, module_source

UNFELT = 0.5
"""Seconds that one run of a chunk may take when no interface has to stay responsive."""


def sensitivity(
    model: nn.Module | Path | str | Session,
    *,
    data: Any = None,
    evaluate: Callable[[nn.Module], object] | None = None,
    method: str = "l1_unstructured",
    n: int | float | str = 2,
    dim: int = 0,
    seed: int = 0,
    criterion: str = WEIGHT,
    amounts: Sequence[float] = AMOUNTS,
    layers: Sequence[str] | None = None,
    tolerance: float | None = None,
    higher_is_better: bool | None = None,
    progress: bool = True,
    kept: Path | str | bool = False,
) -> SensitivityTable:
    """Measure the drop of the metric with each layer pruned by each amount, all other layers unchanged.

    With ``data``, every cell is measured on all examples, with the same correct answers as pruning a fresh
    copy and evaluating it. With only ``evaluate``, bisection finds each layer's largest amount within the
    tolerance.

    Args:
        model: A network, which is read and never written, or a session, whose steps count as applied.
        data: Held-out ``(inputs, targets)``, as `prunescope.explore` takes them.
        evaluate: Your own metric in place of ``data``: takes a model, returns a number.
        method, n, dim, seed, criterion: How each layer is pruned; see `prunescope.spec.PruneSpec`.
        amounts: Fractions of each layer's units, in (0, 1].
        layers: Full parameter names; None means all tensors with two or more axes.
        tolerance: With ``data``, stop a cell once its 99 % interval is clear of this drop; None measures
            every cell on all examples. With ``evaluate``, the largest allowed drop; None means 1 % of the
            dense metric.
        higher_is_better: Whether a higher result of ``evaluate`` is better; None decides by its name.
        progress: Whether to show a progress bar. Ctrl-C returns the table measured so far.
        kept: Folder that caches tables by a fingerprint of weights, data and method; True uses the user's
            cache folder. A table found there is not measured again. The demos' tables ship with the package.

    Raises:
        RequestError: Neither ``data`` nor ``evaluate`` is given, or the model cannot be measured.

    Example:
        >>> from prunescope.sources.demos import load_demo
        >>> model, data = load_demo("mlp")
        >>> table = sensitivity(model, data=data, amounts=[0.5, 0.9], progress=False)
        >>> table.cells["fc1.weight", 0.9].state
        'measured'
    """
    session = session_of(model, data=data, evaluate=evaluate)
    asked = SensitivitySpec(method, n, dim, seed, criterion, amounts, layers)
    if session.source.data is None and session.source.evaluate is not None:
        bisection = Bisection(session, asked, tolerance=tolerance, higher_is_better=higher_is_better)
        return last_table(bisection.tables(), progress, f"at most {bisection.most_calls} calls of evaluate")
    survey = Survey(session, asked, tolerance=tolerance, seconds=UNFELT)
    if not kept or tolerance is not None:
        return last_table(survey.tables(), progress, "sensitivity")
    folder, mark = user_folder() if kept is True else Path(kept), fingerprint(session, asked)
    found = find(mark, (SHIPPED, folder))
    if found is None:
        found = last_table(survey.tables(), progress, "sensitivity")
        keep(mark, found, folder)
    return found


def allocate(
    model: nn.Module | Path | str | Session,
    target: float | None = None,
    *,
    unit: str = "weights",
    rule: str | None = None,
    at_most: float | None = None,
    data: Any = None,
    evaluate: Callable[[nn.Module], object] | None = None,
    example: Any = None,
    table: SensitivityTable | None = None,
    exclude: Sequence[str] = (),
    min_keep: int | float = 0.0,
    round_to: int = 1,
    pins: Mapping[str, int | float] | None = None,
    method: str = "l1_unstructured",
    n: int | float | str = 2,
    dim: int = 0,
    seed: int = 0,
    criterion: str = WEIGHT,
    progress: bool = True,
) -> Allocation:
    """Return how much of each layer to prune so that a goal is met; nothing is pruned.

    Args:
        model: A network, which is read and never written; the path of a checkpoint; or a session.
        target: Total share of ``unit`` to prune, in (0, 1); None prunes as much as ``at_most`` allows.
        unit: ``"weights"`` (of tensors with two or more axes), ``"parameters"`` (zeros over all of them),
            ``"flops"`` (of whole channels cut out), ``"file"`` (compressed, masks made permanent).
        rule: ``"uniform"``, ``"uniform_plus"``, ``"global"``, ``"lamp"``, ``"erk"``, or ``"sensitivity"``,
            which needs data, also measures the others at the same target, and returns the best. None means
            ``"sensitivity"`` if the model can be measured, else ``"lamp"``.
        at_most: Largest allowed drop of the metric: 0.01 is one point of accuracy.
        data: Held-out ``(inputs, targets)``. Allocations are chosen on one half and reported on the other.
        evaluate: Your own metric in place of ``data``: takes a model, returns a number.
        example: Input to call the model with if there is no data; for ``unit="flops"``.
        table: What `prunescope.sensitivity` returned for this model; measured if None.
        exclude: Layers or modules to leave unpruned.
        min_keep: The least that every layer keeps: a fraction of its units, or a count.
        round_to: Round the number of kept channels to multiples of this.
        pins: Amounts for single layers, overriding the rule: fractions of their units, or counts.
        method, n, dim, seed, criterion: How each layer is pruned.
        progress: Whether to show a progress bar while measuring.

    Raises:
        RequestError: The goal cannot be met, or a value is invalid.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
        >>> allocate(net, 0.5, rule="uniform").amounts
        {'0.weight': 24, '2.weight': 6}
    """
    session = session_of(model, data=data, evaluate=evaluate, example=example)
    usual = "sensitivity" if _can_measure(session) else "lamp"
    goal = GoalSpec(
        target, unit, rule or usual, at_most, tuple([exclude] if isinstance(exclude, str) else exclude),
        min_keep, round_to, dict(pins or {}), method, n, dim, seed, criterion,
    ).checked()  # fmt: skip
    if goal.rule == "sensitivity" and table is None:
        table = _measured_table(session, goal, progress)
    last: Allocation | None = None
    for last in Network.of(session, goal, table).allocating(goal):  # noqa: B007
        pass
    assert last is not None
    return last


def _can_measure(session: Session) -> bool:
    source = session.source
    return source.data is not None or source.evaluate is not None


def _measured_table(session: Session, goal: GoalSpec, progress: bool) -> SensitivityTable:
    if not _can_measure(session):
        raise RequestError(
            "rule",
            "`rule` sensitivity needs `data` or `evaluate`: without, choose uniform, global, lamp or erk.",
        )
    limits = limits_of(goal, layers := layers_of(session, goal.spec))  # Says what is wrong before measuring.
    names = [layer.name for layer, free in zip(layers, limits.free, strict=True) if free]
    if not names:
        raise RequestError("exclude", "`exclude` and `pins` leave no layer for the rule to decide on.")
    return sensitivity(
        session, **how(goal), layers=names,
        tolerance=goal.at_most if session.source.data is None else None, progress=progress,
    )  # fmt: skip


def session_of(model: nn.Module | Path | str | Session, **measures: Any) -> Session:
    """Return a session for ``model``: a network, the path of a checkpoint, or a session, returned unchanged.

    Raises:
        RequestError: There is nothing to prune, or this kind of model does not take one of ``measures``.
    """
    given = [name for name, value in measures.items() if value is not None]
    if isinstance(model, Session):
        if given:
            raise RequestError(
                given[0], f"`{given[0]}` goes with a model, not with a session, which has its own."
            )
        return model
    if isinstance(model, str | Path):
        if given:
            raise RequestError(
                given[0], f"`{given[0]}` goes with a module: a checkpoint has weights, and cannot be run."
            )
        return Session(checkpoint_source(model))
    return Session(module_source(model, **measures))


def last_table(tables: Iterator[SensitivityTable], progress: bool, title: str) -> SensitivityTable:
    """Return the last of ``tables``, or the latest one on Ctrl-C, showing progress in a bar.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed before the first table.
    """
    from tqdm.auto import tqdm

    table: SensitivityTable | None = None
    with tqdm(total=100, desc=title, disable=not progress, bar_format=_BAR) as bar:
        try:
            for table in tables:
                bar.n = round(100 * table.done)
                bar.set_postfix_str(_left(table), refresh=True)
        except KeyboardInterrupt:
            if table is None:
                raise
            return table.with_problem("Stopped by Ctrl-C.")
    assert table is not None
    return table


_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"


def _left(table: SensitivityTable) -> str:
    return "" if table.seconds_left is None else f"{table.seconds_left:.1f} s left, {table.in_words}"
