"""A model to explore, with its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.core.text import percent
from prunescope.sources.batches import MOST_EXAMPLES, Batches
from prunescope.sources.checkpoint import Checkpoint, open_checkpoint
from prunescope.sources.data import Training, examples, training_of
from prunescope.sources.demos import DATA_CREDIT, DEMOS
from prunescope.sources.inputs import Inputs, parts_of
from prunescope.sources.scoring import Scoring
from prunescope.sources.weights import ModuleWeights, Weights

OPEN_VARIABLE = "PRUNESCOPE_OPEN"
MODELS_VARIABLE = "PRUNESCOPE_MODELS"
"""Environment variables by which ``prunescope`` tells its kernels which file to open and folder to offer."""


@dataclass(frozen=True, eq=False)
class Source:
    """A model to explore.

    Attributes:
        model: The network, or the files of its weights. Read, never written.
        title: Its title in the list of models.
        data: Held-out ``(inputs, targets)`` for live accuracy, or the batches to read them from, or None.
            ``targets`` are class indices of shape ``(N,)``; the model must answer ``inputs`` with scores of
            shape ``(N, classes)``. Nothing is ever trained on them.
        layer: Full name of the parameter to open with; None for the first.
        note: One sentence about the model that stands beside it, or "".
        example: What the model is called with where there is no data: at least one example, or None.
        classes: Names of the classes by index; empty where they go by number.
        evaluate: Measures the model in place of ``data``: takes it, and returns a number or a dict of numbers
            by name; or None.
        train: What a pruned copy of the model may be trained on, or None.
        importance_scores: The user's own scores: a tensor for the first layer, a dict by full name, or a
            function of ``(module, name)``; or None.
        loss: Takes what the model answers and the targets: what training makes small and criteria take the
            gradients of; None is the cross-entropy.
        recipe: What is known to go well when it is fine-tuned: fields of `prunescope.recover.Recipe`.
    """

    model: nn.Module | Checkpoint
    title: str
    data: tuple[Inputs, Tensor] | Batches | None = None
    layer: str | None = None
    note: str = ""
    example: Inputs | None = None
    classes: Sequence[str] = ()
    evaluate: Callable[[nn.Module], object] | None = None
    train: Training | None = None
    importance_scores: object = None
    loss: Callable[[Any, Tensor], Tensor] | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scored_pair(self) -> tuple[Inputs, Tensor] | None:
        """Return the ``(inputs, targets)`` that a loss can be taken of, of classes or not; None without data.

        Raises:
            RequestError: They are to be read from batches, and cannot be.
        """
        return self.evaluate.pair if isinstance(self.evaluate, Scoring) else self.pair

    @property
    def inputs(self) -> tuple[Tensor, ...] | None:
        """Return the model's inputs, one tensor per argument, axis 0 counting examples; or None.

        Raises:
            RequestError: They are to be read from batches, and cannot be.
        """
        pair = self.pair
        if pair is None and isinstance(self.evaluate, Scoring):
            pair = self.evaluate.pair
        given = self.example if pair is None else pair[0]
        return None if given is None else parts_of(given)

    @property
    def has_inputs(self) -> bool:
        """Return whether there is something to run the model on; nothing is read for it."""
        given = self.example is not None or isinstance(self.evaluate, Scoring)
        return given or self.data is not None

    @property
    def pair(self) -> tuple[Inputs, Tensor] | None:
        """Return the held-out ``(inputs, targets)``, read now if they were not before; None without data.

        Raises:
            RequestError: They are to be read from batches, and cannot be.
        """
        return self.data.pair if isinstance(self.data, Batches) else self.data

    def read(self) -> Iterator[int]:
        """Yield how many examples were read after each batch, if they are to be read from batches.

        Raises:
            RequestError: They cannot be.
        """
        batches = self._from_batches
        if batches is not None:
            yield from batches.read()

    @property
    def batch_sizes(self) -> tuple[int, ...] | None:
        """Return how many examples each batch had that they were read from; None where they are tensors."""
        return None if self._from_batches is None else self._from_batches.sizes

    @property
    def _from_batches(self) -> Batches | None:
        given = self.evaluate.data if isinstance(self.evaluate, Scoring) else self.data
        return given if isinstance(given, Batches) else None

    @property
    def module(self) -> nn.Module:
        """Return the network.

        Raises:
            RequestError: The model is a checkpoint.
        """
        if not isinstance(self.model, nn.Module):
            raise RequestError(
                "model",
                f"`model` {self.title} is a checkpoint, which has weights but no network to run or "
                "copy: save its pruned weights or the plan.",
            )
        return self.model

    def weights(self) -> Weights:
        """Return what a session reads of the model.

        Raises:
            RequestError: It has nothing to prune, or lazy parameters.
        """
        return self._weights

    @cached_property
    def _weights(self) -> Weights:
        return self.model if isinstance(self.model, Checkpoint) else ModuleWeights(self.model)

    @property
    def can_run(self) -> bool:
        """Return whether the model can be run: files only have weights."""
        return isinstance(self.model, nn.Module)


def module_source(
    model: nn.Module,
    data: Any = None,
    *,
    classes: Sequence[str] | None = None,
    evaluate: Callable[[nn.Module], object] | None = None,
    example: Inputs | None = None,
    max_examples: int = MOST_EXAMPLES,
    loss: Callable[[Any, Tensor], Tensor] | None = None,
    metric: Callable[[Any, Tensor], object] | None = None,
    train: Any = None,
    importance_scores: object = None,
) -> Source:
    """Return a source for a model in memory.

    Args:
        model: Any module. Read, never written.
        data: ``(inputs, targets)``: tensors (or a tuple of tensors for ``inputs``) with the same number of
            examples along axis 0; ``targets`` are class indices of shape ``(N,)``. Or what holds such: a dict
            of tensors, a `DataLoader`, a `Dataset`, an iterable of batches; see `prunescope.sources.data`.
        classes: Names of the classes by index; None if they go by number.
        evaluate: Takes a model and returns a number or a dict of numbers by name; serves instead of ``data``.
        example: Where there is no ``data``, inputs to run the model on, of at least one example.
        max_examples: How many are read of a loader, a dataset or batches; a pair is used whole.
        loss: For anything but classification: takes the model's answer and the targets, and returns a number
            that is smaller the better; measured on ``data``, made small in training, and what criteria take
            the gradients of. None is the cross-entropy, mean over the batch.
        metric: Likewise, a number that is not trained for, or a dict of numbers by name.
        train: What a pruned copy may be trained on; whatever ``data`` may be.
        importance_scores: Your own scores for the criterion ``"given"``: a tensor, a dict by full name, or
            a function of ``(module, name)`` that returns one, or None for what it does not cover.

    Raises:
        RequestError: ``data`` is none of these, there are too few ``classes``, ``evaluate`` is not a
            function, both measures are given, or ``example`` is no such input.

    Example:
        >>> module_source(nn.Linear(4, 3)).title
        'Linear'
    """
    if evaluate is not None and not callable(evaluate):
        raise RequestError(
            "evaluate",
            "`evaluate` must be a function that takes the model and returns a number or a dict of numbers by "
            f"name, got {type(evaluate).__name__}.",
        )
    if evaluate is not None and data is not None:
        raise RequestError("evaluate", "`evaluate` replaces `data`: give one of them.")
    scored = _check_functions(data, loss=loss, metric=metric)
    checked = None if data is None else examples(data, most=max_examples, classes=not scored)
    names = _class_names(classes, checked)
    if example is not None and data is not None:
        raise RequestError("example", "`example` replaces `data`: give one of them.")
    inputs = None if example is None else _checked_example(example)
    note = checked.note if isinstance(checked, Batches) else ""
    if scored and checked is not None:
        evaluate, checked = Scoring(checked, loss, metric), None
    return Source(
        model,
        type(model).__name__,
        checked,
        note=note,
        example=inputs,
        classes=names,
        evaluate=evaluate,
        importance_scores=importance_scores,
        train=None if train is None else training_of(train, classes=not scored),
        loss=loss,
    )


def _check_functions(data: object, **functions: object) -> bool:
    """Return whether ``data`` is scored by a loss or a metric."""
    for name, function in functions.items():
        if function is None:
            continue
        if not callable(function):
            wanted = f"`{name}` must be a function of the model's answer and the targets"
            raise RequestError(name, f"{wanted}, got {type(function).__name__}.")
        if data is None and name == "metric":
            raise RequestError(name, f"`{name}` is measured on `data`: give both.")
    return data is not None and any(function is not None for function in functions.values())


def _checked_example(example: object) -> tuple[Tensor, ...]:
    parts = tuple(example) if isinstance(example, tuple | list) else (example,)
    for part in parts:
        if not isinstance(part, Tensor) or part.ndim == 0 or len(part) == 0 or len(part) != len(parts[0]):
            got = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            raise RequestError(
                "example",
                "`example` must be what the model is called with, one tensor per argument, axis 0 counting "
                f"examples, got {got}.",
            )
    return parts


def _class_names(classes: object, data: tuple[Inputs, Tensor] | Batches | None) -> tuple[str, ...]:
    if classes is None:
        return ()
    names = tuple(classes) if isinstance(classes, Sequence) and not isinstance(classes, str) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise RequestError("classes", f"`classes` must be a list of names, got {classes!r}.")
    if data is None:
        raise RequestError("classes", "`classes` names the targets in `data`: give both.")
    if isinstance(data, Batches):  # What is read later is checked by the pictures, which say "class 7".
        return names
    if int(data[1].max()) >= len(names):
        raise RequestError(
            "classes", f"`classes` must name all classes 0 to {int(data[1].max())}, got {len(names)} names."
        )
    return names


def checkpoint_source(
    path: str | PathLike[str], *, within: Path | None = None, largest: int | None = None
) -> Source:
    """Return a source for a checkpoint; see `prunescope.sources.checkpoint.open_checkpoint`.

    Args:
        path: A file, an index of shards, or a folder.
        within: A folder that all files must lie in; None allows any place.
        largest: Most bytes its tensors may take in memory; None allows any number.

    Raises:
        RequestError: There is no checkpoint, it cannot be trusted or read, or its tensors have more bytes.
    """
    checkpoint = open_checkpoint(path, within=within)
    if largest is not None and checkpoint.unfolded > largest:
        raise RequestError(
            "model",
            f"`model` {checkpoint.title} unfolds to {checkpoint.unfolded:,} bytes of tensors, and at most "
            f"{largest:,} are taken here.",
        )
    return Source(checkpoint, checkpoint.title, note=checkpoint.note)


def demo_source(key: str) -> Source:
    """Return the source of a shipped demo: a network trained on handwritten digits, with held-out data.

    Args:
        key: A key of `prunescope.sources.demos.DEMOS`.
    """
    demo = DEMOS[key]
    model, data = demo.load()
    note = f"{percent(demo.accuracy)} right on {len(data[1])} held-out digits. {DATA_CREDIT}"
    return Source(model, demo.title, data, demo.layer, note, train=demo.training, recipe=demo.recipe)
