"""A trainable copy of the pruned model, whose pruned weights are zero after every step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.measure import Randomness, pruned_copy
from prunescope.prune.masking import where_kept
from prunescope.recover.brake import Interrupted
from prunescope.session import Session
from prunescope.sources import arguments, copy_of, scores_of


class Trainee:
    """A copy of a session's model with its steps applied.

    Args:
        session: The session; its model is read, never written.
        masked: Whether the weights that the steps pruned are zero from the start.
        seed: Seed for randomness in the model during training, such as dropout; the global random states are
            restored.

    Attributes:
        model: The copy, in eval mode.
        masks: The masks enforced now: boolean, by full name without ``_orig``, True where kept.
        final: The masks of the steps.

    Example:
        >>> from prunescope.sources import module_source
        >>> session = Session(module_source(nn.Linear(4, 3)))
        >>> step = session.apply(session.preview(session.resolve(session.first_spec)))
        >>> trainee = Trainee(session)
        >>> trainee.revived
        0
    """

    def __init__(self, session: Session, *, masked: bool = True, seed: int = 0) -> None:
        self.final = session.masks(session.applied)
        own = session.masks()
        self.masks = dict(self.final if masked else own)
        values = session.applied.values
        try:
            self.model = pruned_copy(session.source.module, self.masks, values)
            self._original = copy_of(session.source.module)
        except RequestError:
            raise
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise RequestError("train", f"`train`: the model cannot be copied: {reason}") from error
        self._parameters = {_plain(name): each for name, each in self.model.named_parameters()}
        self._random = _Random(seed)
        for name in self.masks:
            self._mask_gradient(name)

    def _mask_gradient(self, name: str) -> None:
        """Zero the gradients of pruned weights, so that they stay out of norms and momenta."""
        parameter = self._parameters.get(name)
        if parameter is not None and parameter.requires_grad:
            parameter.register_hook(  # type: ignore[no-untyped-call]
                lambda grad: grad.masked_fill(~self._mask(name, grad), 0)
            )

    def _mask(self, name: str, like: Tensor) -> Tensor:
        return self.masks[name].to(like.device)

    @property
    def trainable(self) -> list[nn.Parameter]:
        """Return the parameters with ``requires_grad``."""
        return [parameter for parameter in self._parameters.values() if parameter.requires_grad]

    @property
    def revived(self) -> int:
        """Return how many pruned weights are not zero."""
        return sum(
            int((self._parameters[name].detach()[~self._mask(name, self._parameters[name])] != 0).sum())
            for name in self.masks
            if name in self._parameters
        )

    def keep_zero(self) -> None:
        """Set pruned weights to zero again, whatever the optimizer did to them."""
        with torch.no_grad():
            for name in self.masks:
                parameter = self._parameters.get(name)
                if parameter is not None:
                    parameter.masked_fill_(~self._mask(name, parameter), 0)

    def prune_share(self, share: float) -> None:
        """Prune a share, in [0, 1], of the weights that the steps prune, smallest magnitudes first."""
        for name, final in self.final.items():
            parameter = self._parameters.get(name)
            if parameter is None:
                continue
            mask, last = self.masks.get(name, torch.ones_like(final)), final.to(final.device)
            left = (mask & ~last).flatten().nonzero().flatten()
            more = round(share * int((~last).sum())) - int((~mask).sum())
            if more > 0:
                sizes = parameter.detach().cpu().flatten()[left.cpu()].abs()
                mask = mask.clone()
                mask.view(-1)[
                    left[sizes.topk(min(more, len(left)), largest=False).indices.to(left.device)]
                ] = False
            if name not in self.masks:
                self.masks[name] = mask
                self._mask_gradient(name)
            self.masks[name] = mask
        self.keep_zero()

    def answer(self, inputs: tuple[Tensor, ...]) -> Any:
        """Return the copy's output, with gradients if they are enabled."""
        positional, named = arguments(inputs)
        return scores_of(self.model(*positional, **named))

    @contextmanager
    def training(self) -> Iterator[None]:
        """Switch to training within the block: train mode, gradients, and separate random states."""
        self.model.train()
        try:
            with self._random.used(), torch.enable_grad():
                yield
        finally:
            self.model.eval()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Put the buffers back if the block is interrupted: batch-norm's have seen half a batch by then."""
        before = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        try:
            yield
        except Interrupted:
            with torch.no_grad():
                for buffer, value in before:
                    buffer.copy_(value)
            raise

    def current(self) -> dict[str, Tensor]:
        """Return all parameters and buffers except masks, by full name without ``_orig``, sharing memory."""
        return {name: value.detach() for name, value in _state(self.model).items()}

    def values(self) -> dict[str, Tensor]:
        """Return copies of what differs from the original model, by full name without ``_orig``."""
        before = {name: value.detach() for name, value in _state(self._original).items()}
        for name, mask in self.masks.items():
            if name in before:
                before[name] = where_kept(mask.to(before[name].device), before[name])
        return {
            name: value.clone()
            for name, value in self.current().items()
            if not torch.equal(value, before[name])
        }


def _plain(name: str) -> str:
    return name.removesuffix("_orig")


def _state(model: nn.Module) -> Mapping[str, Tensor]:
    state = {_plain(name): each for name, each in model.named_parameters(remove_duplicate=False)}
    buffers = model.named_buffers(remove_duplicate=False)
    return state | {name: each for name, each in buffers if not name.endswith("_mask")}


class _Random:
    """Separate random states that continue from one use to the next."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._own: Randomness | None = None

    @contextmanager
    def used(self) -> Iterator[None]:
        """Install them as the global random states within the block, then restore the global ones."""
        found = Randomness.now()
        if self._own is None:
            torch.manual_seed(self._seed)
        else:
            self._own.restore()
        try:
            yield
        finally:
            self._own = Randomness.now()
            found.restore()
