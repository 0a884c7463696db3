"""The state as an address: what the dashboard shows, in the query of its link, and back.

A link comes from anywhere, so everything in it is checked as a person's typing is; one that does not fit
changes nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from prunescope.errors import RequestError
from prunescope.explorer.snapshot import Snapshot
from prunescope.spec import FIELDS, PruneSpec, parse_norm
from prunescope.takeaway.plan import spec_of, step_values

CONTROLS = ("model", "layer", "method", "amount", "n", "dim", "seed", "steps")
"""What a link may set, hide or lock."""

HIDEABLE = (*CONTROLS, "view", "takeaway")
"""What can be hidden: the controls, those of the pictures, and what can be taken home."""

LIMIT = 100_000
"""Characters of a query, and of what it may unpack to."""


@dataclass(frozen=True)
class Link:
    """What a link asks for.

    Attributes:
        changes: Fields of `PruneSpec`, and ``model``, as `Explorer.request` takes them.
        steps: What the steps ask, oldest first; None when the link says nothing of steps.
        hide: What is not to be shown, some of `HIDEABLE`.
        lock: Controls that are shown and cannot be moved.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    steps: list[PruneSpec] | None = None
    hide: frozenset[str] = frozenset()
    lock: frozenset[str] = frozenset()


def to_query(snapshot: Snapshot, hide: frozenset[str], lock: frozenset[str]) -> str:
    """Return the query of a link that shows ``snapshot`` again; ``amount`` keeps its type.

    Steps that were undone are not in it.
    """
    spec = snapshot.preview.spec
    values: dict[str, str] = {"model": snapshot.model}
    values |= {name: _text(getattr(spec, name)) for name in FIELDS}
    if snapshot.history.done:
        steps = [step_values(step) for step in snapshot.history.done]
        values["steps"] = json.dumps(steps, separators=(",", ":"), allow_nan=False)
    values |= {name: ",".join(sorted(these)) for name, these in {"hide": hide, "lock": lock}.items() if these}
    return urlencode(values)


def _text(value: object) -> str:
    return repr(value) if isinstance(value, float) and math.isfinite(value) else str(value)


def from_query(query: str) -> Link:
    """Return what the query of a link asks for; parameters that are not ours are passed over.

    Args:
        query: What follows the ``?`` of an address, such as ``"layer=fc.weight&amount=0.5"``.

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
    changes = {name: _READ[name](name, values[name]) for name in _READ if name in values}
    return Link(
        changes,
        _steps(values["steps"]) if "steps" in values else None,
        controls("hide", values.get("hide", "")),
        controls("lock", values.get("lock", "")),
    )


def controls(parameter: str, names: object) -> frozenset[str]:
    """Return the controls that ``names`` lists: a sequence of names, or one string with commas.

    Args:
        parameter: ``"hide"`` or ``"lock"``.
        names: Some of `HIDEABLE` or of `CONTROLS`.

    Raises:
        RequestError: One of them is not.
    """
    allowed = HIDEABLE if parameter == "hide" else CONTROLS
    listed = names.split(",") if isinstance(names, str) else list(names)  # type: ignore[call-overload]
    found = {name.strip() if isinstance(name, str) else name for name in listed} - {""}
    for name in found:
        if name not in allowed:
            raise RequestError(
                parameter, f"`{parameter}` must list some of {', '.join(allowed)}, got {name!r}."
            )
    return frozenset(found)


def _name(_parameter: str, text: str) -> str:
    return text


def _whole(parameter: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise RequestError(parameter, f"`{parameter}` must be a whole number, got {text[:40]!r}.") from None


def _amount(parameter: str, text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise RequestError(
            parameter, f"`amount` must be a float in [0, 1] or a count ≥ 0, got {text[:40]!r}."
        ) from None


def _order(_parameter: str, text: str) -> object:
    return parse_norm(text)


_READ = {
    "model": _name,
    "layer": _name,
    "method": _name,
    "amount": _amount,
    "n": _order,
    "dim": _whole,
    "seed": _whole,
}


def _steps(text: str) -> list[PruneSpec]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise RequestError("steps", "`steps` must be a JSON list of steps.")
    return [spec_of(values) for values in listed]
