"""Criteria from the inputs and outputs of layers: Wanda, activation, batch-norm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunescope.core.criteria import Importance
from prunescope.core.tensor import PrunableTensor
from prunescope.measure.importance.places import CONVOLUTIONS, NORMS, TRANSPOSED, Found, output_axis, owner
from prunescope.measure.importance.running import Loss, answer_of
from prunescope.measure.randomness import untouched_randomness
from prunescope.sources.inputs import rows_of

_NOT_RUN = "belongs to a layer that is not called when the model runs"


class Watch:
    """What is seen of the layers while the model runs without gradients; subclasses say what."""

    layers: tuple[type[nn.Module], ...] = (nn.Linear, *CONVOLUTIONS)
    only = "is not the weight of a linear or convolution layer, and this criterion is defined only for those"

    def __init__(self, model: nn.Module, tensors: Mapping[str, PrunableTensor], loss: Loss) -> None:
        self._model, self._tensors = model, tensors
        self._owners = {name: owner(model, name) for name in tensors}
        self._sums: dict[nn.Module, Tensor] = {}
        self._counts: dict[nn.Module, int] = {}

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Watch every layer of the copy."""
        handles = [module.register_forward_hook(self._seen) for module in self._model.modules()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def run(self, inputs: tuple[Tensor, ...], targets: Tensor | None) -> None:
        """Run one batch."""
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # It runs no hooks.
        try:
            with untouched_randomness(), torch.no_grad():
                answer_of(self._model, inputs)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)

    def _seen(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, self.layers):
            found, count = self.look(module, inputs[0].detach(), output.detach())
            self._sums[module] = self._sums[module] + found if module in self._sums else found
            self._counts[module] = self._counts.get(module, 0) + count

    def look(self, module: nn.Module, given: Tensor, answer: Tensor) -> tuple[Tensor, int]:
        """Return what to sum of one call of a layer, and how many things it is the sum of."""
        raise NotImplementedError

    def found(self) -> Found:
        """Return the scores of the layers seen."""
        return {name: self._of(name, tensor) for name, tensor in self._tensors.items()}

    def _of(self, name: str, tensor: PrunableTensor) -> Importance | str:
        module, own = self._owners[name]
        if own != "weight" or not isinstance(module, self.layers):
            return self.only
        if module not in self._sums:
            return _NOT_RUN
        return self.importance(module, tensor)

    def importance(self, module: nn.Module, tensor: PrunableTensor) -> Importance | str:
        """Return the scores of a layer that was seen."""
        raise NotImplementedError


class Wanda(Watch):
    """|w| · ‖x‖₂, where x is the input that the weight meets, over all examples and positions."""

    def look(self, module: nn.Module, given: Tensor, answer: Tensor) -> tuple[Tensor, int]:
        """Return the sum of squares of each input that a row of weights meets."""
        if isinstance(module, CONVOLUTIONS):
            return _squares_met(module, given, answer.shape), 1
        return given.double().square().reshape(-1, given.shape[-1]).sum(0), 1

    def importance(self, module: nn.Module, tensor: PrunableTensor) -> Importance:
        """Return magnitude times norm."""
        norms = self._sums[module].sqrt()
        if isinstance(module, CONVOLUTIONS) and module.groups > 1:
            # An output channel of group g meets the input channels of that group.
            norms = norms.reshape(module.groups, -1, *norms.shape[1:])
            norms = norms.repeat_interleave(module.out_channels // module.groups, 0)
        return Importance((tensor.weight.double().abs() * norms).float())


def _squares_met(module: Any, given: Tensor, out: Sequence[int]) -> Tensor:
    """Return the sum of squares that each place of the kernel meets, of shape ``(in_channels, *kernel)``.

    The same as squaring and summing im2col's rows, without the memory of those.
    """
    axes = len(module.kernel_size)
    given = given if given.dim() == axes + 2 else given.unsqueeze(0)
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = F.pad(given.double(), module._reversed_padding_repeated_twice, mode=mode).square_()
    sums = padded.new_zeros(given.shape[1], *module.kernel_size)
    for place in torch.cartesian_prod(*map(torch.arange, module.kernel_size)).reshape(-1, axes).tolist():
        window = padded
        for axis, offset in enumerate(place):
            stride, start = module.stride[axis], offset * module.dilation[axis]
            stop = start + stride * (out[axis - axes] - 1) + 1
            window = window.narrow(2 + axis, start, stop - start)[
                (slice(None),) * (2 + axis) + (slice(None, None, stride),)
            ]
        sums[(slice(None), *place)] = window.sum([0, *range(2, 2 + axes)])
    return sums


class Activation(Watch):
    """Mean |a| of each output channel's activation."""

    layers = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)

    def look(self, module: nn.Module, given: Tensor, answer: Tensor) -> tuple[Tensor, int]:
        """Return the sum of magnitudes of each output channel."""
        axis = -1 if isinstance(module, nn.Linear) else -1 - len(module.kernel_size)  # type: ignore[arg-type]
        channels = answer.movedim(axis, 0).reshape(answer.shape[axis], -1)
        return channels.double().abs().sum(1), channels.shape[1]

    def importance(self, module: nn.Module, tensor: PrunableTensor) -> Importance | str:
        """Return the means."""
        dim = output_axis(module)
        if dim is None:
            return "has output channels in groups, which no axis indexes"
        return Importance(None, {dim: (self._sums[module] / self._counts[module]).float()})


class BatchNorm(Watch):
    """|γ| of the batch-norm that receives the layer's output tensor."""

    layers = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)

    def __init__(self, model: nn.Module, tensors: Mapping[str, PrunableTensor], loss: Loss) -> None:
        super().__init__(model, tensors, loss)
        self._put_out: list[tuple[Tensor, nn.Module]] = []
        self._behind: dict[nn.Module, Any] = {}
        self._done = False

    def run(self, inputs: tuple[Tensor, ...], targets: Tensor | None) -> None:
        """Run the first batch; the network is the same on every other."""
        if not self._done:
            super().run(rows_of(inputs, slice(0, 2)), targets)
        self._done = True
        self._put_out.clear()

    def _seen(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, self.layers):
            self._put_out.append((output, module))
            self._sums[module] = torch.zeros(())
        elif isinstance(module, NORMS):
            for answer, layer in self._put_out:
                if answer is inputs[0]:
                    self._behind[layer] = module

    def importance(self, module: nn.Module, tensor: PrunableTensor) -> Importance | str:
        """Return the scales."""
        norm, dim = self._behind.get(module), output_axis(module)
        if norm is None:
            return "has no batch-norm after it"
        if norm.weight is None or dim is None:
            return "has a batch-norm after it without a scale for each channel"
        return Importance(None, {dim: norm.weight.detach().float().abs()})
