"""Compare recoveries of the same pruned model side by side, and say why one is not possible."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunescope.core.errors import RequestError
from prunescope.measure import Measure
from prunescope.measure.costs.measuring import emissions
from prunescope.measure.states import known
from prunescope.recover.batchnorm import Reestimation
from prunescope.recover.finetune import FineTuning
from prunescope.session import Session
from prunescope.session.history import Step, Variant
from prunescope.session.recovered import Recovered
from prunescope.session.residuals import Silence

PRUNED, REESTIMATED, FINE_TUNED = "pruned", "re-estimated", "fine-tuned"
"""The states that are compared side by side."""

NO_TRAIN = "Give `train=` to `explore`: nothing is ever trained on `data`."
"""Why recovery is not possible without training data."""

_KEPT = "recovered"
"""Key in a session's findings for the steps that led to each state."""


def kept(session: Session, work: FineTuning | Reestimation) -> Step:
    """Apply the result of ``work`` as the session's next step, record it for `outcomes`, and return the step.

    Raises:
        RequestError: There is no result, or the steps have changed since ``work`` began.
    """
    pruned, step = _pruned(session), work.keep()
    name = FINE_TUNED if isinstance(work, FineTuning) else REESTIMATED
    session.findings.setdefault((_KEPT, pruned), {})[name] = session.history.done
    return step


def _pruned(session: Session) -> tuple[Step, ...]:
    """Return the applied steps without the recoveries at the end."""
    done = session.history.done
    while done and isinstance(done[-1].spec, Recovered):
        done = done[:-1]
    return done


def outcomes(session: Session) -> Mapping[str, Measure]:
    """Return the known metric of the pruned model and of each recovery of it, by state."""
    pruned = _pruned(session)
    states = {PRUNED: pruned, **session.findings.get((_KEPT, pruned), {})}
    found = {}
    for name, steps in states.items():
        measure = known(session, Variant(key=steps))
        if measure is not None and pruned:
            found[name] = measure
    return found


def reasons(session: Session) -> Mapping[str, str]:
    """Return why each kind of recovery is not possible, by the name of its function; "" if it is.

    Example:
        >>> from prunescope.sources import demo_source
        >>> reasons(Session(demo_source("mlp")))["reestimate_batchnorm"]
        'This model has no batch-norm that keeps statistics.'
    """
    source = session.source
    if not isinstance(source.model, nn.Module):
        why = "A checkpoint has weights and no network that could be run."
        return {"fine_tune": why, "reestimate_batchnorm": why}
    given = "" if source.train is not None else NO_TRAIN
    norms = any(isinstance(m, _BatchNorm) and m.running_mean is not None for m in source.model.modules())
    frozen = not any(parameter.requires_grad for parameter in source.model.parameters())
    return {
        "fine_tune": "No parameter of this model has requires_grad." if frozen else given,
        "reestimate_batchnorm": given if norms else "This model has no batch-norm that keeps statistics.",
    }


def silence_what_can_be(session: Session, layer: str) -> str:
    """Mask the residual output of pruned channels as a step; return why some cannot be masked, or "".

    Nothing happens if there is no residual output, or no whole channel is pruned.
    """
    try:
        *_, seen = emissions(session, session.applied)
    except RequestError as problem:
        return f"Pruned channels were not silenced: {str(problem).rstrip('.')}."
    channels = {name: each.channels for each in seen or () for name in each.silenced_by}
    if channels:
        weights = [f"{each.layer}.weight".removeprefix(".") for each in seen or () if each.silenced_by]
        session.silence(Silence(layer if layer in weights else weights[0], channels))
    loud = [f"{each.layer}, since {each.why_not}" for each in seen or () if each.why_not and each.value]
    return f"Not silenced: the pruned channels of {'; '.join(loud)}." if loud else ""
