"""The effect of pruning on the answers of a classifier: by class, and by example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunescope.measure.evaluation import Accuracy
from prunescope.sources import Inputs


@dataclass(frozen=True)
class ClassEffect:
    """The examples of one class, before and after.

    Attributes:
        name: Name of the class.
        before: How many of its examples are answered correctly without pruning.
        after: Likewise with pruning.
    """

    name: str
    before: Accuracy
    after: Accuracy

    @property
    def moved(self) -> int:
        """Return the change in the number of right answers, up or down."""
        return abs(self.after.right - self.before.right)


@dataclass(frozen=True)
class Example:
    """One example, and the answers to it.

    Attributes:
        index: Its place in the data.
        target: Name of its class.
        before: Name of the class answered without pruning.
        after: The same with pruning.
        fate: What happened to the answer, one of `FATES`.
    """

    index: int
    target: str
    before: str
    after: str
    fate: str

    @property
    def changed(self) -> bool:
        """Return whether the answer changed."""
        return self.fate in CHANGES


CHANGES = ("became wrong", "became right", "became wrong in another way")
"""What can happen to an answer that changes."""

FATES = (*CHANGES, "wrong as before", "right as before")
"""What can happen to an answer, in the order in which examples are shown."""


class Effect:
    """The answers to held-out examples before and after pruning.

    Args:
        inputs: Inputs of the model, N examples.
        targets: Class indices of shape ``(N,)``.
        before: Accuracy without pruning, with the answers.
        after: Accuracy with pruning, with the answers.
        names: Names of the classes, by index; a class without one is shown by its index.

    Attributes:
        inputs: As given.
        before: As given.
        after: As given.
        classes: Each class that has examples, in the order of their indices.
        order: Indices of all examples in the order of their `FATES`, and of the data; of shape ``(N,)``.

    Example:
        >>> targets, was, now = torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
        >>> effect = Effect(torch.zeros(3, 2), targets, Accuracy(3, 3, was), Accuracy(2, 3, now))
        >>> [(each.name, each.before.right, each.after.right) for each in effect.classes]
        [('0', 2, 1), ('1', 1, 1)]
        >>> effect.examples(1)
        [Example(index=1, target='0', before='0', after='1', fate='became wrong')]
        >>> effect.sentence
        '1 of 3 answers changed: 1 became wrong.'
    """

    def __init__(
        self, inputs: Inputs, targets: Tensor, before: Accuracy, after: Accuracy, names: Sequence[str] = ()
    ) -> None:
        self.inputs, self.before, self.after = inputs, before, after
        self._names = names
        self._targets, self._was, self._now = (
            _numbers(targets),
            _numbers(before.answers),
            _numbers(after.answers),
        )
        self.classes = self._count_classes()
        self._fates = self._find_fates()
        self.order: NDArray[np.int64] = np.argsort(self._fates, kind="stable")

    def _name(self, index: int) -> str:
        return self._names[index] if 0 <= index < len(self._names) else str(index)

    def _count_classes(self) -> tuple[ClassEffect, ...]:
        found, place = np.unique(self._targets, return_inverse=True)
        totals = np.bincount(place, minlength=len(found))
        was, now = (
            np.bincount(place[answers == self._targets], minlength=len(found))
            for answers in (self._was, self._now)
        )
        return tuple(
            ClassEffect(self._name(index), Accuracy(before, total), Accuracy(after, total))
            for index, before, after, total in zip(
                *(each.tolist() for each in (found, was, now, totals)), strict=True
            )
        )

    def _find_fates(self) -> NDArray[np.int64]:
        """Return the index into `FATES` of each example."""
        was, now = self._was == self._targets, self._now == self._targets
        cases = [was & ~now, ~was & now, self._was != self._now, ~now]
        return np.select(cases, [0, 1, 2, 3], default=4)

    @property
    def changed(self) -> int:
        """Return how many answers changed."""
        return int((self._was != self._now).sum())

    def examples(self, most: int) -> list[Example]:
        """Return the first ``most`` examples in `order`."""
        return [
            Example(
                index,
                self._name(int(self._targets[index])),
                self._name(int(self._was[index])),
                self._name(int(self._now[index])),
                FATES[self._fates[index]],
            )
            for index in self.order[:most].tolist()
        ]

    @property
    def sentence(self) -> str:
        """Return how many answers changed, and how, in one sentence."""
        total = len(self._targets)
        if not self.changed:
            return f"None of {total:,} answers changed."
        counts = np.bincount(self._fates, minlength=len(FATES)).tolist()
        parts = [f"{count:,} {fate}" for fate, count in zip(CHANGES, counts, strict=False) if count]
        return f"{self.changed:,} of {total:,} answers changed: {', '.join(parts)}."


def _numbers(values: Tensor | None) -> NDArray[np.int64]:
    if values is None:
        raise ValueError("`before` and `after` must hold the answers, got only counts")
    return values.detach().cpu().to(torch.int64).numpy()
