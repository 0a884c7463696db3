"""What pruning costs and saves on the demos: dense, masked, re-estimated, fine-tuned, and really smaller.

Run it as ``python tests/benchmarks/recovery.py [demo …]``. Two tables: 90 % of single weights pruned by one
threshold and won back by training; and half the channels of some layers pruned, won back and cut out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from prunescope.core.errors import RequestError
from prunescope.core.text import percent
from prunescope.explorer.live.recovery import USUAL
from prunescope.explorer.state import actions
from prunescope.export.compact import CompactModel, compact_model
from prunescope.measure.costs.measuring import compressed_sizes, flops, silencing
from prunescope.measure.states import accuracy
from prunescope.recover import FineTuning, Reestimation
from prunescope.session import Session
from prunescope.sources import demo_source

EPOCHS = {"cnn": 10, "mlp": 60, "vit": 30, "lstm": 200}
"""How long each demo is trained: less than a minute of one processor. The page goes by seconds."""

CHANNELS = {
    "cnn": ["block1.conv1", "block2.conv1"],
    "mlp": ["fc1", "fc2"],
    "vit": ["blocks.0.fc1", "blocks.1.fc1", "blocks.2.fc1"],
}
"""The layers of which half the channels are pruned; of the LSTM it is half the hidden units."""


def prune_weights(session: Session) -> None:
    """Prune 90 % of all weights by one threshold."""
    spec = replace(session.first_spec, method="global_unstructured", amount=0.9)
    session.apply(session.preview(session.resolve(spec)))


def prune_channels(session: Session, key: str) -> None:
    """Prune half the channels of some layers, or half the hidden units."""
    if key == "lstm":
        shown = session.preview(session.resolve(session.first_spec))
        actions.prune_units(session, shown, session.source.module.get_submodule("lstm").hidden_size // 2)
        return
    for layer in CHANNELS[key]:
        spec = replace(session.first_spec, layer=layer, method="ln_structured", amount=0.5, n=2, dim=0)
        session.apply(session.preview(session.resolve(spec)))


def clock() -> tuple[float, float]:
    """Return the time on the wall, and that of processors."""
    return time.perf_counter(), time.process_time()


def row(session: Session, name: str, start: tuple[float, float] | None = None) -> tuple[str, ...]:
    """Return a line of the table for the session's present state."""
    right = accuracy(session, session.applied)
    *_, file = compressed_sizes(session, session.applied)
    nonzero = session.parameters - session.pruned_weights(session.applied)
    wall, cpu = (now - then for now, then in zip(clock(), start or clock(), strict=True))
    took = f"{wall:.1f} s ({cpu:.1f} s of processors)" if start else ""
    size = f"{file.permanent:,}" if file is not None else ""
    return name, percent(right.fraction), f"{nonzero:,} kept", f"{flops(session).total:,}", size, "", took


def states(key: str, channels: bool) -> Iterator[tuple[str, ...]]:
    """Yield the lines of one demo."""
    session = Session(demo_source(key))
    yield row(session, "dense")
    prune_channels(session, key) if channels else prune_weights(session)
    yield row(session, "masked")
    if channels:
        with suppress(RequestError):  # Of hidden units, no bias is silenced so.
            session.silence(silencing(session))
            yield row(session, "silenced")
    start = clock()
    try:
        estimate = Reestimation(session)
        for _ in estimate.run():
            pass
        estimate.keep()
        yield row(session, "re-estimated", start)
    except RequestError as problem:
        yield ("re-estimated", str(problem))
    start, longest = clock(), 0.0
    work = FineTuning(session, replace(USUAL, seconds=None, epochs=EPOCHS[key], **session.source.recipe))
    last = time.perf_counter()
    for progress in work.run():
        now = time.perf_counter()
        longest = max(longest, now - last) if progress.step > 1 else longest
        last = now
    step = work.keep()
    yield row(session, "fine-tuned", start)
    yield ("", f"{step.effect}; longest wait between yields {1000 * longest:.0f} ms")
    if channels:
        yield from removed(session)


def removed(session: Session) -> Iterator[tuple[str, ...]]:
    """Yield the line of the network that is really smaller, and what it says of itself."""
    found: CompactModel = compact_model(session, seconds=5)
    latency = found.latency
    assert latency is not None
    yield (
        "removed",
        percent(found.metric.after.fraction) if found.metric else "",
        f"{found.parameters.after:,}",
        f"{found.flops.after:,}",
        f"{len(found.bytes):,} raw",
        f"{latency.ratio.median:.2f}× ({latency.ratio.low:.2f} to {latency.ratio.high:.2f})",
        "",
    )
    for sentence in found.sentences:
        yield ("", sentence)


def main() -> None:
    """Print both tables."""
    for channels in (False, True):
        print("half the channels" if channels else "90 % of single weights")
        print("state, accuracy, parameters, FLOPs, file compressed, latency ratio, took")
        for key in sys.argv[1:] or ["cnn", "mlp", "vit", "lstm"]:
            for line in states(key, channels):
                print(f"{key:5}", *(f"{cell:>14}" for cell in line), flush=True)


if __name__ == "__main__":
    main()
