"""The progress of a recovery, and its error messages."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from prunescope.core.errors import RequestError, is_out_of_memory
from prunescope.measure import Accuracy
from prunescope.session import Session
from prunescope.session.history import History


@dataclass(frozen=True)
class Progress:
    """The progress of a recovery.

    Attributes:
        step: Optimizer steps, or examples run, so far.
        done: Share of the work that is done, in [0, 1].
        seconds: Time taken so far, in seconds.
        loss: Running mean of the loss; None if there is none.
        learning_rate: Learning rate of the last step; None if there is none.
        accuracy: Held-out accuracy when last measured; None if it is not measured.

    Example:
        >>> Progress(10, 0.25, seconds=3.0).seconds_left
        9.0
    """

    step: int
    done: float
    seconds: float = 0.0
    loss: float | None = None
    learning_rate: float | None = None
    accuracy: Accuracy | None = None

    @property
    def seconds_left(self) -> float | None:
        """Return the estimated time for the rest, in seconds; None at the start."""
        return self.seconds * (1 - self.done) / self.done if self.done > 0 else None


def unrun(name: str, error: Exception, batch: int) -> RequestError:
    """Return the error for a batch of ``batch`` examples that could not be run, naming ``name``."""
    if isinstance(error, RequestError):
        return error
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if is_out_of_memory(error):
        return RequestError(name, f"`{name}` ran out of memory on {batch:,} examples: give smaller batches.")
    return RequestError(name, f"`{name}` could not run the model on a batch of `train`: {reason}")


def check_unchanged(session: Session, history: History) -> None:
    """Check that the session's history has not changed since the work began.

    Raises:
        RequestError: It has.
    """
    if session.history is not history:
        raise RequestError("steps", "`steps` have changed since this began: begin again.")


def check_trainable(model: nn.Module) -> None:
    """Check that the model has a parameter with ``requires_grad``.

    Raises:
        RequestError: It has none.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise RequestError(
            "train", "`train`: no parameter of this model has requires_grad, so that none can be trained."
        )
