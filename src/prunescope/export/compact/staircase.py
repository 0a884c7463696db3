"""Latency against the channels that are kept: a staircase, whose treads are multiples of 4, 8 or 16.

Libraries compute channels in blocks: a width that fills them can be faster than one that is a little smaller.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.export.compact.cuts import Cut
from prunescope.export.compact.graph import Graph, run_problems
from prunescope.export.compact.recurrent import cut_units, readers_of
from prunescope.export.model import pruned_model
from prunescope.measure.latency import EXAMPLES, BlockTimer, Quartiles, batch_of
from prunescope.session import Session
from prunescope.sources import rows_of

ROUNDINGS = (1, 4, 8, 16)
"""What the channels that are kept are rounded to."""

LEVELS = 6
"""Widths that are timed of each rounding, at the most."""


FEWEST_ROUNDS = 3
"""How often each width is timed at least, however short the time."""


@dataclass(frozen=True)
class Tread:
    """One width, and how long the network takes with it.

    Attributes:
        kept: Channels that the layer keeps.
        seconds: For one batch.
    """

    kept: int
    seconds: Quartiles

    @property
    def rounding(self) -> int:
        """Return the largest of `ROUNDINGS` that divides the width."""
        return next(each for each in reversed(ROUNDINGS) if self.kept % each == 0)


@dataclass(frozen=True)
class Staircase:
    """Latency against the channels of a layer that are kept.

    Attributes:
        layer: Name of the layer.
        channels: How many it has.
        treads: By width, the widest last, which is the whole layer.
        examples: Examples in the batch.
    """

    layer: str
    channels: int
    treads: tuple[Tread, ...]
    examples: int

    def of(self, rounding: int) -> tuple[Tread, ...]:
        """Return the treads whose width is a multiple of ``rounding``; of 1, all."""
        return tuple(tread for tread in self.treads if tread.kept % rounding == 0)


def widths(channels: int) -> list[int]:
    """Return which widths of a layer are timed: up to six of each rounding, spread over all of them.

    Example:
        >>> widths(32)
        [3, 4, 7, 8, 15, 16, 19, 20, 23, 24, 31, 32]
    """
    found = {channels}
    for rounding in ROUNDINGS:
        for level in range(1, LEVELS + 1):
            width = channels * level // LEVELS // max(rounding, 4) * max(rounding, 4)
            found.add(width if rounding > 1 else width - 1)
    return sorted(width for width in found if 0 < width <= channels)


def staircase(
    session: Session, layer: str, *, seconds: float = 3.0, examples: int = EXAMPLES
) -> Iterator[Staircase | None]:
    """Yield None or what is known after each bit of work; the last one is the whole.

    All widths are timed in turns, so that they meet the same machine. Which channels are kept does not
    matter for the time.

    Args:
        session: The session; its model is copied, never written.
        layer: Name of a layer, without its parameter.
        seconds: How long it may take, roughly.
        examples: Examples in the batch.

    Raises:
        RequestError: The layer cannot be made smaller, or the model cannot be run.
    """
    inputs = session.source.inputs
    model = pruned_model(session, permanent=True).eval()
    if inputs is None:
        raise RequestError("staircase", "`data` or `example` must be given: latency shows in a run.")
    count, batch = _channels(model, layer), batch_of(inputs, examples)
    yield None  # From here on the session is not needed.
    with run_problems("staircase"):
        for known in _timed(model, layer, inputs, batch, seconds):
            yield None if known is None else Staircase(layer, count, known, examples)


def _timed(
    model: nn.Module, layer: str, inputs: tuple[Tensor, ...], batch: tuple[Tensor, ...], seconds: float
) -> Iterator[tuple[Tread, ...] | None]:
    count, timers = _channels(model, layer), dict[int, BlockTimer]()
    for width in widths(count):
        timers[width] = BlockTimer(_with_width(model, layer, width, count, inputs), batch)
        yield None
    times: dict[int, list[float]] = {width: [] for width in timers}
    end = time.perf_counter() + seconds
    while len(times[count]) < FEWEST_ROUNDS or time.perf_counter() < end:
        for width, timer in timers.items():
            times[width].append(timer.block())
            yield None
        yield tuple(Tread(width, Quartiles.of(found)) for width, found in times.items())


def _channels(model: nn.Module, layer: str) -> int:
    module = model.get_submodule(layer)
    count = getattr(
        module, "hidden_size", getattr(module, "out_channels", getattr(module, "out_features", 0))
    )
    if not isinstance(count, int) or not count:
        kind = type(module).__name__
        raise RequestError(
            "staircase", f"`staircase`: {layer or kind}, a {kind}, has no channels to cut out."
        )
    return count


def _with_width(
    model: nn.Module, layer: str, width: int, count: int, inputs: tuple[Tensor, ...]
) -> nn.Module:
    smaller, gone = copy.deepcopy(model), list(range(width, count))
    two = rows_of(inputs, slice(2))
    if not gone:
        return smaller
    module = smaller.get_submodule(layer)
    if isinstance(module, nn.RNNBase):
        if module.num_layers > 1 or module.bidirectional or module.proj_size:
            raise RequestError("staircase", f"`staircase`: {layer} is no single layer that runs one way.")
        cut_units(smaller, Cut(layer, tuple(gone), readers=tuple(readers_of(smaller, module, gone, two))))
        return smaller
    _cut(smaller, layer, gone, two)
    return smaller


def _cut(model: nn.Module, layer: str, gone: Sequence[int], two: tuple[Tensor, ...]) -> None:
    graph = Graph(model, two)
    try:
        items = graph.together(layer, list(gone))
        mixing = next((item.name for item in items if item.role == "mixes"), "")
        if mixing:
            kind = type(model.get_submodule(mixing)).__name__
            raise RequestError(
                "staircase", f"its channels go into {mixing}, a {kind}, which needs all of them"
            )
        graph.cut(layer, list(gone))
    except RequestError as problem:
        raise RequestError("staircase", f"`staircase`: {layer} stays whole: {problem}.") from problem
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RequestError("staircase", f"`staircase`: {layer} cannot be cut ({reason}).") from error
