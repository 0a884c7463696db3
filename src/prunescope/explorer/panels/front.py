"""What any budget is predicted to lose, what was measured, and all rules side by side at one of them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import traitlets

from prunescope.core.text import percent
from prunescope.explorer.bridge import Bridge
from prunescope.explorer.live.network import NetworkShown
from prunescope.network import Allocation
from prunescope.network.joint import Measured

_HERE = Path(__file__).parent


class Front(Bridge):
    """The predicted front in the page, with measured dots.

    Attributes:
        front: ``line``, of pairs of a share and a drop; ``dots`` of ``share``, ``drop``, ``rule``, ``says``
            and ``here``; ``target`` and ``allowed``, None where there is none; ``most``, the drop at the
            top; and ``says``, all of it in words.
    """

    _esm = (_HERE / "front.js").read_text(encoding="utf-8")
    front = traitlets.Dict().tag(sync=True)


def front_of(network: NetworkShown) -> dict[str, Any]:
    """Return what `Front.front` shows."""
    goal, found = network.goal, network.allocation
    here = (round(found.reached, 4), found.rule) if found is not None and found.measured is not None else None
    dots = [
        {
            "share": share,
            "drop": drop,
            "rule": rule,
            "here": (share, rule) == here,
            "says": f"{rule}: {percent(share)} pruned, {100 * drop:.1f} points lost, measured".replace(
                "-", "−"
            ),
        }
        for share, drop, rule in network.dots
    ]
    drops = [drop for _, drop in network.front] + [drop for _, drop, _ in network.dots]
    most = max(0.01, 1.5 * (goal.at_most or 0.0), *drops, 0.0)
    return {
        "line": [[round(share, 4), round(drop, 5)] for share, drop in network.front],
        "dots": dots,
        "target": goal.target,
        "allowed": goal.at_most,
        "most": most,
        "says": f"Predicted loss against the share pruned, up to {100 * most:.0f} points; "
        f"{len(dots)} measured allocations as dots.",
    }


def rules_html(rules: Mapping[str, Allocation], chosen: str) -> str:
    """Return all rules at the same target as small multiples: of each layer what goes, and the metric."""
    if len(rules) < 2:
        return ""
    tiles = "".join(_tile(rule, each, best=rule == chosen) for rule, each in rules.items())
    return (
        "<p>The rules side by side at this target: a bar a layer, light what goes; below, "
        f'what was measured.</p><ul class="ps-tiles">{tiles}</ul>'
    )


def _tile(rule: str, allocation: Allocation, *, best: bool) -> str:
    whole = sum(allocation.weights.values()) or 1
    bars = "".join(
        f'<i style="flex-grow:{max(1, round(1000 * allocation.weights[name] / whole))};'
        f'--pruned:{round(100 * share, 1)}%" title="{escape(name)}: {percent(share)} pruned"></i>'
        for name, share in allocation.shares.items()
    )
    name, worth = rule.replace("_plus", "+"), worth_text(allocation.measured)
    kept = " class=ps-best" if best else ""
    return (
        f'<li{kept}><span class="ps-tile" role="img" aria-label="{escape(f"{name}, {worth}")}">{bars}</span>'
        f"<b>{escape(worth)}</b><span>{escape(name)}</span></li>"
    )


def worth_text(measured: Measured | None) -> str:
    """Return the metric that was measured, in few letters."""
    if measured is None:
        return "not measured"
    return percent(measured.value) if measured.examples else f"{measured.value:.4g}"
