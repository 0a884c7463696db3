"""Held-out accuracy, measured on a copy of the model so that the model itself is never run or written."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from prunescope.errors import RequestError
from prunescope.preview import Preview
from prunescope.sources import Inputs

BATCH = 128
"""Examples per step of an evaluation: small enough that a person does not feel one step."""


@dataclass(frozen=True)
class Accuracy:
    """How many held-out examples a model answers right: ``right`` of ``total``."""

    right: int
    total: int

    @property
    def fraction(self) -> float:
        """Return the accuracy in [0, 1]."""
        return self.right / self.total


class Twin:
    """A copy of a model, in eval mode, with memory of its own, to run in the model's place.

    The model's own forward hooks are copied along and do fire: pruning lives in one of them.

    Args:
        model: Any module; read, never written.

    Raises:
        RequestError: The model cannot be copied.
    """

    def __init__(self, model: nn.Module) -> None:
        memo: dict[int, object] = {}
        for module in model.modules():
            for value in vars(module).values():
                # torch's pruning leaves a tensor with a history, which deepcopy refuses.
                if isinstance(value, Tensor) and not value.is_leaf:
                    memo[id(value)] = value.detach().clone()
        try:
            self._model = copy.deepcopy(model, memo).eval()
        except Exception as error:
            raise _unmeasured(error) from error

    def evaluate(self, inputs: Inputs, targets: Tensor, preview: Preview | None = None) -> Iterator[Accuracy]:
        """Yield the accuracy counted so far, batch by batch; the last one is the whole.

        Every global random state (torch's, NumPy's, Python's) is left as it was found after each batch.

        Args:
            inputs: What the model is called with, N examples.
            targets: Class indices of shape ``(N,)``.
            preview: Measured as if it were carried out; None measures the model as it is.

        Raises:
            RequestError: The model cannot be run on the data, or answers in another form.
        """
        parts = inputs if isinstance(inputs, tuple) else (inputs,)
        right = 0
        with self._pruned(preview) as state:
            for start in range(0, len(targets), BATCH):
                rows = slice(start, start + BATCH)
                right += self._count_right(state, tuple(part[rows] for part in parts), targets[rows])
                yield Accuracy(right, min(start + BATCH, len(targets)))

    @contextmanager
    def _pruned(self, preview: Preview | None) -> Iterator[dict[str, Tensor]]:
        """Give the parameters that stand in for the twin's own while ``preview`` is measured."""
        if preview is None:
            yield {}
            return
        name = preview.tensor.name
        masked = torch.where(preview.mask, preview.tensor.weight, 0)
        stored = f"{name}_orig"
        if stored not in dict(self._model.named_parameters(remove_duplicate=False)):
            yield {name: masked}
            return
        prefix, _, plain = name.rpartition(".")
        attributes = vars(self._model.get_submodule(prefix))
        before = attributes.get(plain)
        if before is not None:
            attributes[plain] = masked  # Read by whoever uses the weight without calling its layer.
        try:
            yield {stored: masked}
        finally:
            if before is not None:
                attributes[plain] = before

    def _count_right(self, state: dict[str, Tensor], inputs: tuple[Tensor, ...], targets: Tensor) -> int:
        try:
            with _untouched_randomness(), torch.no_grad():
                # A tied weight is pruned in one of its layers, as torch does it.
                scores = functional_call(self._model, state, inputs, tie_weights=False)
            if not isinstance(scores, Tensor) or scores.ndim != 2 or scores.shape[:1] != targets.shape:
                got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
                raise ValueError(f"the model must answer with scores of shape (N, classes), got {got}")
            if scores.shape[1] < 2:
                raise ValueError("the model must answer with a score for each of at least 2 classes, got 1")
            return int((scores.argmax(dim=1) == targets.to(scores.device)).count_nonzero())
        except Exception as error:  # Whatever the user's model raises is theirs to read, in one sentence.
            raise _unmeasured(error) from error


def _unmeasured(error: Exception) -> RequestError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return RequestError("data", f"`data` could not be evaluated: {reason}")


@contextmanager
def _untouched_randomness() -> Iterator[None]:
    python, legacy_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy_numpy)  # noqa: NPY002
