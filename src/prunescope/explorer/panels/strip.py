"""The network on one strip: a bar a layer, wider the more weights it has, and what is pruned of it."""

from __future__ import annotations

from collections.abc import Sequence, Set
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
from prunescope.network.scopes import GROUP

_HERE = Path(__file__).parent


class StripWidget(Bridge):
    """The bars in the page.

    Attributes:
        bars: What each bar is: ``key``, the layer that a click leads to; ``label``, ``weights``, ``pruned``,
            a fraction; ``says``, for a tooltip and a screen reader; ``here``, whether it is the one shown;
            ``within``, whether it is in the scope.
        locked: Whether a click leads anywhere.
        grouping: Whether bars can be chosen together.
        chosen: The key of the bar that a person has chosen last. Comes from the page: not to be trusted.
        together: The keys of the bars chosen together last. Not to be trusted either.
    """

    _esm = (_HERE / "strip.js").read_text(encoding="utf-8")
    bars: Any = traitlets.List().tag(sync=True)
    locked = traitlets.Bool(False).tag(sync=True)
    grouping = traitlets.Bool(True).tag(sync=True)
    chosen = traitlets.Unicode("").tag(sync=True)
    together: Any = traitlets.List().tag(sync=True)


class Strip(Panel):
    """The whole network, always in sight: a click on a bar leads to its layer, one with Shift or Ctrl groups.

    With more layers than fit, a bar is a block of them, and leads to the first layer of it.
    """

    name = "strip"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self.widget = StripWidget().add_class("ps-strip")
        self._groups: dict[str, list[str]] = {}
        self.hear(self.widget, self._choose, "chosen")
        self.hear(self.widget, self._together, "together")

    def _choose(self, key: str) -> None:
        if key and not self.widget.locked:
            self.state.request(layer=key)
        with self.writing():
            self.widget.chosen = ""  # So that the same bar can be chosen again.

    def _together(self, keys: list[Any]) -> None:
        """Have the amount be of all layers of these bars; of one, as ever, if it is one."""
        members = [names for key, names in self._groups.items() if names[0] in keys]
        names = [name for group in members for name in group]
        if names and self.widget.grouping:
            shown = self.state.snapshot.preview.tensor.name
            layer = {} if shown in names else {"layer": names[0]}
            scope = "layer" if len(names) == 1 else f"{GROUP}{','.join(names)}"
            self.state.request(scope=scope, **layer)
        with self.writing():
            self.widget.together = []

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Hide the strip with the layer, or let it lead nowhere."""
        html.hide(self.widget, "layer" in hide)
        self.widget.locked = "layer" in lock
        self.widget.grouping = not {"scope", "layer"} & (lock | hide)

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
        self._groups = groups
        preview = snapshot.preview
        within = set(names) if preview.pooled else set(preview.reach.layers if preview.reach else ())
        self.widget.bars = [_bar(snapshot, key, members, within) for key, members in groups.items()]


def _bar(snapshot: Snapshot, title: str, members: Sequence[str], within: Set[str]) -> dict[str, Any]:
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
        "within": not within.isdisjoint(members),
    }
