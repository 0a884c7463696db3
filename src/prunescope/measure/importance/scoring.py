"""Computes the scores of a criterion a batch at a time, and hands them to the session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from prunescope.core.criteria import CRITERIA, WEIGHT
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.resolve import Resolved
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.measure.importance.given import given_scores, sound
from prunescope.measure.importance.gradients import Fisher, Taylor
from prunescope.measure.importance.running import Collector, Loss, cross_entropy
from prunescope.measure.importance.watching import Activation, BatchNorm, Wanda
from prunescope.session import Session
from prunescope.sources import copy_of
from prunescope.sources.inputs import rows_of

BATCH = 64
"""Examples in a batch, where the data are tensors."""


def scored_preview(session: Session, resolved: Resolved, place: int = 0) -> Preview:
    """Return `Session.preview`, having computed the scores that it waits for.

    Raises:
        RequestError: They cannot be computed, or the tensor cannot be ranked.
    """
    spec = resolved.spec
    if METHODS[spec.method].takes_scores:
        ensure_scores(session, spec.criterion)
    return session.preview(resolved, place)


def ensure_asked(session: Session, asked: object) -> None:
    """Compute the scores that a step waits for, or each part of a step for many layers.

    Args:
        session: The session.
        asked: A spec, or what has several as ``specs``; anything else needs none.

    Raises:
        RequestError: They cannot be computed.
    """
    for spec in getattr(asked, "specs", (asked,)):
        if isinstance(spec, PruneSpec) and _is_scored(spec) and not session.criteria.why_not(spec):
            ensure_scores(session, spec.criterion)


def _is_scored(spec: PruneSpec) -> bool:
    """Return whether ``spec`` ranks scores; what is no method or criterion is for `resolve` to refuse."""
    if not isinstance(spec.method, str) or not isinstance(spec.criterion, str):
        return False
    return spec.criterion in CRITERIA and spec.method in METHODS and METHODS[spec.method].takes_scores


def ensure_scores(session: Session, criterion: str) -> None:
    """Compute the scores of ``criterion`` unless the session has them.

    Raises:
        RequestError: The model cannot be run, or the scores given are none.
    """
    for _ in score(session, criterion):
        pass


def score(session: Session, criterion: str) -> Iterator[float]:
    """Yield how much is done, in [0, 1], after each batch; the session has the scores after the last.

    Args:
        session: The session; nothing is computed if it has them, or if ``criterion`` is ``"weight"``.
        criterion: A key of `prunescope.core.criteria.CRITERIA`.

    Raises:
        RequestError: The model cannot be run on the data, or scores given do not fit.
    """
    if criterion == WEIGHT or session.criteria.known(criterion) is not None:
        return
    if criterion == "given":
        session.criteria.keep(criterion, given_scores(session.source.importance_scores, session))
        yield 1.0
        return
    source = session.source
    try:
        model = copy_of(source.module).eval()
    except RequestError:
        raise
    except Exception as error:
        raise _failed(criterion, error) from error
    for _ in source.read():
        yield 0.0
    pair = source.scored_pair
    batches = list(_batches(source.inputs, None if pair is None else pair[1], source.batch_sizes))
    if not batches:
        return
    collector = COLLECTORS[criterion](model, session.tensors, source.loss or cross_entropy)
    with collector.attached():
        for number, (inputs, targets) in enumerate(batches, 1):
            try:
                collector.run(inputs, targets)
            except Exception as error:  # Whatever the user's model raises is theirs to read, in one sentence.
                raise _failed(criterion, error) from error
            if number < len(batches):
                yield number / len(batches)
    session.criteria.keep(criterion, {name: sound(found) for name, found in collector.found().items()})
    yield 1.0


def _batches(
    inputs: tuple[Tensor, ...] | None, targets: Tensor | None, sizes: Sequence[int] | None
) -> Iterator[tuple[Any, Tensor | None]]:
    """Yield the inputs and targets of each batch: a loader's own, or of `BATCH` examples.

    Args:
        inputs: All examples, or None.
        targets: Theirs, if there are any.
        sizes: How many examples each batch of a loader had; None where there was no loader.
    """
    if inputs is None:
        return
    count = len(inputs[0])
    sizes = [BATCH] * -(-count // BATCH) if sizes is None else sizes
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        yield rows_of(inputs, rows), None if targets is None else targets[rows]
        start += size


def _failed(criterion: str, error: Exception) -> RequestError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return RequestError("criterion", f"`criterion` {criterion} could not be computed: {reason}.")


COLLECTORS: Mapping[str, Callable[[nn.Module, Mapping[str, PrunableTensor], Loss], Collector]] = {
    "taylor": Taylor,
    "wanda": Wanda,
    "fisher": Fisher,
    "batchnorm": BatchNorm,
    "activation": Activation,
}
"""What computes each criterion."""
