"""`sensitivity`: the whole table in one call, with progress; Ctrl-C gives what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from prunescope.core.errors import RequestError
from prunescope.network.bisecting import Bisection
from prunescope.network.survey import AMOUNTS, Survey
from prunescope.network.table import SensitivityTable
from prunescope.session import Session
from prunescope.sources import checkpoint_source, module_source


def sensitivity(
    model: nn.Module | Path | str | Session,
    *,
    data: Any = None,
    evaluate: Callable[[nn.Module], object] | None = None,
    method: str = "l1_unstructured",
    n: int | float | str = 2,
    dim: int = 0,
    seed: int = 0,
    amounts: Sequence[float] = AMOUNTS,
    layers: Sequence[str] | None = None,
    tolerance: float | None = None,
    higher_is_better: bool | None = None,
    progress: bool = True,
) -> SensitivityTable:
    """Return what each layer loses at each amount, every other layer as it is.

    With ``data`` every cell is measured on all examples: exactly the right answers of pruning a fresh copy and
    evaluating it. With ``evaluate`` alone the largest amount within the tolerance is sought layer by layer.

    Args:
        model: A network, read and never written; or a session, whose steps count as carried out.
        data: Held-out ``(inputs, targets)``, as `prunescope.explore` takes them.
        evaluate: A measure of your own in place of ``data``: takes a model, returns a number.
        method, n, dim, seed: How each layer is pruned; see `prunescope.prune`.
        amounts: Fractions of each layer's units, in (0, 1].
        layers: Full parameter names; None means all tensors of two axes and more.
        tolerance: With ``data``, stop cells whose 99 % interval is clear of this drop; None measures all to the
            end. With ``evaluate``, the drop that is sought; None is a hundredth of the dense metric.
        higher_is_better: Of what ``evaluate`` returns; None judges by its name: of a loss, less is.
        progress: Whether to show a bar. Ctrl-C gives the table as far as it is known.

    Raises:
        RequestError: There is neither ``data`` nor ``evaluate``, or the model cannot be measured.

    Example:
        >>> from prunescope.sources.demos import load_demo
        >>> model, data = load_demo("mlp")
        >>> table = sensitivity(model, data=data, amounts=[0.5, 0.9], progress=False)
        >>> table.cells["fc1.weight", 0.9].state
        'measured'
    """
    session = session_of(model, data=data, evaluate=evaluate)
    asked: dict[str, Any] = dict(method=method, n=n, dim=dim, seed=seed, amounts=amounts, layers=layers)
    if session.source.data is None and session.source.evaluate is not None:
        bisection = Bisection(session, tolerance=tolerance, higher_is_better=higher_is_better, **asked)
        return last_table(bisection.tables(), progress, f"at most {bisection.most_calls} calls of evaluate")
    return last_table(Survey(session, tolerance=tolerance, **asked).tables(), progress, "sensitivity")


def session_of(model: nn.Module | Path | str | Session, **measures: Any) -> Session:
    """Return a session of ``model``: a network, the path of a checkpoint, or a session already.

    Raises:
        RequestError: It has nothing to prune, or a measure does not go with it.
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
    """Return the last of ``tables``, or on Ctrl-C the latest; a bar shows how far it is.

    Raises:
        KeyboardInterrupt: Ctrl-C came before there was any.
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
