"""The explorer in JupyterLab: one line, shown, moved by hand and by code."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.utils.prune as oracle
from playwright.sync_api import Page
from torch import nn

from tests.browser.test_dashboard import Dashboard
from tests.support import hosts

OpenNotebook = Callable[[Page, Sequence[str]], list[str]]

MODEL = """
import torch
from torch import nn
from prunescope import explore
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 24, 3))
"""


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 24, 3))


def test_one_line_shows_it_and_every_way_in_moves_it(page: Page, lab: OpenNotebook) -> None:
    errors = lab(page, [MODEL, "explorer = explore(model, layer='2')\nexplorer", "import os; os.getpid()"])
    assert errors == []
    shown = Dashboard(page)
    shown.wait_for("30 % of 3,456 weights", "1,037 (30.0 %)")
    net = model()
    oracle.l1_unstructured(net[2], "weight", 0.3)
    shown.wait_for_mask(net[2].weight_mask.bool())
    assert not page.get_by_label("Model", exact=True).is_visible()

    shown.choose("Method", "Ln structured")
    shown.choose("Norm n", "1 · sum of |w|")
    shown.type("Amount", "0.25")
    net = model()
    oracle.ln_structured(net[2], "weight", 0.25, 1, 0)
    shown.wait_for("25 % of 24 output channels", "6 (25.0 %)")
    shown.wait_for_mask(net[2].weight_mask.bool())

    run_in_a_new_cell(page, "explorer.amount = 12")
    net = model()
    oracle.ln_structured(net[2], "weight", 12, 1, 0)
    shown.wait_for("Requested 12 of 24 output channels")
    shown.wait_for_mask(net[2].weight_mask.bool())

    before = hosts.canvas_pixels(page)
    run_in_a_new_cell(page, "explorer.amount = 99")
    hosts.wait_until(page, lambda: page.get_by_role("alert").count() == 1)
    assert "got 99." in shown.problem()
    assert np.array_equal(hosts.canvas_pixels(page), before)
    hosts.wait_until(page, lambda: "RequestError: `amount` must be" in page.inner_text("body"))
    assert "Traceback" not in page.inner_text("body")


def run_in_a_new_cell(page: Page, code: str) -> None:
    page.evaluate(
        """async code => {
            const app = window.jupyterapp;
            const panel = app.shell.currentWidget;
            panel.content.activeCellIndex = panel.content.widgets.length - 1;
            await app.commands.execute('notebook:insert-cell-below');
            panel.content.activeCell.model.sharedModel.setSource(code);
            await app.commands.execute('notebook:run-cell');
        }""",
        code,
    )
