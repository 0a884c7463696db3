"""Zooming into the heatmap of a large layer until single weights show, and back."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.utils.prune as oracle
from playwright.sync_api import Page
from torch import nn

from prunescope.figures.layout import LEFT
from tests.browser.test_dashboard import colours
from tests.browser.test_lab import run_in_a_new_cell
from tests.support import hosts

OpenNotebook = Callable[[Page, Sequence[str]], list[str]]

MODEL = """
import json
import torch
from torch import nn
from prunescope import explore
torch.manual_seed(0)
model = nn.Linear(1800, 1200)
"""
SHOW = """
explorer = explore(model, amount=0.4, method="l1_unstructured")
picture, readings = explorer.screen.canvas.picture, []
canvas = explorer.screen.canvas.widget
canvas.mpl_connect("motion_notify_event", lambda event: readings.append(picture.reading()[0]))
explorer
"""
TELL = """
axes = picture.heatmap
limits = {"x": axes.get_xlim(), "y": axes.get_ylim(), "box": axes.bbox.extents.tolist()}
print(json.dumps({**limits, "read": [each for each in readings if each][-1]}))
"""
MIDDLE = np.s_[160:240, 300:500]
"""A part of the heatmap, in pixels of the picture."""


def plain(page: Page) -> float:
    """Return which share of the heatmap's middle has the colour of a kept weight, or of a pruned one."""
    kept, pruned = colours(hosts.canvas_pixels(page)[MIDDLE])
    return float((kept | pruned).mean())


def is_whole(page: Page) -> bool:
    """Return whether the picture has its final size, and each cell in its middle is a mixture."""
    pixels, room = hosts.canvas_pixels(page), page.locator(".ps-picture").bounding_box()
    assert room is not None
    if pixels.size == 0 or abs(pixels.shape[1] - room["width"]) > 8:
        return False
    # For a moment the page shows the first picture, of another width, squeezed into its room.
    final = bool((pixels[MIDDLE[0], LEFT - 3, :3] > 250).mean() > 0.8)  # Ticks aside, paper.
    return final and bool((pixels[MIDDLE][..., :3] < 250).any(-1).all()) and plain(page) < 0.1


def told(page: Page) -> dict[str, Any]:
    """Return what the kernel says of the heatmap: its limits, its place, what is read out of it."""
    run_in_a_new_cell(page, TELL)
    line = page.locator(".jp-OutputArea-output pre")
    line.wait_for()
    return dict(json.loads(line.inner_text()))


def test_single_weights_show_and_are_read_out(page: Page, lab: OpenNotebook) -> None:
    page.set_viewport_size({"width": 2300, "height": 1000})  # Beside its panels the picture is wide, too.
    assert lab(page, [MODEL, SHOW]) == []
    picture = page.locator(".jupyter-matplotlib-canvas-div")
    picture.wait_for()
    hosts.wait_until(page, lambda: is_whole(page))

    picture.hover()  # The toolbar comes with the pointer.
    page.get_by_title("Zoom to rectangle").click()
    box = picture.bounding_box()
    assert box is not None

    def move(x: float, y: float) -> None:
        page.mouse.move(box["x"] + x, box["y"] + y)

    def zooms() -> bool:
        move(299, 160)
        move(300, 160)
        return bool(
            picture.evaluate("e => [...e.children, e].some(each => each.style.cursor === 'crosshair')")
        )

    hosts.wait_until(page, zooms)
    page.mouse.down()
    move(330, 180)
    page.mouse.up()
    move(100, 590)
    hosts.wait_until(page, lambda: plain(page) > 0.95)
    near = hosts.canvas_pixels(page)
    move(400, 200)
    hosts.wait_until(page, lambda: plain(page) < 0.95)  # The row that is pointed at is framed.
    seen = told(page)
    single_weights_are_torchs(near, seen)
    picture.hover()
    page.get_by_title("Reset original view").click()
    page.mouse.move(0, 0)
    # Not the first picture to the pixel: it may be a little wider or narrower once a scroll bar has come.
    hosts.wait_until(page, lambda: is_whole(page))


def single_weights_are_torchs(pixels: np.ndarray, seen: dict[str, Any]) -> None:
    """Find the colour of every weight in sight, and what is read out of one, to be what torch says."""
    torch.manual_seed(0)
    model = nn.Linear(1800, 1200)
    weight = model.weight.detach().clone()
    oracle.l1_unstructured(model, "weight", 0.4)
    mask = model.weight_mask.bool().numpy()

    x0, y0, x1, y1 = seen["box"]
    (left, right), (bottom, top) = seen["x"], seen["y"]
    columns, rows = np.arange(np.ceil(left), right, dtype=int), np.arange(np.ceil(top), bottom, dtype=int)
    assert 10 < len(columns) < 200
    assert 10 < len(rows) < 200
    across = (x0 + (columns - left) / (right - left) * (x1 - x0)).astype(int)
    down = (len(pixels) - y1 + (rows - top) / (bottom - top) * (y1 - y0)).astype(int)
    kept, _ = colours(pixels[np.ix_(down, across)])
    assert (kept == mask[np.ix_(rows, columns)]).mean() > 0.99

    named = re.match(r"\[(\d+), (\d+)\]", seen["read"])
    assert named, seen["read"]
    row, column = int(named[1]), int(named[2])
    # The picture may begin within a pixel of the page.
    assert abs(x0 + (column - left) / (right - left) * (x1 - x0) - 400) < 10
    assert abs(len(pixels) - y1 + (row - top) / (bottom - top) * (y1 - y0) - 200) < 4
    value, state = float(weight[row, column]), "kept" if mask[row, column] else "pruned"
    says = f"[{row}, {column}] = {value:.3g} · score {abs(value):.3g} · {state}".replace("-", "−")
    assert seen["read"] == says
