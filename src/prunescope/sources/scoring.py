"""The user's own loss and metric, measured on held-out data: for anything but classification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunescope.sources.batches import Batches
from prunescope.sources.inputs import Inputs, arguments, parts_of, rows_of, scores_of

BATCH = 128
"""Examples per batch."""


@dataclass(frozen=True, eq=False)
class Scoring:
    """Measures a model by a loss, a metric, or both, as `Source.evaluate` does.

    Attributes:
        data: ``(inputs, targets)``, or the batches they are read from.
        loss: Takes the model's answer and the targets, and returns a number; or None.
        metric: Likewise, or returns a dict of numbers by name; or None.

    Example:
        >>> measure = Scoring((torch.ones(4, 2), torch.zeros(4, 1)), loss=nn.functional.mse_loss)
        >>> model = nn.Linear(2, 1)
        >>> _ = nn.init.constant_(model.weight, 0), nn.init.constant_(model.bias, 2)
        >>> measure(model)
        {'mse_loss': 4.0}
    """

    data: tuple[Inputs, Tensor] | Batches
    loss: Callable[[Any, Tensor], Any] | None = None
    metric: Callable[[Any, Tensor], Any] | None = None

    @property
    def pair(self) -> tuple[Inputs, Tensor]:
        """Return ``(inputs, targets)``, read now if they were not before."""
        return self.data.pair if isinstance(self.data, Batches) else self.data

    def __call__(self, model: nn.Module) -> dict[str, Any]:
        """Return the numbers by name; a metric's own names are kept."""
        inputs, targets = self.pair
        answers = self._answers(model, parts_of(inputs))
        found: dict[str, Any] = {}
        for function, usual in ((self.loss, "loss"), (self.metric, "metric")):
            if function is not None:
                value = function(answers, targets.to(answers.device))
                found |= value if isinstance(value, Mapping) else {_name(function, usual): _plain(value)}
        return found

    def _answers(self, model: nn.Module, parts: tuple[Tensor, ...]) -> Any:
        answers = []
        with torch.no_grad():
            for start in range(0, len(parts[0]), BATCH):
                positional, named = arguments(rows_of(parts, slice(start, start + BATCH)))
                answers.append(scores_of(model(*positional, **named)))
        if not all(isinstance(answer, Tensor) for answer in answers):
            kind = type(answers[0]).__name__
            raise TypeError(f"the model must answer with a tensor to be scored, got {kind}")
        return torch.cat(answers)


def _name(function: object, usual: str) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return name if name.isidentifier() else usual


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
