"""The parameters of the methods ("knobs"): how each is parsed, and written in links and in code.

A knob is a field of `PruneSpec` that some methods read. A method lists its knobs; controls, links, messages,
calls and code are made from that list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import torch

from prunescope.core.errors import RequestError
from prunescope.prune import Norm, validate_norm
from prunescope.prune.grouped import validate_group

Dim = int | tuple[int, ...]
"""An axis, or the axes that groups run along."""

SEED_LIMIT = 2**53
"""Seeds are whole numbers below this: every one of them survives a trip through the browser."""


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Knob:
    """One thing that can be turned on a method, besides its amount.

    Attributes:
        name: The field of `PruneSpec`, also its name in links.
        reads: Parses what was typed or passed by code, or raises `RequestError`.
        text: Writes the value as a link does; ``reads`` reads it again.
        keyword: Its keyword in the engine's function.
        argument: Returns what the engine's function takes.
        code: Writes that as code; torch's own functions are among the names.
        around: Code that torch needs around the call where its function has no such keyword; None if it has.

    Example:
        >>> KNOBS["n"].reads(" INF "), KNOBS["n"].text(float("inf")), KNOBS["n"].code(float("inf"))
        (inf, 'inf', 'float("inf")')
    """

    name: str
    reads: Callable[[Any], Any] = field(repr=False)
    text: Callable[[Any], str] = field(default=str, repr=False)
    keyword: str = ""
    argument: Callable[[Any], Any] = field(default=_same, repr=False)
    code: Callable[[Any], str] = field(default=repr, repr=False)
    around: Callable[[Any], tuple[str, ...]] | None = field(default=None, repr=False)

    @property
    def takes(self) -> str:
        """Return the keyword of the engine's function."""
        return self.keyword or self.name


def parse_norm(n: object) -> Norm:
    """Parse the order of a norm, typed or passed by code.

    Example:
        >>> parse_norm("-inf"), parse_norm(" 0.5 "), parse_norm("3"), parse_norm("fro")
        (-inf, 0.5, 3, 'fro')
    """
    if isinstance(n, str):
        text = n.strip().lower()
        n = text if text in ("fro", "nuc") else _number(text, n)
    try:
        validate_norm(n)
    except (TypeError, ValueError) as error:
        raise RequestError("n", sentence(error)) from error
    return plain_number(n)  # type: ignore[return-value]


def parse_amount(amount: object) -> Any:
    """Return the amount that a link's text says; anything else as it is, for `resolve` to judge.

    Raises:
        RequestError: The text is no number.

    Example:
        >>> parse_amount("1"), parse_amount("1.0")
        (1, 1.0)
    """
    if not isinstance(amount, str):
        return plain_number(amount)
    for kind in (int, float):
        try:
            return kind(amount)
        except ValueError:
            pass
    raise RequestError(
        "amount", f"`amount` must be a float in [0, 1] or a count ≥ 0, got {amount[:40]!r}."
    ) from None


def parse_whole(name: str) -> Callable[[object], Any]:
    """Return a reader of whole numbers for ``name``; what is no text is left for `resolve` to judge."""

    def reads(value: object) -> Any:
        try:
            return int(value) if isinstance(value, str) else value
        except ValueError:
            raise RequestError(name, f"`{name}` must be a whole number, got {value[:40]!r}.") from None  # type: ignore[index]

    return reads


def parse_dim(dim: object) -> Any:
    """Return an axis, or a tuple of axes; what is no text is left for `resolve` to judge.

    Example:
        >>> parse_dim("1"), parse_dim("1, 2, 3"), parse_dim([1, 2])
        (1, (1, 2, 3), (1, 2))
    """
    if isinstance(dim, str):
        parts = [part for part in dim.strip().strip("()").split(",") if part.strip()]
        read = tuple(map(parse_whole("dim"), parts if len(parts) > 1 else [*parts, dim][:1]))
        return read if len(parts) > 1 else read[0]
    return tuple(map(plain_number, dim)) if isinstance(dim, list | tuple) else plain_number(dim)


def plain_dim(dim: Dim) -> Dim:
    """Return a tuple of one axis as that axis, as a person writes it.

    Example:
        >>> plain_dim((1,)), plain_dim((1, 2, 3)), plain_dim(0)
        (1, (1, 2, 3), 0)
    """
    return dim[0] if isinstance(dim, tuple) and len(dim) == 1 else dim


def parse_group(group: object) -> int | None:
    """Return the elements of a group, or None for all along ``dim``, from what was typed or passed.

    Example:
        >>> parse_group("4"), parse_group("none"), parse_group(None)
        (4, None, None)
    """
    if isinstance(group, str):
        group = None if group.strip().lower() in ("", "none") else parse_whole("group")(group)
    group = plain_number(group)
    try:
        validate_group(group)
    except (TypeError, ValueError) as error:
        raise RequestError("group", sentence(error)) from error
    return group  # type: ignore[return-value]


def parse_seed(seed: object) -> int:
    """Check a seed and return it, or raise `RequestError`."""
    seed = parse_whole("seed")(seed)
    if isinstance(seed, Integral) and not isinstance(seed, bool) and 0 <= int(seed) < SEED_LIMIT:
        return int(seed)
    raise RequestError("seed", f"`seed` must be a whole number from 0 to 2**53 - 1, got {seed!r}.")


def link_text(value: object) -> str:
    """Return ``value`` as a link writes it: a float with all of its digits."""
    return repr(value) if isinstance(value, float) and math.isfinite(value) else str(value)


def literal(value: object) -> str:
    """Return ``value`` as code writes it.

    Example:
        >>> literal(2), literal(float("-inf")), literal("fro")
        ('2', 'float("-inf")', "'fro'")
    """
    return f'float("{value}")' if isinstance(value, float) and math.isinf(value) else repr(value)


def plain_number(value: object) -> object:
    """Return numpy's scalars as Python's own, so that int and float stay what they are."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def sentence(error: Exception) -> str:
    """Return the message of ``error``, with a full stop."""
    return str(error.args[0]).rstrip(".") + "."


def _number(text: str, fallback: str) -> int | float | str:
    try:
        number = float(text)
    except ValueError:
        return fallback
    return int(number) if number.is_integer() else number


def _axes_text(dim: Dim) -> str:
    """Return an axis, or several with commas, as a link writes them."""
    return ",".join(map(str, dim)) if isinstance(dim, tuple) else str(dim)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


KNOBS: Mapping[str, Knob] = {
    knob.name: knob
    for knob in (
        Knob("n", parse_norm, link_text, code=literal),
        Knob("dim", parse_dim, _axes_text, argument=plain_dim, code=lambda dim: repr(plain_dim(dim))),
        Knob("group", parse_group, lambda group: "none" if group is None else str(group)),
        Knob(
            "seed",
            parse_seed,
            keyword="generator",
            argument=_generator,
            code=lambda seed: f"torch.Generator().manual_seed({seed})",
            around=lambda seed: (
                "with torch.random.fork_rng():  # leaves the global random state as it is",
                f"    torch.manual_seed({seed})",
            ),
        ),
    )
}
"""The knobs there are, by the field of `PruneSpec`."""
