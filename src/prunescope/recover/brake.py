"""Stop a run of a model from another thread: at its next operation, in the forward or the backward pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch.utils._python_dispatch import TorchDispatchMode

T = TypeVar("T")


class Interrupted(BaseException):
    """A run that was stopped; not an `Exception`, so that a model's own handlers let it pass."""


class Brake:
    """Stop what runs `within` it, in another thread, at its next operation of torch.

    In the thread that made it, nobody can pull it meanwhile: nothing is checked there, or slower.

    Attributes:
        pulled: Whether it was pulled.

    Example:
        >>> brake = Brake()
        >>> brake.pull()
        >>> with brake.within():
        ...     print("the thread that made it runs on")
        the thread that made it runs on
    """

    def __init__(self) -> None:
        self._home, self.pulled = threading.get_ident(), False

    def pull(self) -> None:
        """Stop what runs within it; may be called from any thread."""
        self.pulled = True

    @contextmanager
    def within(self) -> Iterator[None]:
        """Raise `Interrupted` within the block, at the first operation after it is pulled."""
        if threading.get_ident() == self._home:
            yield
        else:
            with _Watch(self):
                yield

    def over(self, work: Iterator[T]) -> Iterator[T]:
        """Yield from ``work``, each piece of which may be stopped."""
        end = object()
        while True:
            with self.within():
                found = next(work, end)
            if found is end:
                return
            yield found  # type: ignore[misc]


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Looks at the brake before each operation; those of the backward pass come by here too."""

    def __init__(self, brake: Brake) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._brake = brake

    def __torch_dispatch__(
        self,
        operation: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if self._brake.pulled:
            raise Interrupted
        return operation(*args, **(kwargs or {}))
