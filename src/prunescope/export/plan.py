"""Plans: the steps as JSON, which can be applied to another copy of the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prunescope.core.errors import RequestError
from prunescope.core.spec import PruneSpec
from prunescope.measure.importance import ensure_asked
from prunescope.session import Session, recovered, residuals, together
from prunescope.session.history import Asked, History

FORMAT = "prunescope-plan"
VERSION = 1
MAX_STEPS = 1000


def plan(session: Session, history: History | None = None) -> str:
    """Return the applied steps as JSON: the request for each tensor, and the tensors' shapes.

    Args:
        session: The session.
        history: A history of that session; None means its current one.

    Example:
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> session = Session(module_source(nn.Linear(4, 3)))
        >>> json.loads(plan(session))["steps"]
        []
    """
    done = (history or session.history).done
    names = {name for step in done for name in (step.spec.layer, *step.masks)}
    shapes = {name: list(tensor.shape) for name, tensor in session.tensors.items() if name in names}
    document = {
        "format": FORMAT,
        "version": VERSION,
        "tensors": shapes,
        "steps": [step.spec.values() for step in done],
    }
    return json.dumps(document, indent=2, allow_nan=False)


def load_plan(session: Session, text: str) -> None:
    """Apply the steps of a plan to the session's model, replacing the current steps.

    Args:
        session: The session; left unchanged if the plan does not fit.
        text: What `plan` returned, for this model or one with the same tensors.

    Raises:
        RequestError: ``text`` is not a plan, or some of its layers are not in the model or have another
            shape; the message names them.
    """
    document = _read(text)
    _check_tensors(session, document["tensors"])
    apply_specs(session, [spec_of(values) for values in document["steps"]])


def apply_specs(session: Session, specs: Sequence[Asked]) -> None:
    """Apply ``specs`` in order, replacing the session's steps; all of them or none.

    Raises:
        RequestError: One of them cannot be applied; the session is left unchanged.
    """
    before = session.history
    session.history = History()
    try:
        for number, spec in enumerate(specs, start=1):
            try:
                ensure_asked(session, spec)
                spec.apply_to(session)
            except RequestError as problem:
                raise RequestError("plan", f"`plan`: step {number} cannot be applied: {problem}") from None
    except BaseException:
        session.history = before
        raise


def _read(text: str) -> dict[str, Any]:
    wanted = "`plan` must be JSON that Prunescope saved"
    try:
        document = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise RequestError("plan", f"{wanted}: {error}.") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RequestError("plan", f'{wanted}, with "format": "{FORMAT}".')
    if document.get("version") != VERSION:
        raise RequestError(
            "plan", f"`plan` must be of version {VERSION}, got version {document.get('version')!r}."
        )
    steps, tensors = document.get("steps"), document.get("tensors")
    if not isinstance(steps, list) or not isinstance(tensors, dict) or len(steps) > MAX_STEPS:
        raise RequestError("plan", f'{wanted}: "tensors" maps names to shapes, "steps" lists at most 1000.')
    return document


def _check_tensors(session: Session, tensors: dict[str, Any]) -> None:
    wrong = []
    for name, shape in tensors.items():
        known = session.tensors.get(name)
        if known is None:
            wrong.append(f"{name} is not in this model")
        elif list(known.shape) != shape:
            wrong.append(f"{name} is {known.shape_text} here, {shape} in the plan")
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise RequestError("plan", f"`plan` is for another model: {'; '.join(wrong[:5])}{more}.")


KINDS: Mapping[object, Callable[[Mapping[str, Any]], Asked]] = {
    residuals.METHOD: residuals.Silence.of,
    together.METHOD: together.Together.of,
    recovered.METHOD: recovered.Recovered.of,
}
"""Parsers for steps other than the pruning of one tensor, by the name in place of their method."""


def spec_of(values: Any) -> Asked:
    """Return the spec that a step's ``values`` came from.

    Raises:
        RequestError: ``values`` is not a mapping of a step's fields.
    """
    method = values.get("method") if isinstance(values, dict) else None
    if isinstance(method, str) and method in KINDS:
        return KINDS[method](values)
    try:
        spec = PruneSpec(**values)
    except TypeError as error:
        raise RequestError("plan", f"`plan` contains an invalid step: {values!r}.") from error
    return spec.parsed()
