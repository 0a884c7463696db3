"""How fast the engine is, beside torch and beside a floor, measured in one run.

    python -m tests.benchmarks.engine [--quick]

Prints one table. Every time is the best of several, ours, torch's and the floor's taken in turn, so that a
busy machine slows them alike. The *floor* is the same mask written from a threshold, or a choice of channels,
that is already known. Ratios are what to read: "torch" is torch's time over ours (more is better), "floor"
and "dense" are our time over the floor's or the dense layer's (less is better); "reach" is torch's time over
the floor's: what "torch" would be if finding the threshold or the channels took no time at all.
"""

import argparse
import math
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.utils.prune as theirs
from torch import Tensor, nn

import prunescope.prune as ours

SHAPES = [(64, 64, 3, 3), (1024, 1024), (512, 512, 3, 3), (4096, 4096)]
AMOUNTS = [0.1, 0.5, 0.9]
# How many times as fast as torch the selection of elements should be, as a geometric mean.
ASKED = 20
Timed = Callable[..., object]


clock = time.perf_counter


def best(
    calls: dict[str, Timed], rounds: int, **setups: Callable[[], tuple[object, ...]]
) -> dict[str, float]:
    """Return the least time of each call in seconds, taken in turn; what is set up does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name, call in calls.items():
            if turn > 1 and times[name][0] > 0.5:
                continue
            given = setups[name]() if name in setups else ()
            start = clock()
            call(*given)
            times[name].append(clock() - start)
    return {name: min(found) for name, found in times.items()}


def layer_of(weight: Tensor) -> nn.Module:
    """Return a layer that has ``weight``."""
    if weight.dim() == 2:
        layer: nn.Module = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    else:
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, bias=False, device="meta")
    layer.weight = nn.Parameter(weight)
    return layer


def written(weight: Tensor, threshold: float) -> Tensor:
    """Return the mask of a known threshold."""
    return (weight.abs() > threshold).to(weight.dtype)


def chosen(weight: Tensor, kept: Tensor, dim: int) -> Tensor:
    """Return the mask of a known choice of channels."""
    mask = torch.zeros_like(weight)
    mask[(slice(None),) * dim + (kept,)] = 1
    return mask


class Table:
    """Rows of the report, and the geometric mean of each column of ratios."""

    def __init__(self) -> None:
        self.ratios: dict[tuple[str, str], list[float]] = {}
        print(f"{'what':36}{'shape':>18}{'amount':>8}{'ours':>11}{'torch':>9}{'floor':>9}{'reach':>9}")

    def add(
        self, what: str, shape: object, amount: object, times: dict[str, float], floor: str = "floor"
    ) -> None:
        torch_ratio = times["torch"] / times["ours"] if "torch" in times else math.nan
        floor_ratio = times["ours"] / times[floor] if floor in times else math.nan
        self.ratios.setdefault((what, "torch"), []).append(torch_ratio)
        self.ratios.setdefault((what, floor), []).append(floor_ratio)
        reach = torch_ratio * floor_ratio if floor == "floor" else math.nan
        self.ratios.setdefault((what, "reach"), []).append(reach)
        if what.startswith("ln_structured"):
            both = f"ln_structured both axes, {what.partition(', ')[2]}"
            self.ratios.setdefault((both, "torch"), []).append(torch_ratio)
        shown = "x".join(map(str, shape)) if isinstance(shape, tuple) else str(shape)
        milliseconds = f"{times['ours'] * 1e3:.3f} ms"
        print(
            f"{what:36}{shown:>18}{amount!s:>8}{milliseconds:>11}{torch_ratio:9.2f}{floor_ratio:9.2f}"
            f"{reach:9.2f}",
            flush=True,
        )

    def summary(self) -> None:
        print("\ngeometric means")
        for (what, column), ratios in self.ratios.items():
            real = [r for r in ratios if not math.isnan(r)]
            if real:
                print(f"  {what:36}{column:8}{statistics.geometric_mean(real):9.2f}")
        reaches = [
            ratio
            for (what, column), ratios in self.ratios.items()
            if column == "reach" and what.startswith(("l1_unstructured", "global_unstructured"))
            for ratio in ratios
        ]
        below = sum(ratio < ASKED for ratio in reaches)
        if reaches:
            print(
                f"in {below} of {len(reaches)} rows of elements the floor itself is under {ASKED} times torch"
            )


def unstructured(table: Table, rounds: int) -> None:
    """Time the mask of one layer and of four at once, by magnitude and at random."""
    for shape in SHAPES:
        weight = torch.randn(shape)
        ones = torch.ones_like(weight)
        for amount in AMOUNTS:
            threshold = ours.L1Unstructured(amount).rank(weight).threshold(round(amount * weight.numel()))
            assert threshold is not None
            calls = {
                "ours": lambda w=weight, o=ones, a=amount: ours.L1Unstructured(a).compute_mask(w, o),
                "torch": lambda w=weight, o=ones, a=amount: theirs.L1Unstructured(a).compute_mask(w, o),
                "floor": lambda w=weight, t=threshold: written(w, t),
            }
            table.add("l1_unstructured, mask", shape, amount, best(calls, rounds))
            calls |= {
                "ours": lambda m, a=amount: ours.l1_unstructured(m, "weight", a),
                "torch": lambda m, a=amount: theirs.l1_unstructured(m, "weight", a),
            }

            def layer(weight: Tensor = weight) -> tuple[nn.Module]:
                return (layer_of(weight),)

            table.add(
                "l1_unstructured, whole call", shape, amount, best(calls, rounds, ours=layer, torch=layer)
            )


def global_(table: Table, rounds: int) -> None:
    """Time global pruning of two layers of each shape."""
    for shape in SHAPES:
        weights = [torch.randn(shape) for _ in range(2)]
        for amount in AMOUNTS:

            def pairs(weights: list[Tensor] = weights) -> tuple[list[tuple[nn.Module, str]]]:
                return ([(layer_of(w), "weight") for w in weights],)

            both = torch.cat([w.reshape(-1) for w in weights])
            threshold = ours.L1Unstructured(amount).rank(both).threshold(round(amount * both.numel()))
            calls = {
                "ours": lambda p, a=amount: ours.global_unstructured(p, ours.L1Unstructured, amount=a),
                "torch": lambda p, a=amount: theirs.global_unstructured(p, theirs.L1Unstructured, amount=a),
                "floor": lambda ws=weights, t=threshold: [written(w, t) for w in ws],
            }
            table.add(
                "global_unstructured, whole call",
                (2, *shape),
                amount,
                best(calls, rounds, ours=pairs, torch=pairs),
            )


def structured(table: Table, rounds: int) -> None:
    """Time whole channels by their 2-norm, along both axes."""
    for shape in SHAPES:
        weight = torch.randn(shape)
        ones = torch.ones_like(weight)
        for amount in AMOUNTS:
            for dim in (0, 1):
                mask = ours.LnStructured(amount, n=2, dim=dim).compute_mask(weight, ones)
                kept = mask.movedim(dim, 0).flatten(1).any(1)
                methods = {
                    name: p.LnStructured(amount, 2, dim) for name, p in (("ours", ours), ("torch", theirs))
                }
                calls = {
                    name: lambda m=method, w=weight, o=ones: m.compute_mask(w, o)
                    for name, method in methods.items()
                }
                calls["floor"] = lambda w=weight, k=kept, d=dim: chosen(w, k, d)
                table.add(f"ln_structured dim={dim}, mask", shape, amount, best(calls, rounds))
                calls |= {
                    "ours": lambda m, a=amount, d=dim: ours.ln_structured(m, "weight", a, n=2, dim=d),
                    "torch": lambda m, a=amount, d=dim: theirs.ln_structured(m, "weight", a, n=2, dim=d),
                }

                def layer(weight: Tensor = weight) -> tuple[nn.Module]:
                    return (layer_of(weight),)

                times = best(calls, rounds, ours=layer, torch=layer)
                table.add(f"ln_structured dim={dim}, whole call", shape, amount, times)


def by_topk(weight: Tensor, keep: int, group: int) -> Tensor:
    """Return the mask that keeps the largest of each group, as most write it."""
    groups = weight.abs().view(-1, group)
    kept = groups.topk(keep, dim=1).indices
    return torch.zeros_like(groups).scatter_(1, kept, 1.0).view(weight.shape)


def grouped(table: Table, rounds: int) -> None:
    """Time 2:4 beside a ``topk`` of each group ("torch") and beside writing a known mask ("floor")."""
    for shape in ((1024, 1024), (4096, 4096)):
        weight = torch.randn(shape)
        calls = {
            "ours": lambda w=weight: ours.GroupedUnstructured(0.5, group=4).selected(w, None),
            "torch": lambda w=weight: by_topk(w, 2, 4),
            "floor": lambda w=weight: written(w, 0.67),
        }
        table.add("grouped_unstructured 2:4, mask", shape, 0.5, best(calls, rounds))


def axes(table: Table, rounds: int) -> None:
    """Time channel norms along dim 1 beside dim 0."""
    for shape in ((1024, 1024), (4096, 4096)):
        weight = torch.randn(shape)
        for n in (1, 2):
            calls = {
                "ours": lambda w=weight, n=n: ours.channel_norms(w, n=n, dim=1),
                "torch": lambda w=weight, n=n: theirs._compute_norm(w, n, 1),
                "dim 0": lambda w=weight, n=n: ours.channel_norms(w, n=n, dim=0),
            }
            table.add(f"channel_norms n={n}: dim 1 / dim 0", shape, "", best(calls, rounds), floor="dim 0")


def sliding(table: Table, rounds: int) -> None:
    """Time a new amount on a ranking that has been used, beside one comparison over the tensor."""
    for shape in SHAPES:
        weight = torch.randn(shape)
        ranking = ours.L1Unstructured(0.5).rank(weight)
        ranking.mask(1), ranking.mask(2)
        magnitudes = weight.abs()
        for amount in AMOUNTS:
            k = round(amount * weight.numel())
            threshold = ranking.threshold(k)
            calls = {
                "ours": lambda r=ranking, k=k: r.mask(k),
                "compare": lambda m=magnitudes, t=threshold: m > t,
            }
            table.add("slide / one comparison", shape, amount, best(calls, rounds), floor="compare")


def forward(table: Table, rounds: int) -> None:
    """Time a forward pass in evaluation without gradients, beside the dense layer."""
    for shape in SHAPES:
        weight = torch.randn(shape)
        for batch in (1, 32):
            x = torch.randn(batch, shape[1], *(() if weight.dim() == 2 else (14, 14)))
            layers = {name: layer_of(weight.clone()).eval() for name in ("ours", "torch", "dense")}
            ours.l1_unstructured(layers["ours"], "weight", 0.5)
            theirs.l1_unstructured(layers["torch"], "weight", 0.5)
            with torch.no_grad():
                calls = {name: lambda m=m, x=x: m(x) for name, m in layers.items()}
                times = best(calls, rounds * 10)
            table.add(f"masked forward / dense, batch {batch}", shape, 0.5, times, floor="dense")


def resident() -> int:
    """Return how much memory the process holds now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def memory() -> None:
    """Print the peak extra memory of a selection, in multiples of the tensor, sampled by a thread."""
    weight = torch.randn(4096, 4096)
    size = weight.numel() * weight.element_size()
    layer = layer_of(weight)
    peak, done = [resident()], threading.Event()

    def watch() -> None:
        while not done.is_set():
            peak[0] = max(peak[0], resident())
            time.sleep(0.0005)

    for what, call in (
        ("a mask", lambda: ours.L1Unstructured(0.5).selected(weight, None)),
        ("a whole call", lambda: ours.l1_unstructured(layer, "weight", 0.5)),
    ):
        before = peak[0] = resident()
        done.clear()
        watcher = threading.Thread(target=watch)
        watcher.start()
        call()
        done.set()
        watcher.join()
        print(f"peak extra memory of {what}, 4096x4096: {(peak[0] - before) / size:.2f} times the tensor")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no tensor above 4 million")
    parser.add_argument("--only", default="", help="comma-separated parts to run")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu-time", action="store_true", help="count processor time: for a busy machine")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.cpu_time:
        global clock
        clock = time.process_time
    rounds = 3 if options.quick else 5
    if options.quick:
        SHAPES.pop()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, Python {sys.version.split()[0]}\n")
    table = Table()
    for part in (unstructured, global_, structured, grouped, axes, sliding, forward):
        if not options.only or part.__name__ in options.only.split(","):
            part(table, rounds)
    table.summary()
    if sys.platform == "linux":
        memory()


if __name__ == "__main__":
    main()
