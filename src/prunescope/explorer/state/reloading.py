"""Replace a model with another of the same architecture, such as a retrained one, keeping steps and plans."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from prunescope.core.errors import RequestError
from prunescope.explorer.state.actions import make_plans
from prunescope.export.plan import apply_specs
from prunescope.session import Session
from prunescope.session.history import Asked, History
from prunescope.session.recovered import Recovered

MOST_NAMED = 3
"""Most tensors that a message names one by one."""


def reloaded(session: Session, model: nn.Module) -> tuple[Session, str]:
    """Return a session for ``model`` with the steps and plans of ``session`` applied again.

    Args:
        session: The session of the old model; left unchanged.
        model: The same architecture with other weights; read, never written.

    Returns:
        The new session, and a sentence about steps that could not be applied again, or "".

    Raises:
        RequestError: ``model`` is not a module, its tensors have other names or shapes, or a step cannot be
            applied to it.
    """
    before = session.source.module
    if not isinstance(model, nn.Module):
        raise RequestError("model", f"`model` must be a torch.nn.Module, got {type(model).__name__}.")
    differences = _differences(_shapes(before), _shapes(model))
    if differences:
        more = f" and {len(differences) - MOST_NAMED} more" if len(differences) > MOST_NAMED else ""
        raise RequestError(
            "model",
            f"`model` must be of the same architecture: {'; '.join(differences[:MOST_NAMED])}{more}.",
        )
    again = Session(replace(session.source, model=model))
    make_plans(again, {name: _plain(kept) for name, kept in session.plans.items()})
    apply_specs(again, _plain(session.history))
    done = len([step for step in session.history.done if not isinstance(step.spec, Recovered)])
    again.jump(done)
    return again, _left_out(session.history)


def _plain(history: History) -> list[Asked]:
    """Return the specs of the steps, without those that gave the old model new weights."""
    return [step.spec for step in history.steps if not isinstance(step.spec, Recovered)]


def _left_out(history: History) -> str:
    calls = [step.title for step in history.steps if isinstance(step.spec, Recovered)]
    return f"Left out, since its weights were made for the other model: {', '.join(calls)}." if calls else ""


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {
        name.removesuffix("_orig"): tuple(value.shape) for name, value in named if not name.endswith("_mask")
    }


def _differences(before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]) -> list[str]:
    """Describe the differences between the shapes, one clause each."""
    missing = [f"{name} is missing" for name in before if name not in after]
    others = [
        f"{name} has shape {after[name]}, and had {shape}"
        for name, shape in before.items()
        if name in after and after[name] != shape
    ]
    return [*others, *missing, *(f"{name} was not there" for name in after if name not in before)]
