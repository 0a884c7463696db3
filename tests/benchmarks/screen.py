"""What a person waits for on the screen: measured in a real Chromium, in both hosts.

Three pages are compared, each with one slider: the explorer of a 64×576 convolution; the same figure by
``interact`` and ``plt.show()``; and a slider that sets a label, the floor of any widget.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, Playwright

from tests.support import hosts

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
ECHO = """
import ipywidgets
slider, label = ipywidgets.IntSlider(value=30), ipywidgets.Label("30").add_class("echo")
slider.observe(lambda change: setattr(label, "value", str(change["new"])), "value")
ipywidgets.VBox([slider, label])
"""
CALLS = {
    "l1_unstructured": 'prune.l1_unstructured(pruned, "weight", amount)',
    "ln_structured": 'prune.ln_structured(pruned, "weight", amount, 2, 0)',
}
SHOWN = {"ours": ".ps-canvas canvas", "usual": ".jp-OutputArea-output img", "echo": ".echo"}
"""What tells that each page is there."""


def cells(page: str, method: str) -> list[str]:
    """Return the notebook of one of `SHOWN`."""
    if page == "echo":
        return [ECHO]
    code = OURS.format(method=method) if page == "ours" else USUAL.replace("{call}", CALLS[method])
    return [MODEL, code]


# New pixels are a picture drawn on a canvas in the page, a new image decoded in it, or a label's new text;
# then one more frame. Each picture is also kept as a number, and in every frame seen to be blank or not.
WATCH = """() => {
    const frame = () => new Promise(requestAnimationFrame);
    let arrived = () => {};
    window.pictures = [];
    window.blanks = 0;
    const number = canvas => {
        const small = document.createElement('canvas');
        [small.width, small.height] = [160, 120];
        const context = small.getContext('2d', {willReadFrequently: true});
        draw.call(context, canvas, 0, 0, 160, 120);
        return context.getImageData(0, 0, 160, 120).data.reduce((sum, each) => (sum * 31 + each) | 0, 7);
    };
    const draw = CanvasRenderingContext2D.prototype.drawImage;
    CanvasRenderingContext2D.prototype.drawImage = function (...words) {
        draw.apply(this, words);
        if (this.canvas.isConnected) {
            if (window.counting) window.pictures.push(number(this.canvas));
            arrived();
        }
    };
    new MutationObserver(changes => {
        for (const change of changes) {
            if (change.target.closest?.('.echo')) arrived();
            for (const node of change.addedNodes) {
                const image = node.querySelector?.('img') ?? (node.tagName === 'IMG' ? node : null);
                if (image) image.decode().then(() => arrived(), () => {});
            }
        }
    }).observe(document.body, {childList: true, subtree: true});
    const blank = () => {
        const canvas = document.querySelector('.ps-canvas canvas');
        if (!canvas?.width) return true;
        const {data} = canvas.getContext('2d').getImageData(canvas.width >> 1, 0, 1, canvas.height >> 1);
        return new Set(new Uint32Array(data.buffer)).size < 2;
    };
    window.watch = async () => {
        for (window.watching = true; window.watching; await frame()) window.blanks += blank();
    };
    window.step = key => new Promise(resolve => {
        const handle = [...document.querySelectorAll('.noUi-handle')].find(each => each.offsetParent);
        const start = performance.now();
        arrived = async () => { arrived = () => {}; await frame(); resolve(performance.now() - start); };
        handle.dispatchEvent(new KeyboardEvent('keydown', {key, keyCode: 39, bubbles: true}));
    });
}"""


def latencies(page: Page, moves: int, breath: int = 150) -> list[float]:
    """Return the milliseconds from each of ``moves`` key presses to new pixels; the first three warm up.

    Between two steps are ``breath`` milliseconds, a benchmark's rest and not a wait for a result.
    """
    measured = []
    for move in range(moves + 3):
        key = "ArrowRight" if move % 40 < 20 else "ArrowLeft"
        measured.append(page.evaluate("key => window.step(key)", key))
        page.wait_for_timeout(breath)
    return measured[3:]


def blank_frames(page: Page, updates: int) -> int:
    """Return how many frames on the screen show no picture while it is updated ``updates`` times."""
    page.evaluate("() => { window.blanks = 0; window.watch(); }")
    latencies(page, updates - 3, breath=0)
    return int(page.evaluate("() => { window.watching = false; return window.blanks; }"))


def drag(page: Page, moves: int = 30, seconds: float = 1.0) -> tuple[int, bool]:
    """Drag the slider by its handle; return how many pictures that shows, and whether the last one is right.

    It is right if the same amount, come to again from elsewhere, gives the same picture.
    """
    handle = page.locator(".noUi-handle:visible").first
    box, track = handle.bounding_box(), page.locator(".noUi-target:visible").first.bounding_box()
    assert box is not None
    assert track is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.evaluate("() => { window.pictures = []; window.counting = true; }")
    for move in range(moves):
        page.mouse.move(track["x"] + track["width"] * (0.2 + 0.6 * move / moves), y)
        page.wait_for_timeout(1000 * seconds / moves)
    page.mouse.up()
    page.wait_for_timeout(1000)
    shown = page.evaluate("() => { window.counting = false; return new Set(window.pictures).size; }")
    last = hosts.canvas_pixels(page)
    for key in ("ArrowLeft", "ArrowRight"):
        page.evaluate("key => window.step(key)", key)
        page.wait_for_timeout(1000)
    return int(shown), bool((hosts.canvas_pixels(page) == last).all())


def is_sharp(page: Page) -> bool:
    """Return whether the resting picture has as many pixels as the screen has for it."""
    page.wait_for_timeout(1000)
    return bool(
        page.evaluate(
            """() => {
                const canvas = document.querySelector('.ps-canvas canvas');
                return canvas.width >= canvas.getBoundingClientRect().width * devicePixelRatio - 2;
            }"""
        )
    )


def launch(playwright: Playwright) -> Browser:
    """Return a Chromium without a window."""
    return playwright.chromium.launch(executable_path=hosts.chromium(), args=hosts.BROWSER_ARGUMENTS)


class Host:
    """JupyterLab or the dashboard's server, to show pages in."""

    def __init__(self, name: str, browser: Browser, lab: hosts.Lab | None = None) -> None:
        self.name, self._browser, self._lab = name, browser, lab

    @contextmanager
    def shown(self, page: str, method: str = "ln_structured", pixels: int = 1) -> Iterator[Page]:
        """Show one of `SHOWN` on a screen of ``pixels`` device pixels a CSS pixel, watched."""
        context = self._browser.new_context(
            viewport={"width": 1400, "height": 1000}, device_scale_factor=pixels
        )
        tab = context.new_page()
        sockets: list[str] = []
        tab.on("websocket", lambda socket: sockets.append(socket.url))
        with self._opened(tab, cells(page, method)):
            tab.locator(SHOWN[page]).first.wait_for()
            tab.wait_for_timeout(1500)
            tab.evaluate(WATCH)
            yield tab
        context.close()
        for url in set(sockets):
            hosts.end_kernel_of(url)

    @contextmanager
    def _opened(self, tab: Page, notebook: Sequence[str]) -> Iterator[None]:
        if self._lab is not None:
            errors = self._lab.open_notebook(tab, notebook)
            if errors:
                raise SystemExit("\n".join(errors))
            yield
            return
        with TemporaryDirectory() as folder:
            path = hosts.notebook(Path(folder) / "page.ipynb", notebook)
            with hosts.served(hosts.stand_in_command(path), Path(folder)) as server:
                tab.goto(server.url)
                yield


def print_screen(host: Host, moves: int) -> None:
    """Print the rows of one host."""
    with host.shown("echo") as page:
        echo = statistics.median(latencies(page, moves))
    frame = 1000 / 60
    for method in CALLS:
        with host.shown("usual", method) as page:
            usual = statistics.median(latencies(page, moves))
        with host.shown("ours", method) as page:
            ours = statistics.median(latencies(page, moves))
            blanks = blank_frames(page, 200)
            pictures, right = drag(page)
        with host.shown("ours", method, pixels=2) as page:
            sharp, double = is_sharp(page), statistics.median(latencies(page, moves))
            sharp = sharp and is_sharp(page)
        print(
            f"{host.name:11}{method:17}{usual:8.0f}{ours:7.0f}{usual / ours:6.1f}x{echo:7.0f}"
            f"{2 * echo + frame:9.0f}{blanks:8}{double:8.0f}{double / ours:6.2f}x "
            f"{'yes' if sharp else 'NO':6}{pictures:9}  {'right' if right else 'WRONG'}",
            flush=True,
        )


HEAD = (
    f"{'host':11}{'method':17}{'interact':>8}{'ours':>7}{'':7}{'echo':>7}{'2e+frame':>9}{'blanks':>8}"
    f"{'2 px':>8}{'':7} {'sharp':6}{'pictures':>9}  last"
)
