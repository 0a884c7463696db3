"""The network on one strip: a bar a layer, wider the more weights it has, and what is pruned of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import traitlets

from prunescope.core.text import percent
from prunescope.explorer import html
from prunescope.explorer.bridge import Bridge
from prunescope.explorer.panels.layers import LIST_LIMIT, group_of
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState

_HERE = Path(__file__).parent


class StripWidget(Bridge):
    """The bars in the page.

    Attributes:
        bars: What each bar is: ``key``, the layer that a click leads to; ``label``, ``weights``, ``pruned``,
            a fraction; ``says``, for a tooltip and a screen reader; ``here``, whether it is the one shown.
        locked: Whether a click leads anywhere.
        chosen: The key of the bar that a person has chosen last. Comes from the page: not to be trusted.
    """

    _esm = (_HERE / "strip.js").read_text(encoding="utf-8")
    bars: Any = traitlets.List().tag(sync=True)
    locked = traitlets.Bool(False).tag(sync=True)
    chosen = traitlets.Unicode("").tag(sync=True)


class Strip(Panel):
    """The whole network, always in sight: a click on a bar leads to its layer.

    With more layers than fit, a bar is a block of them, and leads to the first layer of it.
    """

    name = "strip"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self.widget = StripWidget().add_class("ps-strip")
        self.hear(self.widget, self._choose, "chosen")

    def _choose(self, key: str) -> None:
        if key and not self.widget.locked:
            self.state.request(layer=key)
        with self.writing():
            self.widget.chosen = ""  # So that the same bar can be chosen again.

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Hide the strip with the layer, or let it lead nowhere."""
        html.hide(self.widget, "layer" in hide)
        self.widget.locked = "layer" in lock

    def render(self, snapshot: Snapshot) -> None:
        """Show the network of ``snapshot``; vectors, such as biases, have too few weights to be seen."""
        names = [name for name, layer in snapshot.layers.items() if len(layer.shape) > 1]
        names = names or list(snapshot.layers)
        html.show(self.widget, len(names) > 1)
        groups = {name: [name] for name in names}
        if len(names) > LIST_LIMIT:
            groups = {}
            for name in names:
                groups.setdefault(group_of(name), []).append(name)
        self.widget.bars = [_bar(snapshot, key, members) for key, members in groups.items()]


def _bar(snapshot: Snapshot, title: str, members: Sequence[str]) -> dict[str, Any]:
    weights = sum(snapshot.layers[name].size for name in members)
    gone = sum(snapshot.sparsities.get(name, 0.0) * snapshot.layers[name].size for name in members)
    pruned = gone / weights if weights else 0.0
    shown, label = snapshot.preview.tensor.name, title.removesuffix(".weight")
    many = f"{len(members)} layers, " if len(members) > 1 else ""
    return {
        "key": members[0],
        "label": label,
        "weights": weights,
        "pruned": round(pruned, 4),
        "says": f"{label}: {many}{weights:,} weights, {percent(pruned)} pruned",
        "here": shown in members,
    }
