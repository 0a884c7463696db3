"""`resolve` fits a `PruneSpec` to one tensor.

Correction happens here and nowhere else: a value the user *just set* that is not possible is refused with a
sentence; a value that no longer fits (an old count on a smaller layer) is corrected with a note.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from prunescope.core.channels import channel_dim, channels_text
from prunescope.core.criteria import parse_criterion
from prunescope.core.errors import RequestError
from prunescope.core.knobs import (
    Dim,
    parse_group,
    parse_norm,
    parse_seed,
    plain_dim,
    plain_number,
    sentence,
)
from prunescope.core.methods import METHODS, Method
from prunescope.core.spec import BY_HAND, FIELDS, PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.prune import Norm, units_to_prune, validate_dim, validate_norm
from prunescope.prune.grouped import groups_of


@dataclass(frozen=True)
class Resolved:
    """A spec that fits its tensor, and what was corrected to make it fit.

    Attributes:
        spec: The spec to apply.
        units: How many units the amount refers to: the remaining weights or channels; where each group
            loses the same, those of the smallest group.
        notes: For each corrected field, one sentence that says what was changed and why.
    """

    spec: PruneSpec
    units: int
    notes: Mapping[str, str]


def resolve(
    wanted: PruneSpec,
    tensor: PrunableTensor,
    *,
    asked: Collection[str] = FIELDS,
    previous_units: int | None = None,
    pool_units: int | None = None,
) -> Resolved:
    """Fit ``wanted`` to ``tensor``: correct or refuse what is not possible.

    Args:
        wanted: The requested spec; ``wanted.layer`` names ``tensor``.
        tensor: The tensor it is for.
        asked: The fields the user has just set. Such a value is refused if it does not fit; any other value
            is corrected, with a note.
        previous_units: How many units the amount referred to until now. A count that no longer fits is scaled
            to the same fraction.
        pool_units: How many units are left in all tensors that are ranked together; None: this tensor is the
            only one.

    Returns:
        The spec to apply, its number of units, and the notes.

    Raises:
        RequestError: A value the user set is not possible; ``error.parameter`` names it.

    Example:
        >>> import torch
        >>> tensor = PrunableTensor("fc.weight", "Linear", torch.ones(4, 2), ("outputs", "inputs"))
        >>> resolve(PruneSpec("fc.weight", "ln_structured", amount=0.3), tensor).units
        4
        >>> resolve(PruneSpec("fc.weight", "ln_structured", dim=7), tensor)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        prunescope.core.errors.RequestError: `dim` must be between -2 and 1 ..., got 7.
    """
    notes: dict[str, str] = {}
    method = _method(wanted, tensor, asked)
    dim = _axes(wanted, tensor, asked) if method.groups else _dim(wanted, tensor, asked, notes)
    channels = channel_dim(dim, len(tensor.shape))
    group = _group(wanted, tensor, dim, asked, notes) if method.groups else parse_group(wanted.group)
    n = _norm(wanted, tensor, channels, asked, notes)
    seed = parse_seed(wanted.seed)
    criterion = parse_criterion(wanted.criterion)
    units = tensor.units(channels if method.structured else None)
    if method.groups:
        units = _fewest_left(tensor, group, dim)
    if pool_units is not None:
        units = pool_units
    name = method.count_name(tensor, channels)
    if "amount" not in asked:
        wanted = replace(wanted, amount=_fitting_count(wanted.amount, name, units, previous_units, notes))
    amount = _amount(wanted.amount, name, units)
    spec = replace(wanted, amount=amount, n=n, dim=dim, group=group, seed=seed, criterion=criterion).parsed()
    _check_channels(spec, tensor)
    return Resolved(spec, units, notes)


def _method(wanted: PruneSpec, tensor: PrunableTensor, asked: Collection[str]) -> Method:
    method = METHODS.get(wanted.method) if isinstance(wanted.method, str) else None
    if method is None:
        allowed = ", ".join(METHODS)
        raise RequestError("method", f"`method` must be one of {allowed}, got {wanted.method!r}.")
    if method.structured and len(tensor.shape) < 2:
        parameter = "method" if "method" in asked else "layer"
        raise RequestError(
            parameter,
            f"`{parameter}`: {method.title} removes whole channels and needs a tensor of at least 2 axes; "
            f"{tensor.name} has shape {tensor.shape}. Choose an unstructured method for it.",
        )
    return method


def _dim(wanted: PruneSpec, tensor: PrunableTensor, asked: Collection[str], notes: dict[str, str]) -> int:
    if isinstance(wanted.dim, tuple) and "dim" not in asked:
        return 0  # The axes that another method's groups ran along.
    try:
        return validate_dim(wanted.dim, tensor.shape)
    except (TypeError, IndexError) as error:
        if "dim" in asked:
            raise RequestError("dim", sentence(error)) from error
    notes["dim"] = f"`dim` was reset to 0: {tensor.name} of shape {tensor.shape} has no axis {wanted.dim}."
    return 0


def _axes(wanted: PruneSpec, tensor: PrunableTensor, asked: Collection[str]) -> tuple[int, ...]:
    """Return the axes that groups run along: those asked for, or those that this layer opens with."""
    kept = isinstance(wanted.dim, tuple) and "layer" not in asked
    if "dim" not in asked and not kept:
        return row_axes(tensor)
    try:
        return groups_of(tensor.shape, None, plain_dim(wanted.dim)).axes
    except (TypeError, IndexError, ValueError) as error:
        if "dim" in asked:
            raise RequestError("dim", sentence(error)) from error
    return row_axes(tensor)


def row_axes(tensor: PrunableTensor) -> tuple[int, ...]:
    """Return all axes but the first, along which the weights of one output lie; the only one of a vector.

    Example:
        >>> import torch
        >>> row_axes(PrunableTensor("w", "Conv2d", torch.zeros(8, 4, 3, 3), ("a", "b", "c", "d")))
        (1, 2, 3)
    """
    return tuple(range(1, len(tensor.shape))) or (0,)


def _group(
    wanted: PruneSpec, tensor: PrunableTensor, dim: Dim, asked: Collection[str], notes: dict[str, str]
) -> int | None:
    group = parse_group(wanted.group)
    try:
        groups_of(tensor.shape, group, plain_dim(dim))
    except ValueError as error:
        if "group" in asked:
            raise RequestError("group", sentence(error)) from error
        notes["group"] = f"`group` is all along `dim` again. {sentence(error)}"
        return None
    return group


def _fewest_left(tensor: PrunableTensor, group: int | None, dim: Dim) -> int:
    """Return how many elements earlier steps left of the group of which they left the fewest."""
    groups, left = groups_of(tensor.shape, group, dim), tensor.default_mask
    return groups.size if left is None or not left.numel() else int(groups.rows(left).sum(1).min())


def _norm(
    wanted: PruneSpec, tensor: PrunableTensor, dim: int, asked: Collection[str], notes: dict[str, str]
) -> Norm:
    n = parse_norm(wanted.n)
    try:
        validate_norm(n, shape=tensor.shape, dim=dim)
    except ValueError as error:
        if "n" in asked:
            raise RequestError("n", sentence(error)) from error
        notes["n"] = (
            f"`n` was reset to 2: a channel of {tensor.name} along dim {dim} is not a matrix, which {n!r} "
            "needs."
        )
        return 2
    return n


def _check_channels(spec: PruneSpec, tensor: PrunableTensor) -> None:
    dim = spec.channel_dim(tensor)
    last = tensor.shape[dim] - 1
    for name in BY_HAND:
        channels = getattr(spec, name)
        if channels and channels[-1] > last:
            what = tensor.axis(dim)
            raise RequestError(name, f"`{name}` must list {what} from 0 to {last:,}, got {channels[-1]:,}.")
    both = set(spec.keep_channels) & set(spec.prune_channels)
    if both:
        raise RequestError(
            "prune_channels",
            f"`prune_channels` must not overlap `keep_channels`, got {channels_text(sorted(both))} in both.",
        )


def _fitting_count(
    amount: int | float, unit_name: str, units: int, previous_units: int | None, notes: dict[str, str]
) -> int | float:
    if not isinstance(amount, int) or amount <= units:
        return amount
    share = amount / previous_units if previous_units else 1.0
    fitting = round(share * units)
    notes["amount"] = (
        f"`amount` is now {fitting:,} of {units:,} {unit_name}, the same fraction as before: there are no "
        f"{amount:,} here."
    )
    return fitting


def _amount(amount: int | float, unit_name: str, units: int) -> int | float:
    number = plain_number(amount)
    try:
        units_to_prune(number, units)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        allowed = f"a float in [0, 1] or a count from 0 to {units:,} ({unit_name})"
        raise RequestError("amount", f"`amount` must be {allowed}, got {amount!r}.") from error
    return number  # type: ignore[return-value]
