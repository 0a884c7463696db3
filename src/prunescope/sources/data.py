"""The accepted forms of examples: tensors, arrays, dicts of tensors, a `Dataset`, a `DataLoader`, batches.

All of them become ``(inputs, targets)``. A loader is not touched until its examples are needed, and is read
once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from prunescope.core.errors import RequestError
from prunescope.sources.batches import MOST_EXAMPLES, Batches, batches_of, listed, split
from prunescope.sources.inputs import Inputs, Named, as_tensor, is_classes, parts_of, rows_of

WANTED = "`data` must be (inputs, targets), tensors of N examples each with class indices as targets"


def batches(given: Any, size: int = 64) -> tuple[Iterable[Any], int | None] | None:
    """Return the batches of a loader, a dataset or an iterable, and the number of examples if known.

    None if it is none of these.

    Example:
        >>> _, total = batches(torch.utils.data.TensorDataset(torch.zeros(5, 2), torch.zeros(5).long()))
        >>> total
        5
    """
    if isinstance(given, DataLoader):
        return given, _length(given.dataset)
    if isinstance(given, Dataset):
        loader: DataLoader[Any] = DataLoader(given, batch_size=size)
        return loader, _length(given)
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping | Tensor | np.ndarray):
        return given, None
    return None


def _length(dataset: object) -> int | None:
    try:
        return len(dataset)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None


def examples(
    given: Any, *, most: int = MOST_EXAMPLES, classes: bool = True, parameter: str = "data"
) -> tuple[Inputs, Tensor] | Batches:
    """Return ``(inputs, targets)`` in any accepted form, or the batches to read them from.

    A pair whose second part is a tensor or an array is ``(inputs, targets)``, used whole; so is a dict of
    tensors with targets. Anything else is batches.

    Args:
        given: ``(inputs, targets)``, a dict of tensors, a loader, a dataset, or an iterable of batches.
        most: Most examples to read from batches.
        classes: Whether targets must be class indices.
        parameter: Its name in messages.

    Raises:
        RequestError: It has none of these forms.

    Example:
        >>> examples((np.zeros((2, 3)), np.array([0, 1])))[1]
        tensor([0, 1])
    """
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise RequestError("max_examples", f"`max_examples` must be a count of at least 1, got {most!r}.")
    if isinstance(given, Mapping):
        parts, targets = split(given, parameter, "it")
        return _whole(parts, targets, parameter, classes)
    if _is_pair(given):
        return _whole(_parts(given[0], parameter), as_tensor(given[1]), parameter, classes)
    found = None if _holds_tensors(given) else batches(given)
    if found is None:
        wanted = f"{_wanted(parameter)}, a dict of them, a DataLoader, a Dataset or an iterable of batches"
        among = " among them" if _holds_tensors(given) and len(given) == 2 else ""
        got = type(given[1] if among else given).__name__
        raise RequestError(parameter, f"{wanted}, got {got}{among}.")
    return Batches(found[0], most, found[1], parameter, classes)


def _wanted(parameter: str) -> str:
    return WANTED.replace("`data`", f"`{parameter}`", 1)


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple | list) and len(given) == 2 and isinstance(given[1], Tensor | np.ndarray)


def _holds_tensors(given: Any) -> bool:
    """Return whether it is a tuple or list of tensors, which is not a list of batches."""
    return isinstance(given, tuple | list) and any(isinstance(part, Tensor | np.ndarray) for part in given)


def _parts(inputs: Any, parameter: str) -> tuple[Tensor, ...]:
    parts = [as_tensor(part) for part in listed(inputs)]
    if not parts:
        raise RequestError(parameter, f"{_wanted(parameter)}, got no inputs.")
    for part, given in zip(parts, listed(inputs), strict=True):
        if part is None or part.ndim == 0:
            raise RequestError(parameter, f"{_wanted(parameter)}, got {type(given).__name__} among them.")
    tensors = [part for part in parts if part is not None]
    return Named(dict(zip(inputs, tensors, strict=True))) if isinstance(inputs, Mapping) else tuple(tensors)


def _whole(
    parts: tuple[Tensor, ...], targets: Tensor | None, parameter: str, classes: bool
) -> tuple[Inputs, Tensor]:
    wanted = _wanted(parameter)
    if targets is None or targets.ndim == 0:
        raise RequestError(parameter, f"{wanted}, got {type(targets).__name__} among them.")
    if classes and not is_classes(targets):
        raise RequestError(
            parameter, f"{wanted}, got targets of shape {tuple(targets.shape)} and {targets.dtype}."
        )
    counts = [len(part) for part in (*parts, targets)]
    if len(set(counts)) != 1 or counts[0] == 0:
        raise RequestError(parameter, f"{wanted}, got {' and '.join(map(str, counts))} examples.")
    return (parts[0] if len(parts) == 1 and not isinstance(parts, Named) else parts), targets


@dataclass(frozen=True, eq=False)
class Training:
    """Training examples, iterated anew in each epoch.

    Attributes:
        given: Returns ``(inputs, targets)``, or batches of them.
        vary: Returns the inputs of a batch of tensors a little changed, by random numbers of the generator
            that it is given; None trains on them as they are.
    """

    given: Callable[[], tuple[Inputs, Tensor] | Batches]
    vary: Callable[[tuple[Tensor, ...], torch.Generator], tuple[Tensor, ...]] | None = None

    def epoch(self, size: int, seed: int) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        """Yield the batches of one epoch: of tensors in an order drawn by ``seed``; of a loader in its own.

        Args:
            size: Examples in a batch of tensors.
            seed: Draws the order; the global random state is not used.
        """
        given = self.given()
        if isinstance(given, Batches):
            yield from batches_of(given.given, given.parameter)
            return
        parts, targets = parts_of(given[0]), given[1]
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(targets), generator=generator)
        for start in range(0, len(targets), size):
            rows = order[start : start + size].to(targets.device)
            inputs = rows_of(parts, rows)
            yield inputs if self.vary is None else self.vary(inputs, generator), targets[rows]

    @property
    def examples(self) -> int | None:
        """Return the number of examples, if known."""
        given = self.given()
        return given.total if isinstance(given, Batches) else len(given[1])

    def batches(self, size: int) -> int | None:
        """Return the number of batches per epoch, if known."""
        given = self.given()
        if isinstance(given, Batches):
            return _length(given.given)
        return -(-len(given[1]) // size)


def training_of(given: object, *, classes: bool = True) -> Training:
    """Return training examples from any form that `examples` accepts.

    Args:
        given: The examples.
        classes: Whether targets must be class indices.

    Raises:
        RequestError: It has none of these forms.
    """
    found = examples(given, classes=classes, parameter="train")
    return Training(lambda: found)
