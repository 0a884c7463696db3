"""How far a recovery is, and what is said when it fails."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from prunescope.core.errors import RequestError
from prunescope.measure import Accuracy
from prunescope.session import Session
from prunescope.session.history import History


@dataclass(frozen=True)
class Progress:
    """How far a recovery is.

    Attributes:
        step: Steps of the optimizer, or examples that were run.
        done: How much of the whole is over, in [0, 1].
        seconds: How long it took so far.
        loss: Loss of the last batches, a running mean; None where there is none.
        learning_rate: Of the last step; None likewise.
        accuracy: Held-out accuracy when it was last measured; None where it is not.

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
        """Return how long the rest will take if it goes on like this; None at the start."""
        return self.seconds * (1 - self.done) / self.done if self.done > 0 else None


def unrun(name: str, error: Exception, batch: int) -> RequestError:
    """Return why a batch of ``batch`` examples could not be run, in one sentence about ``name``."""
    if isinstance(error, RequestError):
        return error
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, MemoryError) or "out of memory" in reason or "can't allocate memory" in reason:
        return RequestError(name, f"`{name}` ran out of memory on {batch:,} examples: give smaller batches.")
    return RequestError(name, f"`{name}` could not run the model on a batch of `train`: {reason}")


def check_unchanged(session: Session, history: History) -> None:
    """Refuse new weights for a session that has gone on.

    Raises:
        RequestError: It is in another history.
    """
    if session.history is not history:
        raise RequestError("steps", "`steps` have changed since this began: begin again.")


def check_trainable(model: nn.Module) -> None:
    """Refuse a model of which no parameter takes gradients.

    Raises:
        RequestError: It is one.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise RequestError(
            "train", "`train`: no parameter of this model has requires_grad, so that none can be trained."
        )
