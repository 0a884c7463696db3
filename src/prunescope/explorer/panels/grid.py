"""The table of layers × amounts in the page, with what the allocation prunes of each layer, to be changed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import traitlets

from prunescope.explorer.bridge import Bridge
from prunescope.network import Allocation, Cell, SensitivityTable

_HERE = Path(__file__).parent

LABEL = 13
"""Letters of a layer's name that fit the table."""

END = 4
"""How many of them are its last ones, where it does not fit."""


class Grid(Bridge):
    """The table of layers × amounts in the page.

    Attributes:
        table: ``amounts`` as texts and ``at`` as numbers, and ``rows``: ``name``, ``label``, ``here``,
            ``cells`` of ``text``, ``says``, ``state`` and ``worse`` in [-1, 1]; ``share``, what the
            allocation prunes, None if there is none; ``pinned``, whether a person has said so, and
            ``fixed``, whether nobody may.
        locked: Whether amounts are shown and cannot be changed.
        chosen: Name of the layer and place of the amount that a person has clicked. Comes from the page: not
            to be trusted.
        pinned: Name of a layer and the share that is to go of it; None lets the rule decide again. Likewise.
    """

    _esm = (_HERE / "grid.js").read_text(encoding="utf-8")
    table = traitlets.Dict().tag(sync=True)
    locked = traitlets.Bool(False).tag(sync=True)
    chosen: Any = traitlets.List().tag(sync=True)
    pinned: Any = traitlets.List().tag(sync=True)


def grid_of(
    table: SensitivityTable | None, allocation: Allocation | None, shown: str, fixed: Collection[str]
) -> dict[str, Any]:
    """Return what `Grid.table` shows.

    Args:
        table: What each layer loses; None shows layers and amounts of the allocation alone.
        allocation: What the goal comes to; None if it is not known.
        shown: Full name of the layer that is on show.
        fixed: Layers that are left alone.
    """
    shares = {} if allocation is None else allocation.shares
    pins = {} if allocation is None else allocation.goal.pins
    amounts = () if table is None else table.amounts
    names = tuple(shares) if table is None else table.layers
    rows = [
        {
            "name": name,
            "label": short(name.removesuffix(".weight")),
            "here": name == shown,
            "share": round(shares[name], 4) if name in shares else None,
            "pinned": name in pins,
            "fixed": name in fixed,
            "cells": [
                _cell(table, table.cells.get((name, amount)), amount)
                for amount in amounts
                if table is not None
            ],
        }
        for name in names
    ]
    return {"amounts": [f"{100 * amount:g}" for amount in amounts], "at": list(amounts), "rows": rows}


def short(label: str) -> str:
    """Return a label that fits its column: blocks differ at their beginning, their layers at their end.

    Example:
        >>> short("head"), short("blocks.0.attention.proj")
        ('head', 'blocks.0…proj')
    """
    return label if len(label) <= LABEL else f"{label[: LABEL - END - 1]}…{label[-END:]}"


def _cell(table: SensitivityTable, cell: Cell | None, amount: float) -> dict[str, Any]:
    if cell is None:
        return {"text": "", "says": "not measured yet", "state": "empty", "worse": 0.0}
    at = f"{100 * amount:g} % pruned"
    if cell.drop is None:
        return {"text": "–", "says": f"{at}: {cell.why}", "state": cell.state, "worse": 0.0}
    tolerance = table.tolerance or (0.05 if table.examples else 0.05 * abs(table.dense) or 1.0)
    worse = max(-1.0, min(1.0, cell.drop / tolerance))
    text, says = _in_points(cell) if table.examples else _in_units(cell, table.metric)
    if cell.low is not None and cell.high is not None:
        says += f" (95 %: {100 * cell.low:.1f} to {100 * cell.high:.1f})"
    known = f", {cell.state} on {cell.examples:,} of {table.examples:,}" if table.examples else ""
    known = ", estimated" if cell.state == "estimated" else known
    return {
        "text": text.replace("-", "−"),
        "says": f"{at}: {says}{known}",
        "state": cell.state,
        "worse": round(worse, 3),
    }


def _in_points(cell: Cell) -> tuple[str, str]:
    points = 100 * (cell.drop or 0.0)
    return f"{points:.0f}" if abs(points) >= 9.95 else f"{points:.1f}", f"loses {points:.1f} points"


def _in_units(cell: Cell, metric: str) -> tuple[str, str]:
    drop = cell.drop or 0.0
    return f"{drop:.2g}", f"{metric} is worse by {drop:.4g}"
