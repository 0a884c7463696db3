"""Criteria from the gradients of the loss: Taylor and Fisher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from prunescope.core.criteria import Importance
from prunescope.core.tensor import PrunableTensor
from prunescope.measure.importance.places import Found
from prunescope.measure.importance.running import Loss, answer_of
from prunescope.measure.randomness import untouched_randomness

_UNUSED = "has no gradient: the loss does not depend on it"


class Gradients:
    """What is taken from the gradients of the loss, averaged over batches; subclasses say what."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, PrunableTensor], loss: Loss) -> None:
        self._model, self._loss = model, loss
        stored = dict(model.named_parameters(remove_duplicate=False))
        self._stored = {name: stored[name if name in stored else f"{name}_orig"] for name in tensors}
        self._batches = 0

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Have all parameters ask for gradients; the copy is given up afterwards."""
        for parameter in self._model.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        yield

    def run(self, inputs: tuple[Tensor, ...], targets: Tensor | None) -> None:
        """Take in the gradients of one batch."""
        # cuDNN's recurrent layers have no backward pass in eval mode; torch's own have.
        with untouched_randomness(), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            loss = self._loss(answer_of(self._model, inputs), targets)
            unique = list(dict.fromkeys(self._stored.values()))
            gradients = dict(zip(unique, torch.autograd.grad(loss, unique, allow_unused=True), strict=True))
        self._batches += 1
        for name, parameter in self._stored.items():
            gradient = gradients[parameter]
            if gradient is not None:
                self.take(name, gradient.detach().float(), parameter.detach().float())

    def take(self, name: str, gradient: Tensor, weight: Tensor) -> None:
        """Take in the gradient of one tensor."""
        raise NotImplementedError


class Taylor(Gradients):
    """Mean |g·w| of each weight, and mean (Σ g·w)² of each channel along every axis."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, PrunableTensor], loss: Loss) -> None:
        super().__init__(model, tensors, loss)
        self._weights: dict[str, Tensor] = {}
        self._channels: dict[str, dict[int, Tensor]] = {}

    def take(self, name: str, gradient: Tensor, weight: Tensor) -> None:
        """Add |g·w| of each weight and (Σ g·w)² of each channel."""
        product = gradient.mul_(weight)
        channels = self._channels.setdefault(name, {})
        for dim in range(product.dim() if product.dim() > 1 else 0):
            squares = product.sum([axis for axis in range(product.dim()) if axis != dim]).square()
            channels[dim] = channels[dim] + squares if dim in channels else squares
        magnitude = product.abs_()
        self._weights[name] = self._weights[name].add_(magnitude) if name in self._weights else magnitude

    def found(self) -> Found:
        """Return the means."""
        return {
            name: Importance(
                self._weights[name] / self._batches,
                {dim: sums / self._batches for dim, sums in self._channels[name].items()},
            )
            if name in self._weights
            else _UNUSED
            for name in self._stored
        }


class Fisher(Gradients):
    """Half the mean of g², times w²."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, PrunableTensor], loss: Loss) -> None:
        super().__init__(model, tensors, loss)
        self._squares: dict[str, Tensor] = {}

    def take(self, name: str, gradient: Tensor, weight: Tensor) -> None:
        """Add g²."""
        square = gradient.square_()
        self._squares[name] = self._squares[name].add_(square) if name in self._squares else square

    def found(self) -> Found:
        """Return ½ F·w²."""
        return {
            name: Importance(self._squares[name] / (2 * self._batches) * parameter.detach().float().square())
            if name in self._squares
            else _UNUSED
            for name, parameter in self._stored.items()
        }
