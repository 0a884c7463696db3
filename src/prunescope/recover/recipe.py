"""How to fine-tune a pruned copy: the optimizer, the learning-rate schedule and the pruning schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from prunescope.core.errors import RequestError

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]] = {
    "AdamW": lambda parameters, rate: torch.optim.AdamW(parameters, lr=rate),
    "Adam": lambda parameters, rate: torch.optim.Adam(parameters, lr=rate),
    "SGD": lambda parameters, rate: torch.optim.SGD(parameters, lr=rate, momentum=0.9),
}
"""The optimizers by name; SGD has a momentum of 0.9."""

RATES = ("rewind", "constant")
"""Learning-rate schedules: decay from the highest rate again, as in the original training, or constant."""

PRUNING = ("one-shot", "gradual")
"""When pruned weights become zero: all from the first step on, or gradually."""

TARGETS = ("labels", "dense")
"""What it is trained to match: the labels in ``train``, or the output of the dense model."""

RAMP = 2 / 3
"""Share of a gradual training after which everything is pruned."""


def gradual_share(done: float) -> float:
    """Return the share of the weights to prune that is pruned at ``done`` of the ramp, both in [0, 1].

    M. Zhu and S. Gupta, "To prune, or not to prune" (2017), arXiv:1710.01878: s_f + (s_i − s_f)(1 − t)³.

    Example:
        >>> gradual_share(0), gradual_share(0.5), gradual_share(1)
        (0.0, 0.875, 1.0)
    """
    return 1.0 - (1 - min(max(done, 0.0), 1.0)) ** 3


def rewound(done: float) -> float:
    """Return the learning rate relative to its highest, at ``done`` of the training, both in [0, 1].

    It falls from 1 to 0 along half a cosine, like the end of a training's own schedule: A. Renda et
    al., "Comparing rewinding and fine-tuning in neural network pruning", ICLR 2020.

    Example:
        >>> rewound(0), round(rewound(0.5), 6), round(rewound(1), 6)
        (1.0, 0.5, 0.0)
    """
    return (1 + math.cos(math.pi * min(done, 1.0))) / 2


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune.

    Attributes:
        optimizer: A name of `OPTIMIZERS`, or a function of the parameters that returns an optimizer.
        learning_rate: Highest learning rate, positive; not used if ``optimizer`` is a function.
        epochs: Number of passes over the data; None if ``seconds`` is given.
        seconds: How long to train, in seconds; None if ``epochs`` is given.
        rates: One of `RATES`.
        pruning: One of `PRUNING`.
        targets: One of `TARGETS`; ``"dense"`` is for classes, and needs no labels.
        batch: Examples in a batch; a loader uses its own batches.
        seed: Seed for the order of the examples, and for randomness in the model such as dropout.

    Raises:
        RequestError: A value is invalid.

    Example:
        >>> Recipe(epochs=2).call
        "fine_tune(optimizer='AdamW', learning_rate=0.003, epochs=2)"
    """

    optimizer: str | Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = "AdamW"
    learning_rate: float = 3e-3
    epochs: int | None = None
    seconds: float | None = None
    rates: str = "rewind"
    pruning: str = "one-shot"
    targets: str = "labels"
    batch: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs is None and self.seconds is None:
            object.__setattr__(self, "epochs", 20)
        if self.epochs is not None and self.seconds is not None:
            raise RequestError("epochs", "`epochs` and `seconds` both end the training: give one of them.")
        _one_of("rates", self.rates, RATES)
        _one_of("pruning", self.pruning, PRUNING)
        _one_of("targets", self.targets, TARGETS)
        if not callable(self.optimizer):
            _one_of("optimizer", self.optimizer, tuple(OPTIMIZERS), "or a function of the parameters")
        _positive("learning_rate", self.learning_rate, float)
        _positive("batch", self.batch, int)
        _positive("epochs", self.epochs, int)
        _positive("seconds", self.seconds, float)

    @property
    def call(self) -> str:
        """Return the function call, such as ``"fine_tune(…)"``, leaving out defaults."""
        optimizer = self.optimizer if isinstance(self.optimizer, str) else _name(self.optimizer)
        usual = {"rates": "rewind", "pruning": "one-shot", "targets": "labels", "batch": 64, "seed": 0}
        more = {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}
        ends = {"epochs": self.epochs} if self.epochs is not None else {"seconds": self.seconds}
        given = {"optimizer": optimizer, "learning_rate": self.learning_rate, **ends, **more}
        return f"fine_tune({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def make_optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Make the optimizer for ``parameters``.

        Raises:
            RequestError: The user's function raises, or returns something else.
        """
        try:
            if callable(self.optimizer):
                made: Any = self.optimizer(parameters)
            else:
                made = OPTIMIZERS[self.optimizer](parameters, self.learning_rate)
        except Exception as error:
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            raise RequestError("optimizer", f"`optimizer` raised {type(error).__name__}: {reason}") from error
        if not isinstance(made, torch.optim.Optimizer):
            raise RequestError(
                "optimizer", f"`optimizer` must return a torch.optim.Optimizer, got {type(made).__name__}."
            )
        return made

    def rate(self, done: float) -> float:
        """Return the learning rate relative to its highest, at ``done`` of the training, in [0, 1]."""
        return rewound(done) if self.rates == "rewind" else 1.0


def _name(function: object) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _one_of(name: str, value: object, allowed: tuple[str, ...], more: str = "") -> None:
    if value not in allowed:
        listed = f"{', '.join(map(repr, allowed))}{f', {more}' if more else ''}"
        raise RequestError(name, f"`{name}` must be one of {listed}, got {value!r}.")


def _positive(name: str, value: object, kind: type) -> None:
    if value is None:
        return
    numbers = (int, float) if kind is float else (int,)
    if isinstance(value, bool) or not isinstance(value, numbers) or not 0 < value < math.inf:
        wanted = "a number above 0" if kind is float else "a whole number of at least 1"
        raise RequestError(name, f"`{name}` must be {wanted}, got {value!r}.")
