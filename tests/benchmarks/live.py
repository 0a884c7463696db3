"""How long a step of the slider takes: in the kernel, and to the screen beside ``interact`` + ``plt.show()``.

``python tests/benchmarks/live.py --kernel`` prints the kernel's share at several sizes: from the request to
the picture's bytes, on a cached ranking, and the time until the first picture.
``python tests/benchmarks/live.py`` prints these too, then opens both in one JupyterLab and one Chromium,
presses the slider's arrow key again and again, and prints the median from the key to new pixels, and the
ratio. Both show the same thing: the mask of a 64×576 convolution over a bar chart of 64 channel norms,
without data.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from torch import nn

from prunescope import Explorer, explore

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))
import hosts

MODEL = """
import torch
from torch import nn
torch.manual_seed(0)
model = nn.Conv2d(64, 64, 3)
"""
OURS = """
from prunescope import explore
explore(model, method="{method}")
"""
USUAL = """
%matplotlib inline
import copy
import matplotlib.pyplot as plt
import torch.nn.utils.prune as prune
from ipywidgets import FloatSlider, interact

def show(amount):
    pruned = copy.deepcopy(model)
    {call}
    mask = pruned.weight_mask.reshape(64, -1)
    norms = model.weight.detach().flatten(1).norm(dim=1)
    figure, (above, below) = plt.subplots(2, 1, figsize=(9.6, 6))
    above.imshow(mask, aspect="auto", interpolation="nearest")
    below.bar(range(64), norms, color=["C0" if row.any() else "C1" for row in mask])
    plt.show()

interact(show, amount=FloatSlider(value=0.3, min=0, max=1, step=0.01));
"""
CALLS = {
    "l1_unstructured": 'prune.l1_unstructured(pruned, "weight", amount)',
    "ln_structured": 'prune.ln_structured(pruned, "weight", amount, 2, 0)',
}

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
        for method in CALLS:
            start = time.perf_counter()
            explorer = explore(model, method=method)
            explorer._canvas.set_width(WIDTH)
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


# New pixels are a picture drawn on a canvas in the page, or a new image decoded in it; then one more frame.
WATCH = """() => {
    const frame = () => new Promise(requestAnimationFrame);
    let arrived = () => {};
    const draw = CanvasRenderingContext2D.prototype.drawImage;
    CanvasRenderingContext2D.prototype.drawImage = function (...words) {
        draw.apply(this, words);
        if (this.canvas.isConnected) arrived();
    };
    new MutationObserver(changes => {
        for (const change of changes)
            for (const node of change.addedNodes) {
                const image = node.querySelector?.('img') ?? (node.tagName === 'IMG' ? node : null);
                if (image) image.decode().then(() => arrived(), () => {});
            }
    }).observe(document.body, {childList: true, subtree: true});
    window.step = key => new Promise(resolve => {
        const handle = [...document.querySelectorAll('.noUi-handle')].find(each => each.offsetParent);
        const start = performance.now();
        arrived = async () => { arrived = () => {}; await frame(); resolve(performance.now() - start); };
        handle.dispatchEvent(new KeyboardEvent('keydown', {key, keyCode: 39, bubbles: true}));
    });
}"""


def latencies(page: Page, moves: int) -> list[float]:
    """Return the milliseconds from each of ``moves`` key presses to new pixels; the first three warm up."""
    page.evaluate(WATCH)
    measured = []
    for move in range(moves + 3):
        key = "ArrowRight" if move % 40 < 20 else "ArrowLeft"
        milliseconds = page.evaluate("key => window.step(key)", key)
        hosts.wait_until(
            page, "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
        )
        page.wait_for_timeout(100)  # A benchmark's breath between two steps, not a wait for a result.
        measured.append(milliseconds)
    return measured[3:]


def open_and_measure(lab: hosts.Lab, page: Page, cells: Sequence[str], shown: str, moves: int) -> float:
    """Return the median latency of the notebook ``cells`` once ``shown`` is in the page."""
    errors = lab.open_notebook(page, cells)
    if errors:
        raise SystemExit("\n".join(errors))
    page.locator(shown).first.wait_for()
    return statistics.median(latencies(page, moves))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=25, help="steps measured per row (default: %(default)s)")
    parser.add_argument("--kernel", action="store_true", help="without a browser: the kernel's share alone")
    arguments = parser.parse_args()
    moves = arguments.moves
    print_kernel_steps(moves)
    if arguments.kernel:
        return
    print(f"Key to new pixels in JupyterLab, median of {moves}, ms")
    print(f"{'method':18}{'interact + plt.show()':>24}{'prunescope':>14}{'ratio':>8}")
    with sync_playwright() as playwright, hosts.jupyter_lab() as lab:
        browser = playwright.chromium.launch(executable_path=hosts.chromium(), args=hosts.BROWSER_ARGUMENTS)
        for method, call in CALLS.items():
            usual_cells = [MODEL, USUAL.replace("{call}", call)]
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            usual = open_and_measure(lab, page, usual_cells, ".jp-OutputArea-output img", moves)
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            ours = open_and_measure(
                lab, page, [MODEL, OURS.format(method=method)], ".ps-canvas canvas", moves
            )
            print(f"{method:18}{usual:24.0f}{ours:14.0f}{usual / ours:8.1f}")
        browser.close()


if __name__ == "__main__":
    main()
