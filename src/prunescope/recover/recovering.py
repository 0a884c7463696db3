"""Recovery in one call, with a progress bar; and writing to the user's own model, on request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from tqdm.auto import tqdm

from prunescope.core.errors import RequestError
from prunescope.measure.evaluation import put_values
from prunescope.recover.batchnorm import EXAMPLES, Reestimation
from prunescope.recover.finetune import FineTuning
from prunescope.recover.progress import Progress
from prunescope.recover.recipe import Recipe
from prunescope.session import Session
from prunescope.session.history import Step
from prunescope.sources import Training
from prunescope.sources.data import training_of


def fine_tune(session: Session, train: Any = None, *, progress: bool = True, **recipe: Any) -> Step:
    """Fine-tune a pruned copy with masks kept, apply it as the session's next step, and return the step.

    Args:
        session: The session; its model is read, never written.
        train: Training data, in the forms that ``data`` takes; None means `Source.train`.
        progress: Whether to show a progress bar.
        **recipe: Fields of `Recipe`: ``optimizer``, ``learning_rate``, ``epochs`` or ``seconds``, ``rates``,
            ``pruning``, ``batch``, ``seed``.

    Raises:
        RequestError: See `FineTuning`; the session is left unchanged.
        TypeError: An unknown keyword.

    Example:
        >>> from prunescope.sources import demo_source
        >>> session = Session(demo_source("mlp"))
        >>> fine_tune(session, epochs=1, progress=False).where
        'the whole model'
    """
    work = FineTuning(session, Recipe(**recipe), train=_training(session, train))
    _run(work.run(), "fine-tuning", progress)
    return work.keep()


def reestimate_batchnorm(
    session: Session, train: Any = None, *, progress: bool = True, examples: int = EXAMPLES
) -> Step:
    """Re-estimate the batch-norms of a pruned copy, apply them as the session's next step, and return it.

    Args:
        session: The session; its model is read, never written.
        train: Data to run, in the forms that ``data`` takes; None means `Source.train`. Labels are not used.
        progress: Whether to show a progress bar.
        examples: Largest number of examples to run.

    Raises:
        RequestError: See `Reestimation`; the session is left unchanged.
    """
    work = Reestimation(session, train=_training(session, train), examples=examples)
    _run(work.run(), "batch-norm", progress)
    return work.keep()


def _training(session: Session, train: Any) -> Training | None:
    return None if train is None else training_of(train, classes=session.source.loss is None)


def _run(work: Iterator[Progress], title: str, show: bool) -> None:
    with tqdm(total=100, desc=title, disable=not show, bar_format=_BAR) as bar:
        for progress in work:
            bar.update(100 * progress.done - bar.n)
            told = {"loss": progress.loss, "accuracy": progress.accuracy and progress.accuracy.fraction}
            bar.set_postfix(
                {name: f"{value:.3g}" for name, value in told.items() if value is not None}, False
            )


_BAR = "{desc}: {percentage:3.0f} % {bar} {elapsed} < {remaining} {postfix}"


def write_to_model(session: Session) -> nn.Module:
    """Write the result of the steps into the user's own model, and return the model.

    Pruned weights become zero and recovered weights are copied in; no hooks or masks are added. Nothing else
    in Prunescope writes to a user's model.

    Raises:
        RequestError: The model is a checkpoint, or no step is applied.

    Example:
        >>> from prunescope.sources import module_source
        >>> model = nn.Linear(4, 3)
        >>> session = Session(module_source(model))
        >>> step = session.apply(session.preview(session.resolve(session.first_spec)))
        >>> write_to_model(session) is model, int((model.weight == 0).sum())
        (True, 4)
    """
    model = session.source.module
    if not session.history.done:
        raise RequestError("steps", "`steps`: none is applied, so there is nothing to write.")
    put_values(model, session.weights(session.applied))
    return model
