"""A model to explore, with what is known about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.core.text import percent
from prunescope.sources.checkpoint import Checkpoint, open_checkpoint
from prunescope.sources.demos import DATA_CREDIT, DEMOS
from prunescope.sources.weights import ModuleWeights, Weights

OPEN_VARIABLE = "PRUNESCOPE_OPEN"
MODELS_VARIABLE = "PRUNESCOPE_MODELS"
"""Environment variables by which ``prunescope`` tells its kernels which file to open and folder to offer."""

Inputs = Tensor | tuple[Tensor, ...]
"""What the model is called with: a tensor, or one per positional argument; axis 0 counts examples."""


@dataclass(frozen=True, eq=False)
class Source:
    """A model to explore.

    Attributes:
        model: The network, or the files of its weights. Read, never written.
        title: What a person reads in the list of models.
        data: Held-out ``(inputs, targets)`` for live accuracy, or None. ``targets`` are class indices of
            shape ``(N,)``; the model must answer ``inputs`` with scores of shape ``(N, classes)``.
        layer: Full name of the parameter to open with; None for the first.
        note: One sentence about the model that stands beside it, or "".
        example: What the model is called with where there is no data: at least one example, or None.
        classes: Names of the classes by index; empty where they go by number.
        evaluate: Measures the model in place of ``data``: takes it, and returns a number or a dict of numbers
            by name; or None.
    """

    model: nn.Module | Checkpoint
    title: str
    data: tuple[Inputs, Tensor] | None = None
    layer: str | None = None
    note: str = ""
    example: Inputs | None = None
    classes: Sequence[str] = ()
    evaluate: Callable[[nn.Module], object] | None = None

    @property
    def inputs(self) -> tuple[Tensor, ...] | None:
        """Return what the model is called with, one tensor per argument; axis 0 counts examples. Or None."""
        given = self.example if self.data is None else self.data[0]
        return given if given is None or isinstance(given, tuple) else (given,)

    @property
    def module(self) -> nn.Module:
        """Return the network.

        Raises:
            RequestError: There is none: the model is a checkpoint.
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
        return ModuleWeights(self.model) if isinstance(self.model, nn.Module) else self.model

    @property
    def can_run(self) -> bool:
        """Return whether there is a network to be run: files have weights alone."""
        return isinstance(self.model, nn.Module)


def module_source(
    model: nn.Module,
    data: tuple[Inputs, Tensor] | None = None,
    *,
    classes: Sequence[str] | None = None,
    evaluate: Callable[[nn.Module], object] | None = None,
    example: Inputs | None = None,
) -> Source:
    """Return a source for a model in memory.

    Args:
        model: Any module. Read, never written.
        data: ``(inputs, targets)``: tensors (or a tuple of tensors for ``inputs``) with the same number of
            examples along axis 0; ``targets`` are class indices of shape ``(N,)``.
        classes: Names of the classes by index; None if they go by number.
        evaluate: Takes a model and returns a number or a dict of numbers by name; serves instead of ``data``.
        example: Where there is no ``data``, inputs to run the model on, of at least one example.

    Raises:
        RequestError: ``data`` is not such a pair, there are too few ``classes``, ``evaluate`` is no function,
            both measures are given, or ``example`` is no such input.

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
        raise RequestError("evaluate", "`evaluate` serves instead of `data`: give one of them.")
    checked = _checked(data)
    names = _class_names(classes, checked)
    if example is not None and data is not None:
        raise RequestError("example", "`example` serves where there is no `data`: give one of them.")
    inputs = None if example is None else _checked_example(example)
    return Source(model, type(model).__name__, checked, example=inputs, classes=names, evaluate=evaluate)


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


def _class_names(classes: object, data: tuple[Inputs, Tensor] | None) -> tuple[str, ...]:
    if classes is None:
        return ()
    names = tuple(classes) if isinstance(classes, Sequence) and not isinstance(classes, str) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise RequestError("classes", f"`classes` must be a list of names, got {classes!r}.")
    if data is None:
        raise RequestError("classes", "`classes` names what is in `data`: give both.")
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
        largest: Bytes that all of its tensors may have in memory; None allows any number.

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


def _checked(data: object) -> tuple[Inputs, Tensor] | None:
    if data is None:
        return None
    wanted = "`data` must be (inputs, targets), tensors of N examples each with class indices as targets"
    if not (isinstance(data, tuple | list) and len(data) == 2):
        raise RequestError("data", f"{wanted}, got {type(data).__name__}.")
    inputs, targets = data
    parts = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    if not parts:
        raise RequestError("data", f"{wanted}, got no inputs.")
    for part in (*parts, targets):
        if not isinstance(part, Tensor) or part.ndim == 0:
            raise RequestError("data", f"{wanted}, got {type(part).__name__} among them.")
    if targets.ndim != 1 or targets.is_floating_point() or targets.is_complex():
        raise RequestError(
            "data", f"{wanted}, got targets of shape {tuple(targets.shape)} and {targets.dtype}."
        )
    counts = [len(part) for part in (*parts, targets)]
    if len(set(counts)) != 1 or counts[0] == 0:
        raise RequestError("data", f"{wanted}, got {' and '.join(map(str, counts))} examples.")
    return (parts[0] if len(parts) == 1 else parts), targets


def demo_source(key: str) -> Source:
    """Return the source of a shipped demo: a network trained on handwritten digits, with held-out data.

    Args:
        key: A key of `prunescope.sources.demos.DEMOS`.
    """
    demo = DEMOS[key]
    model, data = demo.load()
    note = f"{percent(demo.accuracy)} right on {len(data[1])} held-out digits. {DATA_CREDIT}"
    return Source(model, demo.title, data, demo.layer, note)
