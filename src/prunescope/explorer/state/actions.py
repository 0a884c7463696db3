"""Actions on steps and plans: each changes a session and returns the spec fields to request next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prunescope.core.channels import parse_channels
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.spec import FIELDS, METHODS, PruneSpec
from prunescope.export import load_plan
from prunescope.export.plan import apply_specs
from prunescope.measure.costs.measuring import silencing
from prunescope.network import Allocation
from prunescope.recover import silence_what_can_be
from prunescope.session import Session
from prunescope.session.history import Asked
from prunescope.session.plans import Plans
from prunescope.session.together import Together
from prunescope.sources.units import find_units

Act = Callable[[Session, Preview], Mapping[str, Any]]
"""Changes a session's history or plans, given the displayed preview; returns spec fields to request next."""


def apply(session: Session, preview: Preview) -> Mapping[str, Any]:
    """Apply the preview as a step."""
    if not preview.prunes:
        raise RequestError("steps", "`amount` prunes nothing here: there is no step to apply.")
    reach = preview.reach
    if reach is None:
        session.apply(preview)
    else:
        session.apply_together(Together(reach.title, reach.specs, reach.scope, preview.spec), preview)
    return _nothing(preview.spec)


def apply_allocation(session: Session, preview: Preview, allocation: Allocation) -> Mapping[str, Any]:
    """Apply an allocation as one step on all its layers."""
    if not allocation.specs:
        raise RequestError("goal", "`goal` prunes nothing: there is no step to apply.")
    session.apply_together(Together(allocation.title, allocation.specs))
    return _nothing(preview.spec)


def prune_units(session: Session, preview: Preview, units: int | Sequence[int] | str) -> Mapping[str, Any]:
    """Prune whole hidden units or heads as one step: their rows in every tensor that has any.

    Args:
        session: The session.
        preview: The displayed preview; the units are those of its layer.
        units: Their indices, or text that lists them; a count means that many with the lowest norm.
    """
    tensor = preview.tensor.name
    found = find_units(session.source.module, tensor)
    if found is None:
        raise RequestError(
            "units", f"`units`: each row of {tensor} stands for itself, so that none go together."
        )
    if isinstance(units, int):
        weights = {name: session.tensor(name).effective for name in found.tensors}
        chosen = tuple(found.weakest(units, weights))
    else:
        chosen = parse_channels("units", units)
    rows = found.rows_of(chosen)
    specs = [
        PruneSpec(name, "ln_structured", 0, dim=0, prune_channels=rows)
        if name in session.tensors and len(session.tensors[name].shape) > 1
        else PruneSpec(name, "l1_unstructured", 0, dim=0, prune_channels=rows)
        for name in found.tensors
        if name in session.tensors
    ]
    session.apply_together(Together(found.title(chosen), tuple(specs)))
    return _nothing(preview.spec)


def silence(session: Session, preview: Preview) -> Mapping[str, Any]:
    """Mask the residual output of the pruned channels of the model."""
    session.silence(silencing(session, preview.spec.layer))
    return {}


def recover(session: Session, preview: Preview, work: Callable[[Session], object]) -> Mapping[str, Any]:
    """Run ``work``, which applies a recovery as the next step; the displayed spec stays."""
    work(session)
    return {}


def make_ready(session: Session, preview: Preview, notes: list[str], quiet: bool) -> Mapping[str, Any]:
    """Prepare for recovery: apply the preview if it prunes, then mask the residual output of pruned channels.

    Training would change that output and rely on it, so that the channels could no longer be cut out.

    Args:
        session: The session.
        preview: The displayed preview.
        notes: Collects why channels cannot be masked, as sentences.
        quiet: Whether to mask residual outputs.
    """
    changes: Mapping[str, Any] = {}
    if preview.pruned_units:
        session.apply(preview)
        changes = _nothing(preview.spec)
    if not session.history.done:
        raise RequestError("recover", "`recover` wins back what pruning has cost, and nothing is pruned yet.")
    if quiet:
        notes.append(silence_what_can_be(session, preview.spec.layer))
    return changes


def undo(session: Session, preview: Preview) -> Mapping[str, Any]:
    """Undo the last step, and request its settings again."""
    session.undo()
    return {**_nothing(preview.spec), **_again(session.history.steps[session.history.position].spec)}


def redo(session: Session, preview: Preview) -> Mapping[str, Any]:
    """Redo the last undone step."""
    session.redo()
    return _after(session.history.done[-1].spec, preview)


def reset(session: Session, preview: Preview) -> Mapping[str, Any]:
    """Go back to the original model."""
    session.reset()
    return _nothing(preview.spec)


def jump(session: Session, preview: Preview, position: int) -> Mapping[str, Any]:
    """Move to the point in the history where the first ``position`` steps are applied."""
    session.jump(position)
    return _after_all(session, preview)


def bring(session: Session, preview: Preview, text: str) -> Mapping[str, Any]:
    """Apply the steps of a plan in place of the current steps."""
    load_plan(session, text)
    return _after_all(session, preview)


def keep(session: Session, _preview: Preview, name: str) -> Mapping[str, Any]:
    """Save the steps as a plan."""
    session.plans = session.plans.keep(name, session.history)
    return {}


def rename(session: Session, _preview: Preview, old: str, new: str) -> Mapping[str, Any]:
    """Rename a saved plan."""
    session.plans = session.plans.rename(old, new)
    return {}


def remove(session: Session, _preview: Preview, name: str) -> Mapping[str, Any]:
    """Remove a saved plan."""
    session.plans = session.plans.remove(name)
    return {}


def apply_plan(session: Session, preview: Preview, name: str) -> Mapping[str, Any]:
    """Apply the steps of a saved plan in place of the current steps."""
    session.history = session.plans[name]
    return _after_all(session, preview)


def make_plans(session: Session, plans: Mapping[str, list[Asked]]) -> None:
    """Replace the saved plans with these; the steps stay unchanged."""
    history, session.plans = session.history, Plans()
    for name, steps in plans.items():
        apply_specs(session, steps)
        session.plans = session.plans.keep(name, session.history)
    session.history = history


def _after_all(session: Session, preview: Preview) -> Mapping[str, Any]:
    done = session.history.done
    return _after(done[-1].spec, preview) if done else _nothing(preview.spec)


def _after(spec: Asked, preview: Preview) -> Mapping[str, Any]:
    """Return the fields that display the step of ``spec`` and prune nothing more."""
    again = _again(spec)
    fields = {name: value for name, value in again.items() if name in FIELDS}
    return {**again, **_nothing(replace(preview.spec, **fields))}


def _again(spec: Asked) -> Mapping[str, Any]:
    """Return the fields that request ``spec`` again, in its scope."""
    again = spec.again
    if "method" not in again or "scope" in again:  # Masked residual output has a layer and no method.
        return again
    return {**again, "scope": "global" if METHODS[again["method"]].pooled else "layer"}


def _nothing(spec: PruneSpec) -> Mapping[str, Any]:
    """Return the fields that prune nothing more, neither by the method nor by hand."""
    return {"amount": 0 if isinstance(spec.amount, int) else 0.0, "keep_channels": (), "prune_channels": ()}


ACTS: Mapping[str, Act] = {"apply": apply, "undo": undo, "redo": redo, "reset": reset}
"""What the buttons do, by name."""
