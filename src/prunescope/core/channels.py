"""Channels kept or pruned by hand, whatever the method selects: a custom mask."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from numbers import Integral

from torch import Tensor

from prunescope.core.errors import RequestError

MOST = 100_000
"""Most channels that one list may name; a link may hold anything."""

KEPT, PRUNED, IN_PART = "kept", "pruned", "kept in part"
"""The states of a channel."""

_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


def channel_dim(dim: int | tuple[int, ...], ndim: int) -> int:
    """Return the axis that numbers the channels: ``dim``, or the first that groups do not run along.

    Args:
        dim: An axis; or the axes, from 0, that groups run along.
        ndim: How many axes there are; where groups run along all of them, channels are along the first.

    Example:
        >>> channel_dim((1, 2, 3), 4), channel_dim((0,), 2), channel_dim((0,), 1), channel_dim(1, 2)
        (0, 1, 0, 1)
    """
    if isinstance(dim, int):
        return dim
    return next((axis for axis in range(ndim) if axis not in dim), 0)


def parse_channels(parameter: str, channels: object) -> tuple[int, ...]:
    """Parse a list of channels, typed or passed by code; return them sorted, each once.

    Args:
        parameter: The name to use in an error.
        channels: Whole numbers ≥ 0, or text that lists them and ranges of them.

    Raises:
        RequestError: ``channels`` is anything else, or more than `MOST`.

    Example:
        >>> parse_channels("keep_channels", "7-9, 3"), parse_channels("keep_channels", [2, 1, 2])
        ((3, 7, 8, 9), (1, 2))
    """
    numbers = _listed(channels) if isinstance(channels, str) else channels
    found: set[int] = set()
    if not isinstance(numbers, Iterable):
        raise _refusal(parameter, channels)
    for number in numbers:
        if not isinstance(number, Integral) or isinstance(number, bool) or number < 0 or len(found) == MOST:
            raise _refusal(parameter, channels)
        found.add(int(number))
    return tuple(sorted(found))


def _listed(text: str) -> Iterator[int | None]:
    """Yield the numbers that ``text`` lists, and None for anything that is not a number."""
    for word in filter(None, re.split(r"[,;\s]+", re.sub(r"\s*[-–]\s*", "-", text))):
        match = _RANGE.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        # A range that runs backwards is refused: as an empty range it would silently clear the field.
        if first <= last:
            yield from range(first, last + 1)
        else:
            yield None


def _refusal(parameter: str, channels: object) -> RequestError:
    got = repr(channels)
    return RequestError(
        parameter,
        f"`{parameter}` must list channels, such as 3, 7-9, at most {MOST:,}, "
        f"got {got if len(got) <= 80 else got[:79] + '…'}.",
    )


def channels_text(channels: Iterable[int]) -> str:
    """Format sorted ``channels`` as text, with ranges.

    Example:
        >>> channels_text((3, 7, 8, 9)), channels_text(())
        ('3, 7-9', '')
    """
    runs: list[list[int]] = []
    for channel in channels:
        if runs and runs[-1][1] == channel - 1:
            runs[-1][1] = channel
        else:
            runs.append([channel, channel])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def with_hand(
    mask: Tensor, dim: int, keep: Collection[int], prune: Collection[int], left: Tensor | None
) -> Tensor:
    """Return ``mask`` with some channels kept and others pruned by hand.

    Args:
        mask: Boolean tensor of shape ``(s_0, ..., s_k)``, True where the method keeps; not written.
        dim: Channel axis.
        keep: Channels that keep everything earlier steps left of them.
        prune: Channels that are pruned whole.
        left: Mask after earlier steps, of the same shape; None if nothing was pruned.

    Returns:
        ``mask`` itself if there is nothing to do, else a new tensor.
    """
    if not keep and not prune:
        return mask
    changed = mask.clone()
    channels, kept = changed.movedim(dim, 0), list(keep)
    channels[kept] = True if left is None else left.movedim(dim, 0)[kept]
    channels[list(prune)] = False
    return changed


def state_of(mask: Tensor, left: Tensor | None, dim: int, channel: int) -> str | None:
    """Return the state of ``channel``: `KEPT`, `PRUNED` or `IN_PART`; None if earlier steps pruned all of it.

    Args:
        mask: Boolean tensor, True where kept.
        left: Mask after earlier steps, of the same shape; None if nothing was pruned.
        dim: Channel axis.
        channel: Its index along ``dim``.
    """
    there = mask.select(dim, channel)
    most = there.numel() if left is None else int(left.select(dim, channel).count_nonzero())
    kept = int(there.count_nonzero())
    if most == 0:
        return None
    return PRUNED if kept == 0 else KEPT if kept == most else IN_PART


def turned(state: str, chosen: str) -> str:
    """Return the state a click gives a channel that is in ``state``, where the method selects ``chosen``.

    Example:
        >>> turned(KEPT, KEPT), turned(PRUNED, KEPT), turned(IN_PART, IN_PART)
        ('pruned', 'kept', 'pruned')
    """
    states = [PRUNED, KEPT, *([IN_PART] if chosen == IN_PART else [])]
    return states[(states.index(state) + 1) % len(states)]
