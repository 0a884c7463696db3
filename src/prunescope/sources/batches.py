"""Examples that come in batches, read once and only when needed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.sources.inputs import Inputs, Named, as_tensor, is_classes, rows_of

MOST_EXAMPLES = 256
"""Default number of examples read from a loader, a dataset or batches."""

TARGET_NAMES = ("labels", "label", "targets", "target", "y")
"""Names of the targets in a dict of tensors."""


@contextmanager
def _randomness_kept() -> Iterator[None]:
    """Restore the global random states after the block: a loader draws from them."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@dataclass(eq=False)
class Batches:
    """Examples that are read from batches on first use.

    Args:
        given: Batches, each ``(inputs, targets)`` or a dict of tensors.
        most: How many examples are taken at most.
        total: How many there are, if known.
        parameter: Their name in messages.
        classes: Whether targets must be class indices.

    Attributes:
        sizes: How many examples were taken of each batch; empty before they are read.

    Example:
        >>> batches = Batches([(torch.zeros(3, 2), torch.zeros(3).long())] * 4, most=8)
        >>> list(batches.read()), batches.note
        ([3, 6, 8], 'Measured on the first 8 examples.')
    """

    given: Iterable[Any]
    most: int = MOST_EXAMPLES
    total: int | None = None
    parameter: str = "data"
    classes: bool = True
    sizes: tuple[int, ...] = ()
    _pair: tuple[Inputs, Tensor] | None = field(default=None, repr=False)
    _problem: RequestError | None = field(default=None, repr=False)

    @property
    def is_read(self) -> bool:
        """Return whether the examples are known."""
        return self._pair is not None

    @property
    def note(self) -> str:
        """Return how many of the examples are used, in one sentence."""
        count = len(self._pair[1]) if self._pair is not None else min(self.most, self.total or self.most)
        if self.total is None:
            return f"Measured on the first {count:,} examples."
        of = "all" if count == self.total else f"the first {count:,} of"
        return f"Measured on {of} {self.total:,} examples."

    def read(self) -> Iterator[int]:
        """Yield how many examples were read after each batch, until there are enough; nothing if done.

        Raises:
            RequestError: A batch has another form, its examples have other shapes than earlier ones, there is
                no batch, or the loader raises; raised again on every call.
        """
        if self._problem is not None:
            raise self._problem
        if self._pair is not None:
            return
        try:
            yield from self._read()
        except RequestError as problem:
            self._problem = problem
            raise

    def _read(self) -> Iterator[int]:
        inputs: list[tuple[Tensor, ...]] = []
        targets: list[Tensor] = []
        count, iterator = 0, batches_of(self.given, self.parameter)
        while count < self.most:
            with _randomness_kept():  # Anew for each batch: others may draw in between.
                batch = next(iterator, None)
            if batch is None:
                break
            self._fit(batch, inputs, targets)
            rows = slice(0, self.most - count)
            inputs.append(rows_of(batch[0], rows))
            targets.append(batch[1][rows])
            count += len(targets[-1])
            if count >= self.most:
                self._pair = self._joined(inputs, targets)
            yield count
        if self._pair is None:
            self._pair = self._joined(inputs, targets)

    def _fit(
        self, batch: tuple[tuple[Tensor, ...], Tensor], inputs: list[tuple[Tensor, ...]], before: list[Tensor]
    ) -> None:
        parts, targets = batch
        name = self.parameter
        if self.classes and not is_classes(targets):
            raise RequestError(
                name,
                f"`{name}` must have class indices as targets, one per example, got {_kind(targets)}: give "
                "`loss` or `metric` for anything but classification.",
            )
        if before and [part.shape[1:] for part in (*parts, targets)] != [
            part.shape[1:] for part in (*inputs[0], before[0])
        ]:
            raise RequestError(
                name,
                f"`{name}` must have examples of one shape to be kept together: batch 1 has "
                f"{_kind(*inputs[0])}, batch {len(before) + 1} has {_kind(*parts)}.",
            )

    def _joined(self, inputs: list[tuple[Tensor, ...]], targets: list[Tensor]) -> tuple[Inputs, Tensor]:
        if not targets:
            raise RequestError(self.parameter, f"`{self.parameter}` has no batch: it ended before the first.")
        self.sizes = tuple(map(len, targets))
        parts = tuple(torch.cat(each) for each in zip(*inputs, strict=True))
        if isinstance(inputs[0], Named):
            parts = Named(dict(zip(inputs[0].names, parts, strict=True)))
        whole = parts[0] if len(parts) == 1 and not isinstance(parts, Named) else parts
        return whole, torch.cat(targets)

    @property
    def pair(self) -> tuple[Inputs, Tensor]:
        """Return ``(inputs, targets)``, reading them now if needed.

        Raises:
            RequestError: As `read` does.
        """
        for _ in self.read():
            pass
        assert self._pair is not None
        return self._pair


def _kind(*tensors: Tensor) -> str:
    return ", ".join(
        f"{'×'.join(map(str, tensor.shape)) or 'a number'} {str(tensor.dtype)[6:]}" for tensor in tensors
    )


def batches_of(given: Iterable[Any], parameter: str = "data") -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
    """Yield each batch as ``(inputs, targets)``, the inputs one tensor per argument.

    Args:
        given: Batches, each ``(inputs, targets)`` or a dict of tensors with targets under one of
            `TARGET_NAMES`.
        parameter: Their name in messages.

    Raises:
        RequestError: A batch has another form, or the iterable raises.

    Example:
        >>> [(inputs, targets)] = batches_of([{"ids": torch.zeros(2, 3), "labels": torch.tensor([0, 1])}])
        >>> inputs.names, targets
        (('ids',), tensor([0, 1]))
    """
    try:
        iterator = iter(given)
    except Exception as error:
        raise _raised(parameter, error) from error
    number = 0
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except Exception as error:  # Whatever the user's loader raises, in one sentence.
            raise _raised(parameter, error) from error
        number += 1
        parts, targets = split(batch, parameter, f"batch {number}")
        if len({len(part) for part in (*parts, targets)}) != 1:
            counts = " and ".join(str(len(part)) for part in (*parts, targets))
            raise RequestError(parameter, f"`{parameter}`: batch {number} has {counts} examples.")
        yield parts, targets


def _raised(parameter: str, error: Exception) -> RequestError:
    reason = (str(error).strip() or "no reason given").splitlines()[0]
    return RequestError(parameter, f"`{parameter}` raised {type(error).__name__} while it was read: {reason}")


def split(batch: Any, parameter: str, what: str) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the inputs and the targets of a batch.

    Raises:
        RequestError: It is neither ``(inputs, targets)`` nor a dict of tensors with targets.
    """
    wanted = f"`{parameter}` must give batches of (inputs, targets), or dicts with tensors and 'labels'"
    if isinstance(batch, Mapping):
        name = next((name for name in TARGET_NAMES if name in batch), None)
        if name is None:
            raise RequestError(parameter, f"{wanted}; {what} is a dict of {', '.join(map(str, batch))}.")
        inputs: Any = {key: value for key, value in batch.items() if key != name}
        targets = batch[name]
    elif isinstance(batch, tuple | list) and len(batch) == 2:
        inputs, targets = batch
    elif isinstance(batch, tuple | list) and len(batch) > 2:
        inputs, targets = batch[:-1], batch[-1]
    else:
        raise RequestError(parameter, f"{wanted}; {what} is {_type(batch)}.")
    found = [as_tensor(targets), *map(as_tensor, listed(inputs))]
    if len(found) < 2 or any(part is None or part.ndim == 0 for part in found):
        raise RequestError(parameter, f"{wanted}; {what} has {_type(inputs)} and {_type(targets)}.")
    tensors = [part for part in found if part is not None]
    if isinstance(inputs, Mapping):
        return Named(dict(zip(inputs, tensors[1:], strict=True))), tensors[0]
    return tuple(tensors[1:]), tensors[0]


def listed(inputs: Any) -> list[Any]:
    """Return the inputs one by one, without their names."""
    if isinstance(inputs, Mapping):
        return list(inputs.values())
    return list(inputs) if isinstance(inputs, tuple | list) else [inputs]


def _type(value: Any) -> str:
    return f"a {type(value).__name__}"
