"""How far the criteria agree on the layer shown: Kendall's τ above the diagonal of a table, overlap below."""

from __future__ import annotations

import math
from html import escape

from prunescope.core.criteria import CRITERIA
from prunescope.explorer.live.criteria import CriteriaShown
from prunescope.measure.criteria import CriteriaAgreement, CriteriaTable

_SOFT = {"batchnorm": "batch&shy;norm", "activation": "acti&shy;vation"}
"""Where a narrow column may break a word."""


def criteria_html(shown: CriteriaShown) -> str:
    """Return the table, as far as it is known, and which criteria are left out; or why there is none."""
    if shown.problem:
        return f'<div role="note" class="ps-note">{escape(shown.problem)}</div>'
    table = shown.table or CriteriaTable()
    keys = [
        key for key in CRITERIA if key in table.criteria or (not table.done and key not in table.left_out)
    ]
    heads = "".join(f'<th scope="col">{_SOFT.get(key, escape(key))}</th>' for key in keys)
    rows = "".join(f'<tr><th scope="row">{escape(row)}</th>{_row(table, keys, row)}</tr>' for row in keys)
    busy = "false" if table.done else "true"
    return (
        f'<table class="ps-agree" aria-busy="{busy}"><caption>{_caption(table)}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>{_left_out(table)}"
    )


def _row(table: CriteriaTable, keys: list[str], row: str) -> str:
    place = keys.index(row)
    return "".join(
        '<td class="ps-same"></td>' if key == row else _cell(table.between(row, key), above=number > place)
        for number, key in enumerate(keys)
    )


def _cell(agreement: CriteriaAgreement | None, *, above: bool) -> str:
    """Return τ in a cell above the diagonal, the overlap in one below; "…" before it is known."""
    if agreement is None:
        return "<td>…</td>"
    value = agreement.tau if above else agreement.overlap
    if math.isnan(value):
        return '<td title="not defined here">–</td>'
    text = f"{value:.2f}".replace("-", "−") if above else f"{100 * value:.0f} %"
    tint = f"background: color-mix(in srgb, var(--ps-accent) {32 * max(value, 0):.0f}%, transparent)"
    return f'<td style="{tint}" title="{escape(agreement.in_words)}">{text}</td>'


def _caption(table: CriteriaTable) -> str:
    found = next(iter(table.agreements.values()), None)
    sampled = found is not None and found.compared < found.units
    of = f", on {found.compared:,} of {found.units:,} units" if found and sampled else ""
    return (
        f"Above the diagonal: Kendall's τ of the scores{of}; 1 is the same order, 0 unrelated, −1 reversed. "
        "Below it: the share of what one prunes at this amount that the other prunes too."
    )


def _left_out(table: CriteriaTable) -> str:
    if not table.left_out:
        return ""
    keys = [key for key in CRITERIA if key in table.left_out]
    items = "".join(f"<li>{escape(table.left_out[key])}</li>" for key in keys)
    names = ", ".join(keys)
    return (
        f'<details class="ps-left-out"><summary>Not compared here: {names}</summary>'
        f"<ul>{items}</ul></details>"
    )
