"""What a model is run by, and asked for, whatever the criterion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from prunescope.measure.importance.places import Found
from prunescope.sources.inputs import arguments, scores_of

Loss = Callable[[Any, Any], Tensor]
"""Takes what the model answers and the targets, and returns a number."""


def cross_entropy(answer: Any, targets: Any) -> Tensor:
    """Return the cross-entropy of what a model answers, mean over the batch.

    Args:
        answer: Scores of shape ``(N, classes)`` or ``(N, positions, classes)``; an output with ``.logits``,
            a dict with ``"logits"``, or a tuple that begins with them.
        targets: Class indices of shape ``(N,)`` or ``(N, positions)``.
    """
    logits = scores_of(answer)
    if not isinstance(logits, Tensor):
        raise TypeError(f"the model must answer with scores, got {type(logits).__name__}")
    if targets.is_floating_point():
        raise TypeError("targets are not class indices: pass `loss=`, a function of answer and targets")
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def answer_of(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """Return what ``model`` answers to some examples."""
    positional, named = arguments(inputs)
    return model(*positional, **named)


class Collector(Protocol):
    """Gathers what a criterion needs, batch by batch."""

    def attached(self) -> Any:
        """Return a context in which the copy is watched."""

    def run(self, inputs: tuple[Tensor, ...], targets: Tensor | None) -> None:
        """Take in one batch."""

    def found(self) -> Found:
        """Return the scores of every tensor."""
