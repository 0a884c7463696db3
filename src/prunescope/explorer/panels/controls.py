"""The controls: they turn user input into requests, and show the snapshot they are given.

`Controls.render` is the only writer of widget values. A value set while rendering is not a request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import ipywidgets as widgets

from prunescope.core.channels import channels_text
from prunescope.core.criteria import CRITERIA
from prunescope.core.glossary import GLOSSARY, option
from prunescope.core.knobs import KNOBS, Dim
from prunescope.core.patterns import Pattern
from prunescope.core.preview import Preview
from prunescope.core.resolve import row_axes
from prunescope.core.spec import BY_HAND, METHODS
from prunescope.core.tensor import PrunableTensor
from prunescope.explorer import html
from prunescope.explorer.html import message, say, show
from prunescope.explorer.panels.groups import GroupChoice
from prunescope.explorer.panels.layers import LayerChoice
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.panels.reaching import scope_choices
from prunescope.explorer.state import actions
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.figures.reading import axes_text

NORMS: Sequence[tuple[str, object]] = (
    ("1 · sum of |w|", 1),
    ("2 · root of sum of w²", 2),
    ("inf · largest |w|", math.inf),
    ("-inf · smallest |w|", -math.inf),
    ("fro · Frobenius", "fro"),
    ("nuc · sum of singular values", "nuc"),
)
"""The orders offered by name; any other number can be typed."""

_KNOBS = frozenset({"criterion", *KNOBS})
"""What a method may use besides the amount."""

_PATTERN = frozenset({"method", "amount", "group"})
"""What a click on an N:M pattern sets."""

OTHER_NORM = "other"
_FIRST_OTHER_NORM = 0.5


class Controls(Panel):
    """The controls; with one model on offer there is none to choose among models.

    Attributes:
        widget: The column of choices: model, layer, method, norm, dim, seed.
        amount_widget: The row of the amount, to stand over the picture that answers it.
        messages: The sentence beside each control, by the field it sets.
    """

    name = "controls"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self._make_widgets()
        self.messages = {
            name: message()
            for name in ("model", "layer", "method", "amount", "scope", *sorted(_KNOBS), *BY_HAND, "units")
        }
        self._locked: frozenset[str] = frozenset()
        self._named: dict[str, list[widgets.Widget]] = {
            "model": [self.model],
            "layer": [self.layers.search, self.layers.found, self.layers.group, self.layer],
            "method": [self.method],
            "scope": [self.scope],
            "amount": [self.amount_kind, self.amount, self.percent_slider, self.count_slider],
            "criterion": [self.criterion],
            "n": [self.n, self.other_n],
            "dim": [self.dim],
            "group": [self.group],
            "seed": [self.seed],
            **{name: [text] for name, text in self.by_hand.items()},
        }
        self.widget = widgets.VBox(self._rows()).add_class("ps-controls")
        self.amount_widget = self._amount_row()
        self._watch()

    def _make_widgets(self) -> None:
        self.model = _dropdown("Model", [], "model")
        self.layers = LayerChoice()
        self.layer = self.layers.layer
        self.method = _dropdown("Method", [(each.title, key) for key, each in METHODS.items()], "method")
        self.scope = _dropdown("Scope", [("this layer", "layer")], "scope")
        self.amount_kind = _dropdown(
            "Amount as", [("a fraction", "fraction"), ("a count", "count")], "amount as"
        )
        self.amount = widgets.FloatText(
            description="Amount", tooltip=GLOSSARY["amount"], step=0.01, layout=_full()
        )
        # Whole numbers only: a float slider rounds a value to its step and sends that back as the user's.
        self.percent_slider, self.count_slider = (
            widgets.IntSlider(
                min=0, max=top, readout=False, tooltip=GLOSSARY["amount slider"], layout=_full()
            )
            for top in (100, 1)
        )
        self.n = _dropdown("Norm n", [*NORMS, ("another number …", OTHER_NORM)], "norm")
        self.other_n = widgets.Text(
            description="n =", tooltip=GLOSSARY["other norm"], continuous_update=False, layout=_full()
        )
        self.criterion = _dropdown("Criterion", [])  # Its tooltip is what the chosen one is.
        self.dim = _dropdown("Dim", [], "dim")
        self.groups = GroupChoice()
        self.group = self.groups.size
        self.seed = widgets.IntText(description="Seed", tooltip=GLOSSARY["seed"], layout=_full())
        self.by_hand = {
            name: widgets.Text(
                description=verb, tooltip=GLOSSARY[f"{verb.lower()} by hand"],
                placeholder="channels by hand, such as 3, 7-9",
                continuous_update=False, layout=_full(),
            )
            for name, verb in zip(BY_HAND, ("Keep", "Prune"), strict=True)
        }  # fmt: skip
        self.units = widgets.Text(
            description="Units", tooltip=GLOSSARY["units"], continuous_update=False, layout=_full()
        )
        self.by_hand_fold = widgets.ToggleButton(
            description="By hand", tooltip=GLOSSARY["by hand"], layout=_full()
        )
        self.hear(self.by_hand_fold, lambda _pressed: self._fold(self.state.snapshot))

    def _fold(self, snapshot: Snapshot) -> None:
        """Show the channels by hand if the fold is open, or if there are any."""
        said = any(snapshot.message(name) for name in (*BY_HAND, "units"))
        show(self._by_hand_rows, self.by_hand_fold.value or bool(snapshot.preview.spec.by_hand) or said)

    def _rows(self) -> list[widgets.Widget]:
        groups: list[tuple[str, list[widgets.Widget]]] = [
            ("model", [self.model]),
            ("layer", [self.layers.search, self.layers.found, self.layers.group, self.layer]),
            ("method", [self.method]),
            ("criterion", [self.criterion]),
            ("n", [self.n, self.other_n]),
            ("group", [self.groups.patterns, self.groups.fits, self.group]),
            ("dim", [self.dim]),
            ("seed", [self.seed]),
        ]
        rows = [row for name, group in groups for row in (*group, self.messages[name])]
        by_hand = [row for name, text in self.by_hand.items() for row in (text, self.messages[name])]
        by_hand += [self.units, self.messages["units"]]
        self._by_hand_rows = widgets.VBox(by_hand).add_class("ps-controls")
        return [*rows, self.by_hand_fold, self._by_hand_rows]

    def _amount_row(self) -> widgets.VBox:
        amounts = [self.scope, self.amount_kind, self.amount, self.percent_slider, self.count_slider]
        row = widgets.Box(amounts).add_class("ps-amount-row")
        return widgets.VBox([row, self.messages["scope"], self.messages["amount"]]).add_class("ps-amount")

    def _watch(self) -> None:
        asks: list[tuple[widgets.Widget, str]] = [
            (self.model, "model"),
            (self.layer, "layer"),
            (self.method, "method"),
            (self.scope, "scope"),
            (self.other_n, "n"),
            (self.dim, "dim"),
            (self.seed, "seed"),
            *((text, name) for name, text in self.by_hand.items()),
        ]
        for widget, name in asks:
            self.hear(widget, partial(self._ask, name))
        self.hear(self.units, self._prune_units)
        self.hear(self.layers.search, self._search)
        self.hear(self.layers.group, self._open_group)
        self.hear(self.amount, self._ask_for_amount)
        self.hear(self.percent_slider, lambda percent: self._ask("amount", percent / 100))
        self.hear(self.count_slider, partial(self._ask, "amount"))
        self.hear(self.amount_kind, self._switch_amount)
        self.hear(self.criterion, self.state.choose_criterion)
        self.hear(self.group, lambda size: self._ask("group", size or None))
        self.hear(self.groups.patterns, self._ask_for_pattern)
        self.hear(self.n, lambda n: self._ask("n", _FIRST_OTHER_NORM if n == OTHER_NORM else n))

    def _ask(self, name: str, value: Any) -> None:
        self.state.request(**{name: value})

    def _ask_for_pattern(self, pattern: Pattern | None) -> None:
        if pattern is not None:
            self.state.request(**pattern.asks)

    def _switch_amount(self, kind: str) -> None:
        snapshot = self.state.snapshot
        self._ask("amount", snapshot.amount_as_count if kind == "count" else snapshot.amount_as_fraction)

    def _search(self, _words: str) -> None:
        """List what matches; nothing is asked for until a layer is chosen."""
        with self.writing():
            self.layers.list_again()

    def _prune_units(self, text: str) -> None:
        """Prune the hidden units or heads that a person lists, as a step."""
        if text.strip():
            self.state.act(partial(actions.prune_units, units=text), "units")
        with self.writing():
            self.units.value = ""

    def _open_group(self, group: str) -> None:
        with self.writing():
            first = self.layers.first_of(group)
        self._ask("layer", first)

    def _ask_for_amount(self, value: float) -> None:
        """Ask for a count where counts are shown; the page has one kind of number, the engine two."""
        counted = self.amount_kind.value == "count" and float(value).is_integer()
        self._ask("amount", int(value) if counted else value)

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Hide some controls and lock others, by the names of `PruneSpec`'s fields and ``"model"``.

        What was hidden is shown again with the next call that does not name it; `render` follows. The size of
        a group is hidden with ``dim``, which its groups run along.
        """
        self._locked = lock
        hide |= {"group"} if "dim" in hide else set()
        for name, controls in self._named.items():
            for holder in [self.amount_widget] if name == "amount" else controls:
                html.hide(holder, name in hide)
        html.hide(self.by_hand_fold, hide.issuperset(BY_HAND))
        for each in (self.groups.patterns, self.groups.fits):
            html.hide(each, bool(hide & _PATTERN))

    def render(self, snapshot: Snapshot) -> None:
        """Show ``snapshot``."""
        with self.writing():
            self._render_choices(snapshot)
            self._render_amount(snapshot)
            self._render_norm(snapshot)
        self._enable(snapshot)
        self._fold(snapshot)
        for name, beside in self.messages.items():
            say(beside, snapshot.message(name), problem=snapshot.problem is not None)

    def _render_choices(self, snapshot: Snapshot) -> None:
        spec = snapshot.preview.spec
        self._set_options(self.model, [(title, key) for key, title in snapshot.models.items()])
        show(self.model, len(snapshot.models) > 1)
        self.layers.render(spec.layer, snapshot.layers)
        self._set_options(self.dim, _dims(snapshot.preview))
        html.explain(self.dim, GLOSSARY["group dim" if snapshot.preview.method.groups else "dim"])
        self.groups.render(snapshot.preview)
        self.model.value = snapshot.model
        self.method.value = spec.method
        html.explain(self.method, option("method", spec.method))
        scope = snapshot.scope.text
        self._set_options(self.scope, scope_choices(snapshot.layers, snapshot.preview.tensor.name, scope))
        self.scope.value = scope
        show(self.scope, len(self.scope.options) > 1)
        self.dim.value = spec.dim
        self.seed.value = spec.seed
        self._set_options(self.criterion, _criteria(snapshot))
        self.criterion.value = snapshot.waits_for or spec.criterion
        html.explain(self.criterion, CRITERIA[self.criterion.value].says)
        for name, text in self.by_hand.items():
            text.value = channels_text(getattr(spec, name))

    def _set_options(self, dropdown: widgets.Dropdown, options: list[tuple[str, Any]]) -> None:
        if list(dropdown.options) != options:
            dropdown.options = options

    def _render_amount(self, snapshot: Snapshot) -> None:
        preview = snapshot.preview
        amount = preview.spec.amount
        counted = isinstance(amount, int)
        self._set_options(
            self.amount_kind, [("a fraction, 0 to 1", "fraction"), (_count_label(snapshot), "count")]
        )
        self.amount_kind.value = "count" if counted else "fraction"
        self.amount.step = 1 if counted else 0.01
        self.amount.value = amount
        if isinstance(amount, int):
            _move_slider(self.count_slider, max(preview.most, 1), amount)
        else:
            _move_slider(self.percent_slider, 100, round(100 * amount))
        show(self.count_slider, counted)
        show(self.percent_slider, not counted)

    def _render_norm(self, snapshot: Snapshot) -> None:
        n = snapshot.preview.spec.n
        listed = any(n == value for _, value in NORMS)
        self.n.value = n if listed else OTHER_NORM
        html.explain(self.n, option("norm", n))
        self.other_n.value = "" if listed else str(n)

    def _enable(self, snapshot: Snapshot) -> None:
        """Enable and show the parameters that this method uses; hide the others."""
        uses = snapshot.preview.method.uses
        for name, controls in self._named.items():
            for control in controls:
                if control is not self.layers.found:
                    unused = "the method does not use it." if name in _KNOBS - uses else ""
                    html.enable(control, html.LOCKED if name in self._locked else unused)
        for name in _KNOBS:
            show(getattr(self, name), name in uses)
        html.enable(self.groups.patterns, html.LOCKED if self._locked & _PATTERN else "")
        show(self.units, snapshot.units is not None)
        html.enable(self.units, html.LOCKED if self._locked & {"steps", *BY_HAND} else "")
        if snapshot.units is not None:
            self.units.placeholder = f"{snapshot.units.kind} as one step, such as 3, 7-9"
        show(self.other_n, "n" in uses and self.n.value == OTHER_NORM)


def _move_slider(slider: widgets.IntSlider, top: int, value: int) -> None:
    """Set a slider's range and value, so that neither side ever sees a value beyond its range.

    The page clamps such a value and sends the result back as if the user had moved the slider.
    """
    slider.min = 0
    slider.max = max(slider.max, top)
    slider.value = value
    slider.max = top


def _full() -> widgets.Layout:
    return widgets.Layout(width="auto")


def _dropdown(description: str, options: Sequence[tuple[str, Any]], term: str = "") -> widgets.Dropdown:
    return widgets.Dropdown(
        description=description, options=list(options), tooltip=GLOSSARY.get(term, ""), layout=_full()
    )


def _dims(preview: Preview) -> list[tuple[str, Dim]]:
    """Return the axes to choose from; where groups run along them, all of a row's as well."""
    tensor = preview.tensor
    axes = range(len(tensor.shape))
    if not preview.method.groups:
        return [(tensor.dim_label(dim), dim) for dim in axes]
    options: list[tuple[str, Dim]] = [(tensor.dim_label(dim), (dim,)) for dim in axes]
    rows, chosen = row_axes(tensor), preview.spec.dim
    if len(rows) > 1:
        options.insert(0, (_axes_label(tensor, rows), rows))
    if isinstance(chosen, tuple) and chosen not in [dim for _, dim in options]:
        options.append((_axes_label(tensor, chosen), chosen))
    return options


def _axes_label(tensor: PrunableTensor, axes: tuple[int, ...]) -> str:
    length = math.prod(tensor.shape[axis] for axis in axes)
    return f"{', '.join(map(str, axes))} · {axes_text(tensor, axes)} ({length:,})"


def _criteria(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Return the criteria to choose from; one that cannot be chosen is marked, and says why when it is."""
    reasons = snapshot.criteria
    return [
        (f"{each.title} (not here)" if reasons.get(key) else each.title, key)
        for key, each in CRITERIA.items()
    ]


def _count_label(snapshot: Snapshot) -> str:
    return f"a count of {snapshot.preview.count_name}"
