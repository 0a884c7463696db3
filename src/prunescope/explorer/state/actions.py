"""The actions on steps and plans: each changes a session, and returns what to request next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prunescope.core.channels import parse_channels
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.spec import FIELDS, METHODS, PruneSpec
from prunescope.export import load_plan
from prunescope.export.plan import carry_out_specs
from prunescope.measure.costs.measuring import silencing
from prunescope.network import Allocation
from prunescope.recover import silence_what_can_be
from prunescope.session import Session
from prunescope.session.history import Asked
from prunescope.session.plans import Plans
from prunescope.session.together import Together
from prunescope.sources.units import find_units

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


def prune_units(session: Session, preview: Preview, units: int | Sequence[int] | str) -> Mapping[str, Any]:
    """Prune hidden units or heads whole, as one step: their rows in every tensor that has some.

    Args:
        session: The session.
        preview: What is shown; the units are those of its layer.
        units: Which of them, or text that lists them; a count is so many of the lowest norm.
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
    """Let ``work`` win back what pruning has cost, as the next step; what is shown stays asked for."""
    work(session)
    return {}


def make_ready(session: Session, preview: Preview, notes: list[str], quiet: bool) -> Mapping[str, Any]:
    """Make what is shown a step if it prunes, and then mask the residual output of pruned channels.

    Training would move what they still put out, and rely on it: they could not be cut out any more.

    Args:
        session: The session.
        preview: What is shown.
        notes: Takes in why a channel cannot be silenced, in a sentence.
        quiet: Whether pruned channels are silenced.
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
    """Redo the step that was undone last."""
    session.redo()
    return _after(session.history.done[-1].spec, preview)


def reset(session: Session, preview: Preview) -> Mapping[str, Any]:
    """Go back to the original model."""
    session.reset()
    return _nothing(preview.spec)


def jump(session: Session, preview: Preview, position: int) -> Mapping[str, Any]:
    """Go to where the first ``position`` steps are applied."""
    session.jump(position)
    return _after_all(session, preview)


def bring(session: Session, preview: Preview, text: str) -> Mapping[str, Any]:
    """Apply the steps of a plan in place of the current steps."""
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
    """Remove a kept plan."""
    session.plans = session.plans.remove(name)
    return {}


def carry_out(session: Session, preview: Preview, name: str) -> Mapping[str, Any]:
    """Apply the steps of a kept plan in place of the current steps."""
    session.history = session.plans[name]
    return _after_all(session, preview)


def make_plans(session: Session, plans: Mapping[str, list[Asked]]) -> None:
    """Replace the kept plans by these; the steps stay as they are."""
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
    if "method" not in again or "scope" in again:  # Masked residual output has a layer and no method.
        return again
    return {**again, "scope": "global" if METHODS[again["method"]].pooled else "layer"}


def _nothing(spec: PruneSpec) -> Mapping[str, Any]:
    """Return what to ask so that nothing more is pruned, by the method or by hand."""
    return {"amount": 0 if isinstance(spec.amount, int) else 0.0, "keep_channels": (), "prune_channels": ()}


ACTS: Mapping[str, Act] = {"apply": apply, "undo": undo, "redo": redo, "reset": reset}
"""What the buttons do, by name."""
