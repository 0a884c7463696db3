"""Scores that a user gives: a tensor, a dict by name, or a function; and what makes scores sound."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from prunescope.core.criteria import Importance
from prunescope.core.errors import RequestError
from prunescope.core.tensor import PrunableTensor
from prunescope.measure.importance.places import Found, place
from prunescope.session import Session


def given_scores(given: object, session: Session) -> Found:
    """Return the scores that a user gives, by tensor.

    Args:
        given: A tensor for the first layer; a dict by full name; or a function of
            ``(module, name)`` that returns a tensor, or None for what it does not cover.
        session: Whose tensors they are for.

    Raises:
        RequestError: A score is no tensor, has another shape, or names nothing.
    """
    if isinstance(given, Tensor):
        names = [name for name, each in session.tensors.items() if len(each.shape) > 1] or list(
            session.tensors
        )
        given = {names[0]: given} if len(names) == 1 else {session.first_spec.layer: given}
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in session.tensors]
        if unknown:
            raise RequestError(
                "importance_scores", f"`importance_scores` names {unknown[0]!r}, which is not there."
            )
        found = {name: given.get(name) for name in session.tensors}
    elif callable(given):
        found = {name: given(*place(session.source.module, name)) for name in session.tensors}
    else:
        got = type(given).__name__
        raise RequestError(
            "importance_scores",
            f"`importance_scores` must be a tensor, a dict by name or a function, got {got}.",
        )
    return {name: _given(session.tensors[name], scores) for name, scores in found.items()}


def _given(tensor: PrunableTensor, scores: object) -> Importance | str:
    if scores is None:
        return "is not among the scores given"
    if not isinstance(scores, Tensor) or tuple(scores.shape) != tensor.shape:
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise RequestError(
            "importance_scores",
            f"`importance_scores` of {tensor.name} must have shape {tensor.shape}, got {got}.",
        )
    return sound(Importance(scores.detach().clone()))


def sound(found: Importance | str) -> Importance | str:
    """Return ``found``, or why it cannot be ranked."""
    if isinstance(found, str):
        return found
    every = [*([] if found.weights is None else [found.weights]), *found.channels.values()]
    if not all(bool(values.isfinite().all()) for values in every):
        return "has scores that are not finite: the model or its gradients hold NaN or infinity"
    if not any(bool(values.any()) for values in every):
        return "has scores that are all zero, which rank nothing"
    return found
