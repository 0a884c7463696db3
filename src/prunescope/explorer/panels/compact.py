"""Smaller model, a part of Export: what would be cut out, what that saves, and the files of the result."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import ipywidgets as widgets

from prunescope.core.glossary import GLOSSARY
from prunescope.core.text import percent
from prunescope.explorer import html
from prunescope.explorer.html import message, say, show
from prunescope.explorer.panels.page import Page
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.export.compact import CompactModel, Pair
from prunescope.measure import Accuracy, bytes_text
from prunescope.measure.latency import Latency

FILE = "smaller.safetensors"
"""What its weights are called; the script that rebuilds it reads them."""

COUPLED_TITLES = {"same": "what all of them prune", "any": "what any of them prunes"}

BUTTONS = {
    "look": "What can be cut out?",
    "make": "Cut it out",
    "weights": "Download weights",
    "script": "Download rebuild.py",
}
"""Label of each button, by action; the glossary has its tooltip."""


class CompactPanel(Panel):
    """The network without the channels that are pruned.

    Attributes:
        coupled: What goes where channels of several layers are added.
        buttons: The buttons, by the name of what they do.
        cuts: What would be cut out, and what would not.
        table: What is saved.
        message: Why it cannot be made.
    """

    name = "compact"
    title = "Smaller model"

    def __init__(self, state: ExplorerState, page: Page) -> None:
        super().__init__(state)
        self._page = page
        self.coupled = widgets.Dropdown(
            description="Coupled layers lose",
            options=[(title, key) for key, title in COUPLED_TITLES.items()],
            tooltip=GLOSSARY["coupled"],
            layout=widgets.Layout(width="auto"),
        )
        self.buttons = {
            name: widgets.Button(description=text, tooltip=GLOSSARY[f"compact {name}"])
            for name, text in BUTTONS.items()
        }
        self.hear(self.coupled, lambda coupled: self._start(coupled, make=False))
        self.press(self.buttons["look"], lambda: self._start(self.coupled.value, make=False))
        self.press(self.buttons["make"], lambda: self._start(self.coupled.value, make=True))
        self.press(self.buttons["weights"], lambda: self._save(FILE))
        self.press(self.buttons["script"], lambda: self._save("rebuild.py"))
        self.buttons["make"].add_class("ps-apply")
        self.cuts, self.table = widgets.HTML().add_class("ps-cuts"), widgets.HTML().add_class("ps-account")
        self.message = message()
        head = widgets.HTML(_HEAD).add_class("ps-cuts")
        self._asks = widgets.Box([self.buttons["look"], self.coupled, self.buttons["make"]])
        self._takes = widgets.Box([self.buttons["weights"], self.buttons["script"]])
        for row in (self._asks, self._takes):
            row.add_class("ps-take-row")
        parts = [head, self._asks, self.message, self.cuts, self.table, self._takes]
        self.widget = widgets.VBox(parts).add_class("ps-compact")

    def _start(self, coupled: str, *, make: bool) -> None:
        self.state.tasks.make_compact(coupled, make=make)

    def _save(self, name: str) -> None:
        found = self.state.snapshot.compact.found
        if found is not None:
            self._page.save(name, found.bytes if name == FILE else found.code(FILE).encode())

    def render(self, snapshot: Snapshot) -> None:
        """Show what is known of the smaller network of the steps of ``snapshot``."""
        shown, steps = snapshot.compact, snapshot.history.done
        show(self.widget, snapshot.runs)
        fresh = shown.is_of(steps) and bool(steps)
        looked = fresh and (shown.cuts is not None or bool(shown.problem))
        with self.writing():
            self.coupled.value = shown.coupled
        busy = fresh and bool(shown.busy)
        found = shown.found if fresh else None
        show(self._asks, found is None)
        show(self._takes, found is not None)
        show(self.buttons["look"], not looked)
        show(self.buttons["make"], looked and bool(shown.cuts) and found is None)
        adds = bool(shown.refused) or shown.coupled == "any" or any("same" in cut for cut in shown.cuts or ())
        show(self.coupled, looked and found is None and adds)
        for name in ("weights", "script"):
            show(self.buttons[name], found is not None)
        for control in (*self.buttons.values(), self.coupled):
            html.enable(control, "it is working." if busy else "" if steps else "there is no step yet.")
        say(self.message, shown.problem if fresh else "")
        self.cuts.value = _cuts(shown.cuts or (), shown.refused, shown.busy) if fresh else ""
        self.table.value = "" if found is None else _table(found)


_HEAD = (
    "<h4>Smaller model</h4><p>A mask makes nothing smaller. Channels that are pruned whole can be cut "
    "out of a copy, and of the layers that read them.</p>"
)


def _cuts(cuts: tuple[str, ...], refused: tuple[str, ...], busy: str) -> str:
    listed = "".join(f"<li>{escape(each)}</li>" for each in (*cuts, *refused))
    return (f"<ul>{listed}</ul>" if listed else "") + (f"<p>{escape(busy)}</p>" if busy else "")


def _table(found: CompactModel) -> str:
    """Return what is saved, before and after, and the proof."""
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in _rows(found)
    )
    heads = "".join(f"<th scope=col>{head}</th>" for head in ("", "before", "after", ""))
    return (
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table><p>{escape(_proof(found))}</p>"
    )


def _rows(found: CompactModel) -> Iterator[tuple[str, str, str, str]]:
    yield "Parameters", f"{found.parameters.before:,}", f"{found.parameters.after:,}", _less(found.parameters)
    yield "FLOPs", f"{found.flops.before:,}", f"{found.flops.after:,}", _less(found.flops)
    yield "File", bytes_text(found.file.before), bytes_text(found.file.after), _less(found.file)
    if found.metric is not None:
        yield _metric(found.metric)
    if found.latency is not None:
        yield _latency(found.latency)


def _less(pair: Pair[int]) -> str:
    return f"−{100 * (1 - pair.after / max(pair.before, 1)):.1f} %"


def _metric(pair: Pair[Any]) -> tuple[str, str, str, str]:
    if isinstance(pair.before, Accuracy):
        points = f"{100 * (pair.after.fraction - pair.before.fraction):+.1f} points".replace("-", "−")
        return "Accuracy", percent(pair.before.fraction), percent(pair.after.fraction), points
    return "Your measure", pair.before.in_words, pair.after.in_words, ""


def _latency(latency: Latency) -> tuple[str, str, str, str]:
    def span(times: Any) -> str:
        return f"{1000 * times.median:.3g} ms ({1000 * times.low:.3g}–{1000 * times.high:.3g})"

    faster = f"{latency.ratio.median:.2f}× ({latency.ratio.low:.2f}–{latency.ratio.high:.2f})"
    name = f"Latency, {latency.examples:,} examples"
    return name, span(latency.before), span(latency.after), "too noisy to say" if latency.is_noisy else faster


def _proof(found: CompactModel) -> str:
    return (
        f"On {found.compared:,} examples it answers as the masked network does with these channels silenced: "
        f"the largest difference is {found.difference:.1e}. Latency: medians and quartiles, timed in turns."
    )
