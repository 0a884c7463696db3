"""Computes the scores of the criteria: once for a model and its data, on a copy in eval mode.

`score` is a generator: each step is one batch, so that a page can pump it, show how far it is, and give it
up. A change of amount never computes again: a session keeps the scores until its model changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunescope.core.criteria import CRITERIA, WEIGHT, Importance
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.core.spec import METHODS, PruneSpec, Resolved
from prunescope.core.tensor import PrunableTensor
from prunescope.measure.randomness import untouched_randomness
from prunescope.session import Session
from prunescope.sources import copy_of
from prunescope.sources.inputs import arguments, rows_of, scores_of

BATCH = 64
"""Examples in a batch, where the data are tensors."""

Found = dict[str, "Importance | str"]
"""By tensor its scores, or why it has none, such as ``"is not run"``."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def scored_preview(session: Session, resolved: Resolved, place: int = 0) -> Preview:
    """Return `Session.preview`, having computed the scores that it waits for.

    Raises:
        RequestError: They cannot be computed, or the tensor cannot be ranked.
    """
    spec = resolved.spec
    if METHODS[spec.method].takes_scores:
        ensure_scores(session, spec.criterion)
    return session.preview(resolved, place)


def ensure_asked(session: Session, asked: object) -> None:
    """Compute the scores that a step waits for, or each part of a step for many layers.

    Args:
        session: The session.
        asked: A spec, or what has several as ``specs``; anything else needs none.

    Raises:
        RequestError: They cannot be computed.
    """
    for spec in getattr(asked, "specs", (asked,)):
        if isinstance(spec, PruneSpec) and _is_scored(spec) and not session.criteria.why_not(spec):
            ensure_scores(session, spec.criterion)


def _is_scored(spec: PruneSpec) -> bool:
    """Return whether ``spec`` ranks scores; what is no method or criterion is for `resolve` to refuse."""
    if not isinstance(spec.method, str) or not isinstance(spec.criterion, str):
        return False
    return spec.criterion in CRITERIA and spec.method in METHODS and METHODS[spec.method].takes_scores


def ensure_scores(session: Session, criterion: str) -> None:
    """Compute the scores of ``criterion`` unless the session has them.

    Raises:
        RequestError: The model cannot be run, or the scores given are none.
    """
    for _ in score(session, criterion):
        pass


def score(session: Session, criterion: str) -> Iterator[float]:
    """Yield how much is done, in (0, 1], after each batch; the session has the scores after the last.

    Args:
        session: The session; nothing is computed if it has them, or if ``criterion`` is ``"weight"``.
        criterion: A key of `prunescope.core.criteria.CRITERIA`.

    Raises:
        RequestError: The model cannot be run on the data, or scores given do not fit.
    """
    if criterion == WEIGHT or session.criteria.known(criterion) is not None:
        return
    if criterion == "given":
        session.criteria.keep(criterion, given_scores(session.source.importance_scores, session))
        yield 1.0
        return
    source = session.source
    try:
        model = copy_of(source.module).eval()
    except RequestError:
        raise
    except Exception as error:
        raise _failed(criterion, error) from error
    pair = source.scored_pair
    batches = list(_batches(source.inputs, None if pair is None else pair[1]))
    if not batches:
        return
    collector = COLLECTORS[criterion](model, session.tensors, source.loss or cross_entropy)
    with collector.attached():
        for number, (inputs, targets) in enumerate(batches, 1):
            try:
                collector.run(inputs, targets)
            except Exception as error:  # Whatever the user's model raises is theirs to read, in one sentence.
                raise _failed(criterion, error) from error
            if number < len(batches):
                yield number / len(batches)
    session.criteria.keep(criterion, {name: _sound(found) for name, found in collector.found().items()})
    yield 1.0


def cross_entropy(answer: Any, targets: Any) -> Tensor:
    """Return the cross-entropy of what a model answers, mean over the batch.

    Args:
        answer: Scores of shape ``(N, classes)`` or ``(N, positions, classes)``; an output with ``.logits``,
            a dict with ``"logits"``, or a tuple that begins with them.
        targets: Class indices of shape ``(N,)`` or ``(N, positions)``.
    """
    logits = scores_of(answer)
    if not isinstance(logits, Tensor):
        raise TypeError(f"the model must answer with scores, got {type(logits).__name__}")
    if targets.is_floating_point():
        raise TypeError("targets are not class indices: pass `loss=`, a function of answer and targets")
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def given_scores(given: object, session: Session) -> Found:
    """Return the scores that a user gives, by tensor.

    Args:
        given: A tensor for the first layer; a dict by full name; or a function of
            ``(module, name)`` that returns a tensor, or None for what it does not cover.
        session: Whose tensors they are for.

    Raises:
        RequestError: A score is no tensor, has another shape, or names nothing.
    """
    if isinstance(given, Tensor):
        names = [name for name, each in session.tensors.items() if len(each.shape) > 1] or list(
            session.tensors
        )
        given = {names[0]: given} if len(names) == 1 else {session.first_spec.layer: given}
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in session.tensors]
        if unknown:
            raise RequestError(
                "importance_scores", f"`importance_scores` names {unknown[0]!r}, which is not there."
            )
        found = {name: given.get(name) for name in session.tensors}
    elif callable(given):
        found = {name: given(*_place(session.source.module, name)) for name in session.tensors}
    else:
        got = type(given).__name__
        raise RequestError(
            "importance_scores",
            f"`importance_scores` must be a tensor, a dict by name or a function, got {got}.",
        )
    return {name: _given(session.tensors[name], scores) for name, scores in found.items()}


def _given(tensor: PrunableTensor, scores: object) -> Importance | str:
    if scores is None:
        return "is not among the scores given"
    if not isinstance(scores, Tensor) or tuple(scores.shape) != tensor.shape:
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise RequestError(
            "importance_scores",
            f"`importance_scores` of {tensor.name} must have shape {tensor.shape}, got {got}.",
        )
    return _sound(Importance(scores.detach().clone()))


def _sound(found: Importance | str) -> Importance | str:
    """Return ``found``, or why it cannot be ranked."""
    if isinstance(found, str):
        return found
    every = [*([] if found.weights is None else [found.weights]), *found.channels.values()]
    if not all(bool(values.isfinite().all()) for values in every):
        return "has scores that are not finite: the model or its gradients hold NaN or infinity"
    if not any(bool(values.any()) for values in every):
        return "has scores that are all zero, which rank nothing"
    return found


def _place(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    prefix, _, own = name.rpartition(".")
    return model.get_submodule(prefix), own


def _batches(
    inputs: tuple[Tensor, ...] | None, targets: Tensor | None
) -> Iterator[tuple[Any, Tensor | None]]:
    """Yield the inputs and targets of each batch."""
    for start in range(0, len(inputs[0]) if inputs else 0, BATCH):
        rows = slice(start, start + BATCH)
        assert inputs is not None
        yield rows_of(inputs, rows), None if targets is None else targets[rows]


def _failed(criterion: str, error: Exception) -> RequestError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return RequestError("criterion", f"`criterion` {criterion} could not be computed: {reason}.")


def _answer(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    positional, named = arguments(inputs)
    return model(*positional, **named)


class Collector(Protocol):
    """Gathers what a criterion needs, batch by batch."""

    def attached(self) -> Any:
        """Return a context in which the copy is watched."""

    def run(self, inputs: tuple[Tensor, ...], targets: Tensor | None) -> None:
        """Take in one batch."""

    def found(self) -> Found:
        """Return the scores of every tensor."""


Loss = Callable[[Any, Any], Tensor]


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
            loss = self._loss(_answer(self._model, inputs), targets)
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


_UNUSED = "has no gradient: the loss does not depend on it"
_NOT_RUN = "belongs to a layer that is not called when the model runs"


class Watch:
    """What is seen of the layers while the model runs without gradients; subclasses say what."""

    layers: tuple[type[nn.Module], ...] = (nn.Linear, *_CONVOLUTIONS)
    only = "is not the weight of a linear or convolution layer, and this criterion is defined only for those"

    def __init__(self, model: nn.Module, tensors: Mapping[str, PrunableTensor], loss: Loss) -> None:
        self._model, self._tensors = model, tensors
        self._owners = {name: _owner(model, name) for name in tensors}
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
                _answer(self._model, inputs)
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
        if isinstance(module, _CONVOLUTIONS):
            return _squares_met(module, given, answer.shape), 1
        return given.double().square().reshape(-1, given.shape[-1]).sum(0), 1

    def importance(self, module: nn.Module, tensor: PrunableTensor) -> Importance:
        """Return magnitude times norm."""
        norms = self._sums[module].sqrt()
        if isinstance(module, _CONVOLUTIONS) and module.groups > 1:
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

    layers = (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED)

    def look(self, module: nn.Module, given: Tensor, answer: Tensor) -> tuple[Tensor, int]:
        """Return the sum of magnitudes of each output channel."""
        axis = -1 if isinstance(module, nn.Linear) else -1 - len(module.kernel_size)  # type: ignore[arg-type]
        channels = answer.movedim(axis, 0).reshape(answer.shape[axis], -1)
        return channels.double().abs().sum(1), channels.shape[1]

    def importance(self, module: nn.Module, tensor: PrunableTensor) -> Importance | str:
        """Return the means."""
        dim = _output_axis(module)
        if dim is None:
            return "has output channels in groups, which no axis indexes"
        return Importance(None, {dim: (self._sums[module] / self._counts[module]).float()})


class BatchNorm(Watch):
    """|γ| of the batch-norm that receives the layer's output tensor."""

    layers = (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED)

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
        elif isinstance(module, _NORMS):
            for answer, layer in self._put_out:
                if answer is inputs[0]:
                    self._behind[layer] = module

    def importance(self, module: nn.Module, tensor: PrunableTensor) -> Importance | str:
        """Return the scales."""
        norm, dim = self._behind.get(module), _output_axis(module)
        if norm is None:
            return "has no batch-norm after it"
        if norm.weight is None or dim is None:
            return "has a batch-norm after it without a scale for each channel"
        return Importance(None, {dim: norm.weight.detach().float().abs()})


def _output_axis(module: nn.Module) -> int | None:
    """Return the axis of the weight that indexes output channels; None if there is none."""
    if isinstance(module, _TRANSPOSED):
        return 1 if module.groups == 1 else None
    return 0


def _owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the layer that the tensor ``name`` belongs to, and its name there, parametrized or not."""
    layer, mark, rest = name.partition(".parametrizations.")
    if mark:
        return model.get_submodule(layer), rest.partition(".")[0]
    return _place(model, name)


COLLECTORS: Mapping[str, Callable[[nn.Module, Mapping[str, PrunableTensor], Loss], Collector]] = {
    "taylor": Taylor,
    "wanda": Wanda,
    "fisher": Fisher,
    "batchnorm": BatchNorm,
    "activation": Activation,
}
"""What computes each criterion."""
