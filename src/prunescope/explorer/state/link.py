"""The state as a link: encode the dashboard's state in the query of its URL, and parse it back.

A link can come from anywhere, so everything in it is checked like typed input; an invalid link changes
nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from prunescope.core.channels import channels_text, parse_channels
from prunescope.core.criteria import WEIGHT, parse_criterion
from prunescope.core.errors import RequestError
from prunescope.core.knobs import KNOBS, link_text, parse_amount
from prunescope.core.spec import BY_HAND, FIELDS
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.export.plan import spec_of
from prunescope.figures import VIEW_CHOICES, View
from prunescope.measure.compare import Choice, Comparing
from prunescope.network import GoalSpec, Scope
from prunescope.network.asked import HOW
from prunescope.session.history import Asked, History

CONTROLS = ("model", *FIELDS, "scope", "steps")
"""Controls that a link may set, hide or lock."""

HIDEABLE = (*CONTROLS, "view")
"""What can be hidden besides the panels: the controls, and the controls of the pictures."""

_RENAMED = {"takeaway": "export"}
"""Former names, so that old links still open."""

_SHOWN = HOW
"""Fields of a goal that a link leaves out: they follow the displayed spec."""

LIMIT = 100_000
"""Largest length of a query, in characters."""


@dataclass(frozen=True)
class Link:
    """The parsed contents of a link.

    Attributes:
        changes: Keyword arguments for `Explorer.request`.
        steps: Specs of the steps, oldest first; None if the link has no steps.
        plans: Specs of the steps of each saved plan, by name; None if the link has no plans.
        hide: Names to hide: controls or panels.
        lock: Controls that are visible but disabled.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    steps: list[Asked] | None = None
    plans: Mapping[str, list[Asked]] | None = None
    hide: frozenset[str] = frozenset()
    lock: frozenset[str] = frozenset()


def to_query(snapshot: Snapshot) -> str:
    """Return the query of a link that restores ``snapshot``; ``amount`` keeps its type.

    Undone steps are left out.
    """
    spec = snapshot.preview.spec
    values: dict[str, str] = {"model": snapshot.model}
    values |= {name: _text(name, getattr(spec, name)) for name in FIELDS if name not in BY_HAND}
    if spec.criterion == WEIGHT:
        del values["criterion"]
    if spec.group is None:
        del values["group"]
    values |= {name: channels_text(these) for name in BY_HAND if (these := getattr(spec, name))}
    if snapshot.scope.kind != "layer" and not snapshot.preview.method.pooled:
        values["scope"] = snapshot.scope.text
    if snapshot.history.done:
        values["steps"] = _json(_step_values(snapshot.history))
    if snapshot.plans:
        values["plans"] = _json({name: _step_values(kept) for name, kept in snapshot.plans.items()})
    if snapshot.view != View():
        values["view"] = _view_text(snapshot.view)
    if snapshot.comparing.shown:
        comparing = snapshot.comparing
        sides = [None if side is None else _side_values(side) for side in (comparing.a, comparing.b)]
        values["compare"] = _json(sides)
    if snapshot.front == "network":
        asked = {name: value for name, value in snapshot.network.goal.values().items() if name not in _SHOWN}
        values["goal"] = _json(asked)
    restricted = {"hide": snapshot.hide, "lock": snapshot.lock}
    values |= {name: ",".join(sorted(these)) for name, these in restricted.items() if these}
    return urlencode(values)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _step_values(history: History) -> list[dict[str, Any]]:
    return [step.spec.values() for step in history.done]


def _side_values(side: Choice) -> dict[str, Any]:
    """Return the fields of one side; an infinite norm becomes text, since JSON has no infinity."""
    values = side.values
    if isinstance(values.get("n"), float) and math.isinf(values["n"]):
        values["n"] = str(values["n"])
    return values


def _view_text(view: View) -> str:
    """Return the non-default values of ``view``, such as ``"heatmap:weights,scale:log"``."""
    usual = vars(View())
    return ",".join(f"{name}:{value}" for name, value in vars(view).items() if value != usual[name])


def _text(name: str, value: object) -> str:
    return KNOBS[name].text(value) if name in KNOBS else link_text(value)


def from_query(query: str, panels: Sequence[str] = ()) -> Link:
    """Parse the query of a link; unknown parameters are ignored.

    Args:
        query: The part after the ``?`` of a URL, such as ``"layer=fc.weight&amount=0.5"``.
        panels: Names of the panels, which a link can hide.

    Raises:
        RequestError: A value cannot be read; ``error.parameter`` names it.

    Example:
        >>> from_query("amount=1.0&hide=seed,n").changes
        {'amount': 1.0}
        >>> from_query("amount=1").changes
        {'amount': 1}
    """
    if len(query) > LIMIT:
        raise RequestError("link", f"`link` must be at most {LIMIT:,} characters, got {len(query):,}.")
    values = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=100))
    changes = {_CHANGES.get(name, name): _READ[name](name, values[name]) for name in _READ if name in values}
    return Link(
        changes,
        _steps(values["steps"]) if "steps" in values else None,
        _plans(values["plans"]) if "plans" in values else None,
        controls("hide", values.get("hide", ""), panels),
        controls("lock", values.get("lock", "")),
    )


def controls(parameter: str, names: object, panels: Sequence[str] = ()) -> frozenset[str]:
    """Parse a list of controls: a sequence of names, or one comma-separated string.

    Args:
        parameter: ``"hide"`` or ``"lock"``.
        names: Names from `HIDEABLE` or ``panels`` to hide, or from `CONTROLS` to lock.
        panels: Names of the panels, which can be hidden as well.

    Raises:
        RequestError: A name is not allowed.
    """
    allowed = tuple(dict.fromkeys((*HIDEABLE, *panels))) if parameter == "hide" else CONTROLS
    listed = names.split(",") if isinstance(names, str) else list(names)  # type: ignore[call-overload]
    found = {name.strip() if isinstance(name, str) else name for name in listed} - {""}
    found = {_RENAMED.get(name, name) for name in found}
    for name in found:
        if name not in allowed:
            raise RequestError(
                parameter, f"`{parameter}` must list some of {', '.join(allowed)}, got {name!r}."
            )
    return frozenset(found)


def _name(_parameter: str, text: str) -> str:
    return text


def _knob(name: str, text: str) -> Any:
    return KNOBS[name].reads(text)


def _view(parameter: str, text: str) -> View:
    fields = dict(part.partition(":")[::2] for part in text.split(",") if part)
    if not fields.keys() <= VIEW_CHOICES.keys():
        allowed = ", ".join(VIEW_CHOICES)
        raise RequestError(parameter, f"`view` must list some of {allowed} with values, got {text[:40]!r}.")
    return View(**fields)


def _comparing(parameter: str, text: str) -> Comparing:
    sides = _unpacked(text)
    if not isinstance(sides, list) or len(sides) != 2 or sides[0] is None:
        raise RequestError(parameter, "`compare` must be a JSON list of two sides.")
    return Comparing(Choice.of(sides[0]), None if sides[1] is None else Choice.of(sides[1]), shown=True)


def _goal(parameter: str, text: str) -> GoalSpec:
    asked = _unpacked(text)
    if not isinstance(asked, dict) or asked.keys() & set(_SHOWN):
        raise RequestError(parameter, f"`goal` must be a JSON object of a goal's fields, got {text[:40]!r}.")
    return GoalSpec.of({**asked, "method": "ln_structured"})  # A placeholder method that allows every unit.


_READ: Mapping[str, Callable[[str, str], Any]] = {
    "model": _name,
    "layer": _name,
    "method": _name,
    "amount": lambda _name, text: parse_amount(text),
    **dict.fromkeys(KNOBS, _knob),
    "criterion": lambda _name, text: parse_criterion(text),
    **dict.fromkeys(BY_HAND, parse_channels),
    "scope": lambda _name, text: Scope.of(text),
    "view": _view,
    "compare": _comparing,
    "goal": _goal,
}

_CHANGES = {"compare": "comparing"}
"""Parameters of a link that `Explorer.request` takes under another name."""

PARAMETERS = (*_READ, "steps", "plans", "hide", "lock")
"""The query parameters that Prunescope reads."""


def _steps(text: str) -> list[Asked]:
    listed = _unpacked(text)
    if not isinstance(listed, list):
        raise RequestError("steps", "`steps` must be a JSON list of steps.")
    return [spec_of(values) for values in listed]


def _plans(text: str) -> dict[str, list[Asked]]:
    listed = _unpacked(text)
    if not isinstance(listed, dict) or not all(isinstance(steps, list) for steps in listed.values()):
        raise RequestError("plans", "`plans` must be a JSON object with a list of steps for each name.")
    return {name: [spec_of(values) for values in steps] for name, steps in listed.items()}


def _unpacked(text: str) -> Any:
    """Parse the JSON ``text``; None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
