"""How fast the whole network's answers are, and how good, measured in one run.

    python tests/benchmarks/network.py [demos] [estimates] [resnet] [budget] [rules]

*demos*: the sensitivity table of each demo against pruning and evaluating each cell. *estimates*: how the
ranks of what is shown as estimated agree with what is then measured. *resnet*: a ResNet-18 on 200 images of
3×64×64, exact and until every interval is clear, against prune + evaluate of each cell. *budget*: one move of
the budget slider. *rules*: the measured metric of every rule on every demo at 50, 80 and 90 %.

Times are of the processor, not of the clock, with --cpu-time: for a machine that others use too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunescope.core.spec import PruneSpec
from prunescope.measure.states import accuracy
from prunescope.network import (
    RULES,
    Cell,
    GoalSpec,
    Network,
    SensitivitySpec,
    SensitivityTable,
    Survey,
    allocate,
    sensitivity,
)
from prunescope.network.entry import UNFELT
from prunescope.network.monotone import rank_correlation
from prunescope.session import Session
from prunescope.sources import demo_source, module_source
from prunescope.sources.demos import DEMOS

METHODS = ("l1_unstructured", "ln_structured")
clock = time.process_time if "--cpu-time" in sys.argv else time.perf_counter


class Block(nn.Module):
    """Two 3×3 convolutions and a way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.downsample(x)
        return self.relu(out)


class ResNet18(nn.Module):
    """He et al. (2016), 21 layers of weights."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1)
        widths = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        for number, (inputs, outputs, stride) in enumerate(widths, 1):
            setattr(
                self,
                f"layer{number}",
                nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1)),
            )
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def resnet() -> Session:
    """Return a ResNet-18 whose batch-norms and head fit 200 images that differ by class, without training."""
    torch.manual_seed(0)
    model, images = ResNet18(), torch.randn(200, 3, 64, 64)
    with torch.no_grad():
        for _ in range(10):
            model.train()(images[:64])  # Batch-norm's statistics are those of the images.
        scores = model.eval()(images)
        model.fc.bias -= scores.mean(0)
        targets = model(images).argmax(1)
        wrong = torch.rand(200) < 0.1
        targets[wrong] = torch.randint(0, 10, (int(wrong.sum()),))
    return Session(module_source(model, (images, targets)))


def brute(session: Session, table: SensitivityTable) -> tuple[float, int]:
    """Return the seconds that pruning and evaluating each cell takes, and how many differ from ``table``."""
    start, differ = clock(), 0
    dense = accuracy(session).right
    for (layer, amount), cell in table.cells.items():
        if cell.state == "cannot":
            continue
        preview = session.preview(session.resolve(PruneSpec(layer, table.method, amount, table.n, table.dim)))
        right = accuracy(session, preview).right
        differ += cell.state == "measured" and round(cell.drop * table.examples) != dense - right
    return clock() - start, differ


def surveyed(session: Session, method: str, **asked: object) -> tuple[float, float, float, SensitivityTable]:
    """Return seconds until every cell was run once, in all, the longest wait, and the table."""
    start = before = clock()
    once, longest = 0.0, 0.0
    for table in Survey(session, SensitivitySpec(method), **asked).tables():
        now = clock()
        longest = max(longest, now - before)
        if not once and not table.missing and not table.count("estimated"):
            once = now - start
        before = clock()
    return once or clock() - start, clock() - start, longest, table


def demos() -> None:
    print("demo method            cells  once  final  longest wait  prune+evaluate  ratio  cells that differ")
    for key in DEMOS:
        for method in METHODS:
            once, final, longest, table = surveyed(Session(demo_source(key)), method)
            by_cell, differ = brute(Session(demo_source(key)), table)
            print(
                f"{key:4} {method:16} {len(table.cells):6} {once:5.2f} {final:6.2f} "
                f"{longest * 1000:10.0f} ms {by_cell:14.2f} {by_cell / final:7.2f} {differ:6}",
                flush=True,
            )


def estimates() -> None:
    print("network method           shown at  correlation with what is then measured")
    for name, session in [*((key, Session(demo_source(key))) for key in DEMOS), ("resnet", resnet())]:
        for method in METHODS:
            shown: dict[tuple[str, float], float] = {}
            last = None
            survey = Survey(session, SensitivitySpec(method))
            for _ in survey._work():
                if survey._estimates is not None and not shown:
                    found = survey._estimates.cells(survey._cells)
                    shown = {key: cell.drop or 0.0 for key, cell in found.items()}
                    at = len(survey._cells)
                last = survey
            assert last is not None
            cells = last.table().cells
            told = "never shown: correlation too low"
            if shown:
                both = [(drop, cells[key].drop) for key, drop in shown.items()]
                told = (
                    f"{at} cells run, {len(both)} estimated: {rank_correlation(*zip(*both, strict=True)):.2f}"
                )
            print(f"{name:7} {method:16} {told}", flush=True)


def resnet_table() -> None:
    session = resnet()
    print(f"dense accuracy {accuracy(session).fraction:.3f}")
    for method in METHODS:
        _, exact, _, table = surveyed(session, method, seconds=UNFELT)
        _, clear, _, sampled = surveyed(session, method, seconds=UNFELT, tolerance=0.05)
        by_cell, differ = brute(Session(session.source), table)
        print(
            f"{method:16} {len(table.cells)} cells: prune+evaluate {by_cell:.1f} s, exact {exact:.1f} s "
            f"({by_cell / exact:.2f}×, {differ} differ), until clear of 5 points {clear:.1f} s "
            f"({by_cell / clear:.2f}×; {sampled.in_words})",
            flush=True,
        )


def made_up(layers: int, amounts: int) -> Network:
    """Return a network of so many layers, with a table of drops drawn at random and rising."""
    random = np.random.default_rng(0)
    model = nn.Sequential(*(nn.Linear(32, 32 + i % 7, bias=False) for i in range(layers)))
    session = Session(module_source(model))
    grid = tuple(float(a) for a in np.linspace(0.04, 0.96, amounts))
    names = tuple(name for name, _ in model.named_parameters())
    cells = {}
    for name in names:
        drops = np.cumsum(random.exponential(0.01, amounts))
        units = session.tensors[name].weight.numel()
        for amount, drop in zip(grid, drops, strict=True):
            cells[name, amount] = Cell(
                "measured", float(drop), pruned_units=round(amount * units), examples=600
            )
    table = SensitivityTable(names, grid, cells, examples=600)
    return Network.of(session, GoalSpec(0.5), table)


def budget() -> None:
    print("layers × amounts   program, once or after a pin   a move: median, longest")
    for layers, amounts in ((21, 20), (300, 20)):
        network = made_up(layers, amounts)
        goal = GoalSpec(0.5, pins={"0": 0.3})
        start = clock()
        made = network.budget(goal)
        network.counts(goal, 0.5, budget=made)
        first = clock() - start
        moves = []
        for target in np.linspace(0.1, 0.9, 41):
            start = clock()
            counts = network.counts(goal, float(target), budget=made)
            network.allocation(goal, counts)
            moves.append(clock() - start)
        print(
            f"{layers:4} × {amounts}: {first * 1000:8.1f} ms {np.median(moves) * 1000:20.1f} "
            f"{max(moves) * 1000:8.1f} ms"
        )


def rules() -> None:
    print(f"{'demo':5}{'method':17}{'target':>7}" + "".join(f"{rule:>14}" for rule in RULES))
    for key in DEMOS:
        for method in METHODS:
            session = Session(demo_source(key))
            table = sensitivity(session, method=method, progress=False)
            for target in (0.5, 0.8, 0.9):
                line = f"{key:5}{method:17}{target:7.0%}"
                for rule in RULES:
                    found = allocate(session, target, rule=rule, method=method, table=table)
                    assert found.measured is not None
                    line += f"{100 * found.measured.value:8.1f} " + (
                        f"{found.rule[:5]:5}" if rule != found.rule else " " * 5
                    )
                print(line, flush=True)


PARTS: dict[str, Callable[[], None]] = {
    "demos": demos,
    "estimates": estimates,
    "resnet": resnet_table,
    "budget": budget,
    "rules": rules,
}


def main() -> None:
    """Run what the command line asks for, or all."""
    for part in [word for word in sys.argv[1:] if word in PARTS] or PARTS:
        print(f"\n{part}, on {torch.get_num_threads()} threads, torch {torch.__version__}")
        PARTS[part]()


if __name__ == "__main__":
    main()
