"""What the explorer keeps in memory above the model: at most four times the largest layer shown, and flat.

``python -m tests.benchmarks.memory`` explores a model of four layers of 2048×2048 and prints, as multiples of
one layer, what the process holds above the model after a first look, 2,000 updates and 100 changes of layer.
"""

from __future__ import annotations

import argparse
import gc
from itertools import cycle

import psutil
from torch import nn

from prunescope import Explorer, explore
from prunescope.figures import View

SIDE = 2048
LAYER = SIDE * SIDE * 4
METHODS = ("l1_unstructured", "ln_structured", "random_unstructured")


def held() -> int:
    """Return the bytes this process has in memory."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def move(explorer: Explorer, updates: int) -> None:
    """Move the amount ``updates`` times."""
    for update in range(updates):
        explorer.request(amount=(update % 97) / 100)


def change_layers(explorer: Explorer, times: int) -> None:
    """Look at another layer ``times`` times, by another method and view now and then."""
    layers = cycle(explorer.state.session.tensors)
    for time, layer in zip(range(times), layers, strict=False):
        view = View(heatmap=("mask", "weights", "scores")[time % 3])
        explorer.request(layer=layer, method=METHODS[time % len(METHODS)], view=view)
        explorer.request(amount=0.4)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=2000, help="default: %(default)s")
    parser.add_argument("--layers", type=int, default=100, help="changes of layer, default: %(default)s")
    arguments = parser.parse_args()
    warm = explore(nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)))
    move(warm, 50)
    change_layers(warm, 6)
    warm.close()
    model = nn.Sequential(*(nn.Linear(SIDE, SIDE, bias=False) for _ in range(4)))
    before = held()
    print(f"Held above the model, as multiples of a layer of {LAYER / 2**20:.0f} MiB")
    explorer = explore(model)
    explorer.screen.canvas.set_width(970)

    def report(what: str) -> None:
        print(f"{what:44}{(held() - before) / LAYER:6.2f}", flush=True)

    report("first look")
    for share in range(1, 5):
        move(explorer, arguments.updates // 4)
        report(f"after {share * arguments.updates // 4:,} updates")
    for share in range(1, 5):
        change_layers(explorer, arguments.layers // 4)
        report(f"after {share * arguments.layers // 4} changes of layer")
    explorer.close()
    del explorer
    report("closed")


if __name__ == "__main__":
    main()
