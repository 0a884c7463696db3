"""Save and restore the global random states of torch, NumPy and Python."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Randomness:
    """The global random states at one moment.

    Attributes:
        python: Of ``random``.
        numpy: Of NumPy's legacy generator.
        torch: Of torch on the CPU.
        cuda: Of torch on each CUDA device; empty where CUDA is not in use.
    """

    python: Any
    numpy: Any
    torch: Tensor
    cuda: list[Tensor]

    @classmethod
    def now(cls) -> Randomness:
        """Save the current states."""
        return cls(
            random.getstate(),
            np.random.get_state(),  # noqa: NPY002
            torch.get_rng_state(),
            torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],  # type: ignore[no-untyped-call]
        )

    def restore(self) -> None:
        """Restore the states.

        Example:
            >>> before = Randomness.now()
            >>> drawn = torch.rand(1)
            >>> before.restore()
            >>> bool(torch.rand(1) == drawn)
            True
        """
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Restore the global random states after the block."""
    found = Randomness.now()
    try:
        yield
    finally:
        found.restore()
