"""How long a step of the slider takes: in the kernel, and to the screen.

``--kernel`` prints the kernel's share at several sizes: from the request to the picture's bytes, on a
cached ranking, and the time until the first picture. ``--screen`` prints what `screen` measures in both
hosts, beside ``interact`` + ``plt.show()`` of the same figure and a bare widget echo. Without either, both.
"""

from __future__ import annotations

import argparse
import statistics
import time

from playwright.sync_api import sync_playwright
from torch import nn

from prunescope import Explorer, explore
from tests.benchmarks import screen

METHODS = ("l1_unstructured", "ln_structured")
LAYERS = {
    "Conv2d 64×576": lambda: nn.Conv2d(64, 64, 3, bias=False),
    "Linear 4096×4096": lambda: nn.Linear(4096, 4096, bias=False),
    "Embedding 30522×768": lambda: nn.Embedding(30522, 768),
    "Linear 50000×256": lambda: nn.Linear(256, 50000, bias=False),
}
WIDTH = 970  # Of the picture on a page 1400 pixels wide.


def print_kernel_steps(moves: int) -> None:
    """Print what the kernel takes for a step and for the first picture."""
    print(f"In the kernel, a step of the slider to the picture's bytes, median of {moves}, ms")
    print(f"{'layer':22}{'method':18}{'first picture':>14}{'step':>8}")
    for name, make in LAYERS.items():
        model = make()
        for method in METHODS:
            start = time.perf_counter()
            explorer = explore(model, method=method)
            explorer.screen.canvas.set_width(WIDTH)
            first = time.perf_counter() - start
            explorer.amount = 0.31  # The second selection sorts, and later ones only compare.
            explorer.amount = 0.32
            steps = [timed_step(explorer, (33 + move % 50) / 100) for move in range(moves)]
            print(f"{name:22}{method:18}{1000 * first:14.0f}{1000 * statistics.median(steps):8.1f}")
            explorer.close()


def timed_step(explorer: Explorer, amount: float) -> float:
    """Return the seconds that one step takes; the picture is sent, if to nobody."""
    start = time.perf_counter()
    explorer.request(amount=amount)
    return time.perf_counter() - start


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=25, help="steps measured per row (default: %(default)s)")
    parser.add_argument("--kernel", action="store_true", help="without a browser: the kernel's share alone")
    parser.add_argument("--screen", action="store_true", help="the browser's rows alone")
    arguments = parser.parse_args()
    if not arguments.screen:
        print_kernel_steps(arguments.moves)
    if arguments.kernel:
        return
    print(f"Key to new pixels on the screen, median of {arguments.moves}, ms")
    print(screen.HEAD)
    with sync_playwright() as playwright, screen.hosts.jupyter_lab() as lab:
        browser = screen.launch(playwright)
        for host in (screen.Host("Voilà", browser), screen.Host("JupyterLab", browser, lab)):
            screen.print_screen(host, arguments.moves)
        browser.close()


if __name__ == "__main__":
    main()
