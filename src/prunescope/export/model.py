"""Apply steps to a copy of the model, through the functions and containers of `prunescope.prune`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeGuard

import torch
from torch import Tensor, nn

from prunescope import prune
from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.measure import permanent_file
from prunescope.measure.evaluation import put_values
from prunescope.session import Session
from prunescope.session.history import Asked, Step
from prunescope.sources import copy_of, is_plain, module_source


def place(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the module that owns the parameter with full name ``name``, and its name in that module."""
    prefix, _, own = name.rpartition(".")
    return model.get_submodule(prefix), own


def apply_step(model: nn.Module, step: Step) -> None:
    """Apply ``step`` to ``model`` in place, with the pruning function of its method.

    Masked residual outputs, channels chosen by hand and methods without a function become custom masks.
    """
    for part in step.parts:
        apply_step(model, part)
    if step.parts:
        return
    put_values(model, step.values)
    spec = step.spec
    if not has_call(spec):
        for name, mask in step.masks.items():
            prune.custom_from_mask(*place(model, name), mask)
        return
    names = step.masks if METHODS[spec.method].pooled else [spec.layer]
    METHODS[spec.method].apply({name: place(model, name) for name in names}, spec, step.importance)


def has_call(spec: Asked) -> TypeGuard[PruneSpec]:
    """Return whether the step of ``spec`` is a single function call rather than a custom mask."""
    return spec.has_call


def pruned_model(session: Session, *, permanent: bool = False) -> nn.Module:
    """Return a copy of the session's model with its steps applied.

    Args:
        session: The session; its model is read, never written.
        permanent: Whether to make pruning permanent, as with ``prune.remove``: plain parameters with zeros.
            If not, each pruned parameter is an ``_orig`` parameter with a ``_mask`` buffer.

    Raises:
        RequestError: The model cannot be copied or pruned, or ``permanent`` is neither True nor False.

    Example:
        >>> from prunescope.sources import module_source
        >>> session = Session(module_source(nn.Linear(4, 3)))
        >>> step = session.apply(session.preview(session.resolve(session.first_spec)))
        >>> int((pruned_model(session, permanent=True).weight == 0).sum())
        4
    """
    if not isinstance(permanent, bool):
        raise RequestError("permanent", f"`permanent` must be True or False, got {permanent!r}.")
    model = copy_of(session.source.module)
    for step in session.history.done:
        try:
            apply_step(model, step)
        except (ValueError, TypeError, RuntimeError) as error:
            raise RequestError("steps", f"`steps`: {step.title} could not be applied: {error}") from error
    _confirm(model, session.history.masks())
    if permanent:
        _make_permanent(model.modules())
    return model


def _confirm(model: nn.Module, masks: dict[str, Tensor]) -> None:
    """Check that the model's masks are those of the steps; if not, it has changed since they were applied."""
    for name, mask in masks.items():
        module, own = place(model, name)
        if not torch.equal(module.get_buffer(f"{own}_mask").bool().cpu(), mask.cpu()):
            raise RequestError(
                "steps",
                f"`steps`: {name} has changed since it was pruned, so that the same steps give another mask. "
                "Undo them and prune again.",
            )


def _make_permanent(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        for name in [name.removesuffix("_orig") for name in module._parameters if name.endswith("_orig")]:
            if f"{name}_mask" in module._buffers:
                prune.remove(module, name)


def sparse_state(session: Session) -> dict[str, Tensor]:
    """Return the state dict of the permanently pruned model: names without ``_orig``, zeros where pruned.

    Unlike with ``prune.remove``, there are no negative zeros, so that a compressed file is smaller.
    """
    pruned = permanent_file(module_source(pruned_model(session)).weights(), session.masks(session.applied))
    return {entry.name: _own(entry.numbers().detach().clone()) for entry in pruned}


def _own(tensor: Tensor) -> Tensor:
    return tensor.contiguous() if is_plain(tensor) else tensor
