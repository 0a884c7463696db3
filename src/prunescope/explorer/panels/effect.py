"""The effect of pruning on what the model is for: by class, by example, or in a metric of the user's own.

Two pictures, or on request tables of the same. They are made when visible, and only when their content has
changed.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape
from io import BytesIO

import ipywidgets as widgets
from matplotlib.figure import Figure

from prunescope.core.glossary import GLOSSARY
from prunescope.explorer.html import show, table
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.figures import (
    LIGHT,
    MAX_EXAMPLES,
    Theme,
    draw_classes,
    draw_examples,
    shown_classes,
    strip_height,
)
from prunescope.measure import Effect, Example, Metric

DPI = 200
"""Dots per inch: two per CSS pixel, so that the pictures are sharp on any screen."""

_TILE, _MOST_COLUMNS, _PADDING = 68, 10, 40  # CSS pixels of a tile at the least; tiles; around the pictures.
_ROW, _AROUND = 26, 74  # CSS pixels of a row of the chart, and above and below the rows.

HINT = "<p>A checkpoint only has weights and cannot be run, so the effect cannot be measured.</p>"
"""What the panel shows for a model that cannot be measured, where others can."""


class EffectPanel(Panel):
    """What pruning does to the answers of a model, or to a metric of the user's own.

    Attributes:
        as_text: Whether tables replace the pictures.
        summary: The effect in one sentence.
        body: The pictures, or the tables.
    """

    name = "effect"
    title = "Effect"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self._model: str | None = None
        self._drawn: object = None
        self._looked_at, self._width, self._theme = False, 900, LIGHT
        self.summary = widgets.HTML().add_class("ps-summary")
        self.as_text = widgets.ToggleButton(
            description="As text", tooltip=GLOSSARY["as text"], layout={"width": "auto"}
        )
        self.hear(self.as_text, lambda _pressed: self._refresh())
        self.body = widgets.HTML().add_class("ps-effect-body")
        row = widgets.Box([self.summary, self.as_text]).add_class("ps-effect-row")
        self.widget = widgets.VBox([row, self.body]).add_class("ps-effect")

    def offered(self, snapshot: Snapshot) -> bool:
        """Return whether the effect can be measured for any model, as far as is known."""
        return len(snapshot.models) > 1 or snapshot.metric is not None

    def look(self, in_front: bool) -> None:
        """Note whether the panel is visible; pictures are made only then."""
        self._looked_at = in_front
        self._refresh()

    def set_page(self, width: int, theme: Theme) -> None:
        """Set the width of the column in CSS pixels, and the colours of the page."""
        self._width, self._theme = width, theme
        self._refresh()

    def render(self, snapshot: Snapshot) -> None:
        """Show the effect in ``snapshot``; while it is measured, the last one stays, greyed out."""
        if self._model != snapshot.model:
            self._drawn, self._model = None, snapshot.model
        self._refresh()

    def _refresh(self) -> None:
        snapshot = self.state.snapshot
        if not self._looked_at:
            return
        waiting = snapshot.has_data and snapshot.effect is None
        (self.body.add_class if waiting else self.body.remove_class)("ps-stale")
        show(self.as_text, snapshot.has_data)
        if snapshot.has_data:
            self._show_effect(snapshot)
        else:
            self.summary.value = ""
            self.body.value = HINT if snapshot.metric is None else _metric(snapshot.metric)

    def _show_effect(self, snapshot: Snapshot) -> None:
        effect = snapshot.effect
        if effect is None:
            measuring = "Not measured." if snapshot.metric and snapshot.metric.problem else "Measuring …"
            self.summary.value = f"<p>{measuring}</p>"
            if self._drawn is None:
                self.body.value = ""
            return
        self.summary.value = f"<p>{effect.sentence}</p>"
        key = effect, self.as_text.value, self._width, self._theme
        if key != self._drawn:
            self._drawn = key
            self.body.value = _tables(effect) if self.as_text.value else self._pictures(effect)

    def _pictures(self, effect: Effect) -> str:
        width = max(280, self._width - _PADDING)
        columns = min(_MOST_COLUMNS, width // _TILE)
        most = columns * -(-MAX_EXAMPLES // columns)
        examples, rows = effect.examples(most), len(shown_classes(effect))
        chart = self._figure(width, _AROUND + _ROW * rows)
        chart.set_layout_engine("constrained")
        draw_classes(effect, chart.add_subplot(), theme=self._theme)
        strip = self._figure(width, round(width / columns * strip_height(examples, columns)))
        draw_examples(effect, strip.add_axes((0, 0, 1, 1)), most=most, columns=columns, theme=self._theme)
        return _section(_chart_title(effect), _image(chart, _chart_text(effect))) + _section(
            _strip_title(effect, len(examples)), _image(strip, "; ".join(map(_in_words, examples)))
        )

    def _figure(self, width: int, height: int) -> Figure:
        return Figure(figsize=(width / 100, height / 100), dpi=DPI)


def _section(title: str, content: str) -> str:
    return f"<section><h4>{escape(title)}</h4>{content}</section>"


def _image(figure: Figure, text: str) -> str:
    """Return ``figure`` without its background, as an image of half as many CSS pixels as it has dots."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=DPI, transparent=True, pil_kwargs={"compress_level": 1})
    data = b64encode(file.getvalue()).decode()
    width = round(figure.get_figwidth() * 100)
    return f'<img width="{width}" alt="{escape(text)}" src="data:image/png;base64,{data}">'


def _chart_title(effect: Effect) -> str:
    shown, classes = len(shown_classes(effect)), len(effect.classes)
    return "Right answers by class" + (
        f": the {shown} of {classes:,} classes that changed most" if shown < classes else ""
    )


def _chart_text(effect: Effect) -> str:
    return "; ".join(
        f"class {each.name}: {each.before.right:,} → {each.after.right:,} of {each.after.total:,}"
        for each in shown_classes(effect)
    )


def _strip_title(effect: Effect, shown: int) -> str:
    return f"Examples: {shown:,} of {effect.after.total:,}, those that changed first"


def _in_words(example: Example) -> str:
    before, after = example.before, example.after
    answer = f"{before} → {after}" if example.changed else after
    return f"#{example.index} is {example.target}, answered {answer}: {example.fate}"


def _tables(effect: Effect) -> str:
    classes = [(each.name, each.before.in_words, each.after.in_words) for each in shown_classes(effect)]
    examples = effect.examples(MAX_EXAMPLES)
    told = [(f"#{each.index}", each.target, each.before, each.after, each.fate) for each in examples]
    return _section(_chart_title(effect), table(("Class", "Before", "After"), classes)) + _section(
        _strip_title(effect, len(examples)),
        table(("Example", "Is", "Before", "After", "Outcome"), told),
    )


def _metric(metric: Metric) -> str:
    return _section(
        "Your metric, on the original model and with the steps and the preview",
        table(("Metric", "Before", "After"), metric.rows),
    )
