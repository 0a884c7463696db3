"""Two states side by side in the served page, with numbers that torch gives here too."""

import copy
from collections.abc import Callable

import torch
import torch.nn.utils.prune as oracle
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page
from torch import nn

from prunescope.sources.demos import load_demo
from tests.support import hosts

OpenPage = Callable[..., Page]

MODEL, (INPUTS, TARGETS) = load_demo("cnn")


def pruned(amount: float, prune: Callable[..., object], **fields: object) -> nn.Module:
    model = copy.deepcopy(MODEL)
    torch.manual_seed(0)
    prune(model.block2.conv2, "weight", amount=amount, **fields)
    return model.eval()


def sides(amount: float) -> tuple[nn.Module, nn.Module]:
    by_norm = pruned(amount, oracle.ln_structured, n=2, dim=0)
    return by_norm, pruned(amount, oracle.random_structured, dim=0)


def agreement(a: nn.Module, b: nn.Module) -> str:
    masks = [model.block2.conv2.weight_mask.bool() for model in (a, b)]
    same = 100 * float((masks[0] == masks[1]).double().mean())
    shared = 100 * int((~masks[0] & ~masks[1]).sum()) / int((~masks[0] | ~masks[1]).sum())
    layer = "the 36,864 weights of block2.conv2.weight"
    return (
        f"They agree on {same:.1f} % of {layer}; of what either prunes, both prune {shared:.1f} % (Jaccard)."
    )


def accuracy(model: nn.Module) -> str:
    with torch.no_grad():
        right = int((model(INPUTS).argmax(1) == TARGETS).sum())
    return f"{100 * right / len(TARGETS):.1f} % ("


def wait_for_table(page: Page, *sides: nn.Module) -> None:
    """Wait until the table has the numbers that ``sides`` give."""
    table = page.locator(".ps-compare-table table")

    def shown() -> bool:
        cells = table.locator("tr", has_text="Held-out accuracy").locator("td").all_inner_texts()
        return table.locator("caption").inner_text() == agreement(*sides) and all(
            cell.startswith(accuracy(side)) for cell, side in zip(cells, sides, strict=True)
        )

    table.wait_for()
    hosts.wait_until(page, shown)


def type_amount(page: Page, text: str) -> None:
    field = page.get_by_label("Amount", exact=True)
    field.fill(text)
    field.press("Enter")


def test_chance_is_two_clicks_away_and_follows_the_amount(open_page: OpenPage, voila_url: str) -> None:
    page = open_page()
    page.goto(voila_url)
    page.get_by_role("tab", name="Compare").click()
    wait_for_table(page, *sides(0.3))
    type_amount(page, "0.5")
    wait_for_table(page, *sides(0.5))
    picture = page.locator(".ps-compare").get_by_role("img", name=agreement(*sides(0.5)))
    assert picture.locator("canvas").count() > 0
    page.get_by_label("with", exact=True).select_option(label="L1 unstructured")
    by_weight = pruned(0.5, oracle.l1_unstructured)
    wait_for_table(page, sides(0.5)[0], by_weight)

    page.get_by_role("button", name="Apply", exact=True).click()
    page.get_by_label("Name", exact=True).fill("half the channels")
    page.get_by_role("button", name="Keep these steps").click()
    page.get_by_label("with", exact=True).select_option(label="Plan: half the channels")
    page.get_by_role("button", name="Reset", exact=True).click()
    type_amount(page, "0.3")
    wait_for_table(page, sides(0.3)[0], sides(0.5)[0])
    hosts.wait_until(page, "['plans', 'compare', 'amount=0.3'].every(text => location.search.includes(text))")

    other = open_page(width=420, height=900)
    other.goto(page.url)
    wait_for_table(other, sides(0.3)[0], sides(0.5)[0])
    assert hosts.overflow(other) == 0
    other.get_by_role("button", name="Apply plan").click()
    hosts.wait_until(other, "document.body.textContent.includes('0 % of 32 output channels')")
    found = Axe().run(other, context=".prunescope").response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
