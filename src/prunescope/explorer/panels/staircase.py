"""The staircase, a part of Costs: latency against the channels of the layer that are kept."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets

from prunescope.core.glossary import GLOSSARY
from prunescope.explorer import html
from prunescope.explorer.html import message, say, show
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.export.compact import ROUNDINGS, Staircase, Tread
from prunescope.figures import Theme

HEIGHT = 132
"""CSS pixels of the picture."""

_LEFT, _RIGHT, _TOP, _BOTTOM, _PADDING = 56, 12, 12, 20, 34


class StaircasePanel(Panel):
    """How long the network takes with fewer channels in the layer shown, and a tread to go to.

    Attributes:
        time: The button that times it.
        rounding: What the widths on offer are multiples of.
        kept: The widths; to choose one sets the amount.
        picture: All of them.
        message: Why it cannot be timed.
    """

    name = "staircase"
    title = "Latency"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self._width, self._locked = 420, False
        self.time = widgets.Button(
            description="Time fewer channels",
            tooltip=GLOSSARY["staircase"],
        )
        self.rounding = _dropdown("Multiples of", [(str(each), each) for each in ROUNDINGS], "rounding")
        self.kept = _dropdown("Keep", [], "kept")
        self.picture, self.message = widgets.HTML().add_class("ps-curve-holder"), message()
        self.press(self.time, self._time)
        self.hear(self.rounding, lambda _rounding: self.render(state.snapshot))
        self.hear(self.kept, self._keep)
        row = widgets.Box([self.time, self.rounding, self.kept]).add_class("ps-take-row")
        self.widget = widgets.VBox([row, self.message, self.picture]).add_class("ps-staircase")

    def _time(self) -> None:
        self.state.tasks.time_widths()

    def _keep(self, kept: int | None) -> None:
        if kept is not None:
            self.state.keep_channels(kept)

    def set_page(self, width: int, theme: Theme) -> None:
        """Take the width that the picture has."""
        self._width = width

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Disable the amount where it is locked."""
        self._locked = bool({"amount", "method"} & (hide | lock))

    def render(self, snapshot: Snapshot) -> None:
        """Show what is known of the layer of ``snapshot``."""
        shown = snapshot.staircase
        here = shown.layer == snapshot.preview.tensor.name.rpartition(".")[0]
        found = shown.found if here else None
        show(self.widget, snapshot.runs)
        show(self.time, found is None or shown.busy)
        html.enable(self.time, "it is timing." if here and shown.busy else "")
        self.time.description = "Timing …" if here and shown.busy else "Time fewer channels"
        say(self.message, shown.problem if here else "")
        for control in (self.rounding, self.kept):
            show(control, found is not None)
            html.enable(control, html.LOCKED if self._locked else "")
        with self.writing():
            self._offer(found, snapshot)
        self.picture.value = "" if found is None else _svg(found, self.rounding.value, self._width - _PADDING)

    def _offer(self, found: Staircase | None, snapshot: Snapshot) -> None:
        treads = () if found is None else found.of(self.rounding.value)
        options = [("choose …", None), *((_label(tread, found), tread.kept) for tread in reversed(treads))]
        if tuple(self.kept.options) != tuple(options):
            self.kept.options = options
        kept = None if found is None else kept_of(snapshot)
        self.kept.value = kept if kept in [each for _, each in options] else None


def kept_of(snapshot: Snapshot) -> int | None:
    """Return how many channels of the layer are left by the preview; None where it prunes no whole ones."""
    preview = snapshot.preview
    if not preview.method.structured or preview.spec.dim != 0:
        return None
    return int(preview.mask.flatten(1).any(1).sum()) if preview.mask.ndim > 1 else None


def _dropdown(description: str, options: list[tuple[str, int]], term: str) -> widgets.Dropdown:
    layout = widgets.Layout(width="auto")
    return widgets.Dropdown(description=description, options=options, tooltip=GLOSSARY[term], layout=layout)


def _label(tread: Tread, found: Staircase | None) -> str:
    whole = found.treads[-1].seconds.median if found else tread.seconds.median
    faster = whole / tread.seconds.median
    return f"{tread.kept} · {1000 * tread.seconds.median:.3g} ms ({faster:.2f}×)"


def _svg(found: Staircase, rounding: int, width: int) -> str:
    """Return the picture: a dot a width with its quartiles, joined where it is a multiple of ``rounding``."""
    width = max(width, 260)
    high = 1.2 * max(tread.seconds.median for tread in found.treads)
    across, down = width - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def place(kept: int, seconds: float) -> tuple[float, float]:
        return round(_LEFT + across * kept / found.channels, 1), round(_TOP + down * (1 - seconds / high), 1)

    parts = []
    for value in (0.0, high / 2, high):
        _, y = place(0, value)
        parts.append(f'<line class="ps-curve-grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y}" y2="{y}"/>')
        text = f"{1000 * value:,.0f} ms" if high > 0.02 else f"{1000 * value:.2g} ms"
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{text}</text>')
    chosen = found.of(rounding)
    joined = " ".join("{},{}".format(*place(tread.kept, tread.seconds.median)) for tread in chosen)
    parts.append(f'<polyline class="ps-curve-line" points="{joined}"/>')
    for tread in found.treads:
        x, y = place(tread.kept, tread.seconds.median)
        (_, low), (_, top) = place(0, tread.seconds.low), place(0, min(tread.seconds.high, high))
        kind = "last" if tread in chosen else "other"
        parts.append(f'<line class="ps-curve-span" x1="{x}" x2="{x}" y1="{low}" y2="{top}"/>')
        parts.append(f'<circle class="ps-curve-{kind}" cx="{x}" cy="{y}" r="3"/>')
    for kept in (0, found.channels // 2, found.channels):
        x, _ = place(kept, 0)
        anchor = "end" if kept == found.channels else "middle"
        parts.append(f'<text x="{x}" y="{HEIGHT - 4}" text-anchor="{anchor}">{kept}</text>')
    title = (
        f"Time for {found.examples} examples by the channels of {found.layer} that are kept, with quartiles"
    )
    says = "; ".join(f"{each.kept} channels {1000 * each.seconds.median:.3g} ms" for each in found.treads)
    return (
        f'<h4>{escape(title)}</h4><svg class="ps-curve" width="{width}" height="{HEIGHT}" '
        f'viewBox="0 0 {width} {HEIGHT}" role="img" '
        f'aria-label="Latency by channels kept: {escape(says)}">{"".join(parts)}</svg>'
    )
