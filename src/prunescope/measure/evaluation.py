"""Held-out accuracy, measured on a copy of the model so that the model itself is never run or written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from prunescope.core.errors import RequestError
from prunescope.core.text import percent
from prunescope.measure.metric import Measure
from prunescope.measure.randomness import untouched_randomness
from prunescope.prune.masking import where_kept
from prunescope.sources import Inputs, arguments, copy_of, parts_of, rows_of, scores_of

BATCH = 128
"""Examples per step of an evaluation: small enough that one step is not felt."""


@dataclass(frozen=True)
class Accuracy:
    """Held-out accuracy: ``right`` of ``total`` examples answered correctly.

    Attributes:
        right: Examples answered correctly.
        total: All examples.
        answers: The class answered to each, of shape ``(total,)``; None where only counts are known.
    """

    right: int
    total: int
    answers: Tensor | None = field(default=None, compare=False, repr=False)

    @property
    def fraction(self) -> float:
        """Return the accuracy in [0, 1]."""
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % confidence interval of the accuracy on examples like these.

        Wilson's score interval: E. B. Wilson, "Probable inference", JASA 22 (1927), 209-212.

        Example:
            >>> low, high = Accuracy(90, 100).interval
            >>> round(low, 3), round(high, 3)
            (0.826, 0.945)
        """
        z, n, p = 1.959964, self.total, self.fraction
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - reach), min(1.0, middle + reach)

    @property
    def in_words(self) -> str:
        """Return the accuracy with its counts and its interval.

        Example:
            >>> Accuracy(9, 10).in_words
            '90.0 % (9 of 10; 59.6 to 98.2 %)'
        """
        low, high = self.interval
        counts = f"{self.right:,} of {self.total:,}"
        return f"{percent(self.fraction)} ({counts}; {100 * low:.1f} to {percent(high)})"

    # As a `prunescope.measure.metric.Measure`.

    @property
    def values(self) -> dict[str, float]:
        """Return the accuracy in [0, 1], by its name."""
        return {"accuracy": self.fraction}

    @property
    def short(self) -> dict[str, str]:
        """Return the accuracy in percent, by the name it is shown under."""
        return {"Held-out accuracy": percent(self.fraction)}

    @property
    def precise(self) -> dict[str, str]:
        """Return the accuracy with its interval, by the name it is shown under."""
        low, high = self.interval
        return {"Held-out accuracy (95 %)": f"{percent(self.fraction)} ({100 * low:.1f} to {percent(high)})"}

    def since(self, before: Measure | None) -> list[tuple[str, str]]:
        """Return the accuracy before and now; its interval is in the name, for a line of one length."""
        low, high = self.interval
        name = f"Held-out accuracy (95 %: {percent(low)} to {percent(high)})"
        first = "…" if before is None else next(iter(before.short.values()))
        return [(name, f"{first} → {percent(self.fraction)} ({self.right:,} of {self.total:,})")]


def pruned_copy(
    model: nn.Module, masks: Mapping[str, Tensor], values: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Return a copy of ``model`` in eval mode with pruned weights zero, to hand to the user.

    Args:
        model: Any module, pruned already or not; read, never written.
        masks: Boolean masks by full name without ``_orig``, True where kept.
        values: New parameters and buffers by full name without ``_orig``, in place of the model's own.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> copied = pruned_copy(model, {"bias": torch.tensor([True, False])})
        >>> copied.bias[1].item(), copied.training, model.training
        (0.0, False, True)
    """
    copied = copy_of(model).eval()
    put_values(copied, values or {})
    for name, mask in masks.items():
        _fill(copied, name, mask)
    return copied


def put_values(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Write ``values`` into the parameters and buffers of ``model``, in place, whether it is pruned or not.

    Args:
        model: Written.
        values: By full name without ``_orig``, of the shapes that the model has.
    """
    places = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    with torch.no_grad():
        for name, value in values.items():
            stored = f"{name}_orig" if f"{name}_orig" in places else name
            places[stored].copy_(value)
            prefix, _, plain = name.rpartition(".")
            attributes = vars(model.get_submodule(prefix))
            if (
                stored != name and plain in attributes
            ):  # What pruning's hook made of it is what is ranked next.
                attributes[plain] = where_kept(places[f"{name}_mask"].bool(), places[stored])


class EvalCopy:
    """A copy of a model, in eval mode, with memory of its own, to run in the model's place.

    The model's own forward hooks are copied along and do fire: pruning lives in one of them.

    Args:
        model: Any module; read, never written.

    Attributes:
        model: The copy.

    Raises:
        RequestError: The model cannot be copied.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = copy_of(model).eval()

    def evaluate(
        self, inputs: Inputs, targets: Tensor, weights: Mapping[str, Tensor] | None = None
    ) -> Iterator[Accuracy]:
        """Yield the accuracy counted so far, batch by batch; the last one is the whole.

        Every global random state (torch's, NumPy's, Python's) is left as it was found after each batch.

        Args:
            inputs: What the model is called with, N examples.
            targets: Class indices of shape ``(N,)``.
            weights: Tensors that stand in for the model's own, by full name without ``_orig``; None measures
                it as it is.

        Raises:
            RequestError: The model cannot be run on the data, or answers in another form.
        """
        parts = parts_of(inputs)
        answers = torch.empty(len(targets), dtype=torch.int64)
        right = 0
        for start in range(0, len(targets), BATCH):
            rows = slice(start, start + BATCH)
            with self.using(weights or {}) as state:  # Anew for each batch: others may run it in between.
                answers[rows] = self._answer(state, rows_of(parts, rows), targets[rows])
            right += int((answers[rows] == targets[rows].cpu()).count_nonzero())
            end = min(start + BATCH, len(targets))
            yield Accuracy(right, end, answers[:end])

    @contextmanager
    def using(self, weights: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
        """Give the parameters that stand in for the copy's own while it runs with ``weights``."""
        state: dict[str, Tensor] = {}
        with ExitStack() as stack:
            for name, weight in weights.items():
                state |= stack.enter_context(self._standing_in(name, weight))
            yield state

    @contextmanager
    def _standing_in(self, name: str, masked: Tensor) -> Iterator[dict[str, Tensor]]:
        stored = f"{name}_orig"
        if stored not in dict(self.model.named_parameters(remove_duplicate=False)):
            yield {name: masked}
            return
        prefix, _, plain = name.rpartition(".")
        attributes = vars(self.model.get_submodule(prefix))
        before = attributes.get(plain)
        if before is not None:
            attributes[plain] = masked  # Read by whoever uses the weight without calling its layer.
        try:
            yield {stored: masked}
        finally:
            if before is not None:
                attributes[plain] = before

    def run(self, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor] | None = None) -> Any:
        """Return what the model answers, without gradients; the global random states are left as found.

        Args:
            inputs: What it is called with.
            weights: Tensors that stand in for the model's own, by full name without ``_orig``; None runs it
                as it is.

        Raises:
            RequestError: The model cannot be run on ``inputs``.
        """
        with self.using(weights or {}) as state:
            try:
                return self._call(state, inputs)
            except Exception as error:
                raise _unmeasured(error) from error

    def _call(self, state: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> Any:
        positional, named = arguments(inputs)
        with untouched_randomness(), torch.no_grad():
            # A tied weight is pruned in one of its layers, as torch does it.
            return functional_call(self.model, state, positional, named, tie_weights=False)

    def _answer(self, state: dict[str, Tensor], inputs: tuple[Tensor, ...], targets: Tensor) -> Tensor:
        try:
            scores = scores_of(self._call(state, inputs))
            if not isinstance(scores, Tensor) or scores.ndim != 2 or scores.shape[:1] != targets.shape:
                got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
                raise ValueError(f"the model must answer with scores of shape (N, classes), got {got}")
            if scores.shape[1] < 2:
                raise ValueError("the model must answer with a score for each of at least 2 classes, got 1")
            return scores.argmax(dim=1).cpu()
        except Exception as error:  # Whatever the user's model raises is theirs to read, in one sentence.
            raise _unmeasured(error) from error


def _fill(model: nn.Module, name: str, mask: Tensor) -> None:
    """Put zeros where ``mask`` prunes the parameter ``name``, in its own layer alone if it is tied."""
    prefix, _, plain = name.rpartition(".")
    module = model.get_submodule(prefix)
    stored = plain if plain in module._parameters else f"{plain}_orig"
    parameter = module.get_parameter(stored)
    masked = where_kept(mask.to(parameter.device), parameter.detach())
    setattr(module, stored, nn.Parameter(masked, parameter.requires_grad))
    if plain in vars(module):
        vars(module)[plain] = masked  # Read by whoever uses the weight without calling its layer.


def _unmeasured(error: Exception) -> RequestError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return RequestError("data", f"`data` could not be evaluated: {reason}")
