"""The acts on steps and plans: each changes a session, and says what is to be asked from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.spec import FIELDS, METHODS, PruneSpec
from prunescope.export import load_plan
from prunescope.export.plan import carry_out_specs
from prunescope.measure.costs.measuring import silencing
from prunescope.network import Allocation
from prunescope.session import Session
from prunescope.session.history import Asked
from prunescope.session.plans import Plans
from prunescope.session.together import Together

Act = Callable[[Session, Preview], Mapping[str, Any]]
"""Changes a session's history or plans, given what is shown; returns the fields of the spec to ask next."""


def apply(session: Session, preview: Preview) -> Mapping[str, Any]:
    """Make the preview a step."""
    if not preview.prunes:
        raise RequestError("steps", "`amount` prunes nothing here: there is no step to apply.")
    reach = preview.reach
    if reach is None:
        session.apply(preview)
    else:
        session.apply_together(Together(reach.title, reach.specs, reach.scope, preview.spec), preview)
    return _nothing(preview.spec)


def apply_allocation(session: Session, preview: Preview, allocation: Allocation) -> Mapping[str, Any]:
    """Make an allocation one step of all its layers."""
    if not allocation.specs:
        raise RequestError("goal", "`goal` prunes nothing: there is no step to apply.")
    session.apply_together(Together(allocation.title, allocation.specs))
    return _nothing(preview.spec)


def silence(session: Session, preview: Preview) -> Mapping[str, Any]:
    """Mask what the pruned output channels of the model still put out."""
    session.silence(silencing(session, preview.spec.layer))
    return {}


def undo(session: Session, preview: Preview) -> Mapping[str, Any]:
    """Take the last step back, and ask again what it asked."""
    session.undo()
    return {**_nothing(preview.spec), **_again(session.history.steps[session.history.position].spec)}


def redo(session: Session, preview: Preview) -> Mapping[str, Any]:
    """Carry the step that was taken back out again."""
    session.redo()
    return _after(session.history.done[-1].spec, preview)


def reset(session: Session, preview: Preview) -> Mapping[str, Any]:
    """Go back to the model as it was given."""
    session.reset()
    return _nothing(preview.spec)


def jump(session: Session, preview: Preview, position: int) -> Mapping[str, Any]:
    """Go to where the first ``position`` steps are carried out."""
    session.jump(position)
    return _after_all(session, preview)


def bring(session: Session, preview: Preview, text: str) -> Mapping[str, Any]:
    """Carry out the steps of a plan in place of those there are."""
    load_plan(session, text)
    return _after_all(session, preview)


def keep(session: Session, _preview: Preview, name: str) -> Mapping[str, Any]:
    """Keep the steps under a name."""
    session.plans = session.plans.keep(name, session.history)
    return {}


def rename(session: Session, _preview: Preview, old: str, new: str) -> Mapping[str, Any]:
    """Give a kept plan another name."""
    session.plans = session.plans.rename(old, new)
    return {}


def remove(session: Session, _preview: Preview, name: str) -> Mapping[str, Any]:
    """Forget a kept plan."""
    session.plans = session.plans.remove(name)
    return {}


def carry_out(session: Session, preview: Preview, name: str) -> Mapping[str, Any]:
    """Carry out the steps of a kept plan in place of those there are."""
    session.history = session.plans[name]
    return _after_all(session, preview)


def make_plans(session: Session, plans: Mapping[str, list[Asked]]) -> None:
    """Keep these plans in place of those there are; the steps stay as they are."""
    history, session.plans = session.history, Plans()
    for name, steps in plans.items():
        carry_out_specs(session, steps)
        session.plans = session.plans.keep(name, session.history)
    session.history = history


def _after_all(session: Session, preview: Preview) -> Mapping[str, Any]:
    done = session.history.done
    return _after(done[-1].spec, preview) if done else _nothing(preview.spec)


def _after(spec: Asked, preview: Preview) -> Mapping[str, Any]:
    """Return what to ask so that the step of ``spec`` is looked at and nothing more is pruned."""
    again = _again(spec)
    fields = {name: value for name, value in again.items() if name in FIELDS}
    return {**again, **_nothing(replace(preview.spec, **fields))}


def _again(spec: Asked) -> Mapping[str, Any]:
    """Return what to ask so that what ``spec`` asked is looked at again, in the scope it was asked of."""
    again = spec.again
    if "method" not in again or "scope" in again:
        return again
    return {**again, "scope": "global" if METHODS[again["method"]].pooled else "layer"}


def _nothing(spec: PruneSpec) -> Mapping[str, Any]:
    """Return what to ask so that nothing more is pruned, by the method or by hand."""
    return {"amount": 0 if isinstance(spec.amount, int) else 0.0, "keep_channels": (), "prune_channels": ()}


ACTS: Mapping[str, Act] = {"apply": apply, "undo": undo, "redo": redo, "reset": reset}
"""What the buttons do, by name."""
