"""What pruning does to the answers, in the served page, compared with what torch computes here."""

import re
from collections.abc import Callable

import torch
import torch.nn.utils.prune as oracle
from playwright.sync_api import Page

from prunescope.sources.demos import load_demo
from tests.browser.test_hand import serious
from tests.support import hosts

OpenPage = Callable[..., Page]


def cells(page: Page) -> list[list[str]]:
    """Return the rows of all tables of the section, heads left out."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.ps-table tbody tr')]
                 .map(row => [...row.cells].map(cell => cell.textContent))"""
    )


def alternatives(page: Page) -> list[str]:
    return [image.get_attribute("alt") or "" for image in page.locator(".ps-effect img").all()]


def test_classes_fall_and_examples_change_as_torch_says(open_page: OpenPage, voila_url: str) -> None:
    model, (inputs, targets) = load_demo("cnn")
    with torch.no_grad():
        was = model(inputs).argmax(1)
        oracle.ln_structured(model.block2.conv2, "weight", 29, 2, 0)
        now = model(inputs).argmax(1)
    changed = (was != now).nonzero().flatten().tolist()
    assert 20 < len(changed) < 300

    page = open_page(width=420, height=900)
    page.goto(f"{voila_url}?method=ln_structured&amount=29")
    page.get_by_role("tab", name="Effect").click()
    hosts.wait_until(page, lambda: len(alternatives(page)) == 2)
    by_class, strip = alternatives(page)
    assert f"{len(changed)} of 599 answers changed" in page.inner_text(".ps-effect")
    counts = re.findall(r"class (\d): (\d+) → (\d+) of (\d+)", by_class)
    mine = [(targets == each) for each in range(10)]
    assert [tuple(map(int, each)) for each in counts] == [
        (each, int((was == each)[own].sum()), int((now == each)[own].sum()), int(own.sum()))
        for each, own in enumerate(mine)
    ]
    broken = [index for index in changed if was[index] == targets[index]]
    shown = [int(index) for index in re.findall(r"#(\d+) is", strip)]
    assert shown == broken[: len(shown)]
    assert len(shown) == 20
    assert (
        f"#{shown[0]} is {targets[shown[0]]}, answered {was[shown[0]]} → {now[shown[0]]}: became wrong"
        in strip
    )
    assert hosts.overflow(page) == 0

    page.get_by_role("button", name="As text").click()
    hosts.wait_until(page, lambda: len(cells(page)) == 30)
    rows = cells(page)
    assert [row[0] for row in rows[10:]] == [f"#{index}" for index in shown]
    assert f"({counts[4][2]} of {counts[4][3]};" in rows[4][2]
    assert hosts.overflow(page) == 0
    field = page.get_by_label("Amount", exact=True)
    field.fill("0")
    field.press("Enter")
    hosts.wait_until(page, lambda: "None of 599 answers changed." in page.inner_text(".ps-effect"))
    hosts.wait_until(page, lambda: cells(page)[4][1:] == ["100.0 % (60 of 60; 94.0 to 100.0 %)"] * 2)
    assert serious(page) == []
