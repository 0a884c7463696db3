"""What the states of a session's model are worth: measured once each, on a copy of the model.

Held-out accuracy (``data=``) and a metric of the user's own (``evaluate=``) are two ways to a `Measure`; who
shows one does not ask which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.measure.effect import Effect
from prunescope.measure.evaluation import Accuracy, EvalCopy, pruned_copy
from prunescope.measure.metric import Measure, Metric, Metrics, evaluated, name_of
from prunescope.session import Session
from prunescope.session.history import Step, Variant
from prunescope.sources import Source

State = Preview | Variant | None
"""A preview, as if it were applied after the steps; a variant; None is the original model."""

ACCURACY = "Held-out accuracy"
"""What the metric of ``data=`` is called."""


def metric_name(source: Source) -> str:
    """Return what a model is judged by: held-out accuracy, the name of ``evaluate``, or "" for nothing."""
    if source.data is not None:
        return ACCURACY
    return "" if source.evaluate is None else name_of(source.evaluate)


def known(session: Session, what: State = None) -> Measure | None:
    """Return what a state of the model was measured to be worth, else None."""
    found: Measure | None = session.worth(what)
    return found


def known_of_steps(session: Session) -> dict[Step, Measure]:
    """Return what the model is worth after each step that was measured, all before it applied."""
    return session.worth_of_steps()


def known_metric(session: Session, what: State, problem: str = "") -> Metric | None:
    """Return what is known of the metric before and after; None for a model that has none."""
    name = metric_name(session.source)
    return Metric(name, known(session), known(session, what), problem) if name else None


def metric_before(session: Session) -> Metric | None:
    """Return the metric of a model whose state is not looked up yet: only what it was worth as given."""
    name = metric_name(session.source)
    return Metric(name, known(session)) if name else None


def known_accuracy(session: Session, what: State = None) -> Accuracy | None:
    """Return the accuracy of a state of the model if it has been measured, else None."""
    found = known(session, what)
    return found if isinstance(found, Accuracy) else None


def accuracy(session: Session, what: State = None) -> Accuracy:
    """Return the held-out accuracy; measured once for as long as the model and the state are the same.

    Raises:
        RequestError: There is no data, or the model cannot be run on it.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> data = torch.eye(2), torch.tensor([0, 1])
        >>> session = Session(module_source(nn.Linear(2, 2), data))
        >>> accuracy(session).total
        2
    """
    for _ in evaluate(session, what):
        pass
    found = known_accuracy(session, what)
    if found is None:
        raise RequestError("data", "`data` must be given to measure accuracy.")
    return found


def evaluate(session: Session, what: State = None) -> Iterator[Accuracy | None]:
    """Yield the held-out accuracy counted so far, batch by batch; the last one is the whole.

    None comes while examples are read, once. Nothing comes where it is known, or there is no data.

    Raises:
        RequestError: The model cannot be run on the data, answers in another form, or changed meanwhile.
    """
    if session.source.data is None or known_accuracy(session, what) is not None:
        return
    _refuse_old(session, what, "data")
    variant, start = session.variant(what), session.model_state()
    for _ in session.source.read():
        yield None
    data = session.source.pair
    assert data is not None
    for counted in eval_copy(session).evaluate(*data, session.weights(variant)):
        if session.model_state() != start:
            raise _changed("data")
        if counted.total == len(data[1]):
            session.keep_worth(variant, counted)
        yield counted


def eval_copy(session: Session) -> EvalCopy:
    """Return a copy of the network as it is now, to run in its place.

    Raises:
        RequestError: The model is a checkpoint, or cannot be copied.
    """
    kept = session.findings  # Empty once the model has changed: the old one is freed before.
    if "evaluation copy" not in kept:
        kept["evaluation copy"] = EvalCopy(session.source.module)
    found: EvalCopy = kept["evaluation copy"]
    return found


def effect(session: Session, what: State = None) -> Effect | None:
    """Return what a state of the model changes in its answers to the data, if both were measured."""
    before, after = known_accuracy(session), known_accuracy(session, what)
    if session.source.pair is None or before is None or after is None:
        return None
    return Effect(*session.source.pair, before, after, session.source.classes)


@dataclass(frozen=True)
class Question:
    """What the user's function is asked.

    Attributes:
        ask: Calls it and returns its answer, or raises a `RequestError`; may be run in any thread.
        keep: Takes the answer down, in the thread of the session; raises if the model has changed since.
    """

    ask: Callable[[], Metrics]
    keep: Callable[[Metrics], None]


def question(session: Session, what: State = None) -> Question:
    """Return a call of ``evaluate`` on a copy of the model in a state of it.

    Raises:
        RequestError: There is no such function, the model cannot be copied, or has changed.
    """
    function = session.source.evaluate
    if function is None:
        raise RequestError("evaluate", "`evaluate` must be given to be asked.")
    _refuse_old(session, what, "evaluate")
    variant, start = session.variant(what), session.model_state()
    try:
        model = pruned_copy(session.source.module, variant.masks, variant.values)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RequestError("evaluate", f"`evaluate` cannot be called: {reason}") from error

    def keep(answer: Metrics) -> None:
        if session.model_state() != start:
            raise _changed("evaluate")
        session.keep_worth(variant, answer)

    return Question(partial(evaluated, function, model), keep)


def _refuse_old(session: Session, what: State, blame: str) -> None:
    if session.is_old(what):
        raise _changed(blame)


def _changed(blame: str) -> RequestError:
    return RequestError(blame, f"`{blame}` was not evaluated: the model has changed since. Move a control.")
