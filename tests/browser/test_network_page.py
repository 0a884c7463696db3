"""The whole network in the served page and in JupyterLab: from the strip to a goal that is met and linked."""

import json
import re
from collections.abc import Callable, Sequence

from playwright.sync_api import Locator, Page

from tests.support import hosts

OpenPage = Callable[..., Page]
OpenNotebook = Callable[[Page, Sequence[str]], list[str]]


def says(page: Page, *texts: str) -> None:
    hosts.wait_until(page, f"{json.dumps(texts)}.every(text => document.body.textContent.includes(text))")


def bars(page: Page) -> Locator:
    return page.get_by_role("option").and_(page.locator(".ps-layer-bar"))


def within(page: Page) -> list[bool]:
    return page.evaluate(
        "[...document.querySelectorAll('.ps-layer-bar')].map(bar => bar.classList.contains('ps-in-scope'))"
    )


def filled(page: Page, cells: int) -> None:
    hosts.wait_until(page, lambda: page.locator(".ps-cell:not(.ps-empty)").count() == cells)


def tile(page: Page, rule: str) -> float:
    text = page.locator(".ps-tiles li", has=page.get_by_text(rule, exact=True)).locator("b").inner_text()
    return float(text.removesuffix(" %"))


def test_the_engineers_task_and_all_the_page_offers(open_page: OpenPage, voila_url: str) -> None:
    page = open_page(width=1400, height=900)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(voila_url)
    says(page, "of 599)")

    # The strip: a click leads to a layer, the keyboard as well, and several are a scope.
    bars(page).nth(1).click()
    says(page, "30 % of 32 output channels")
    bars(page).nth(1).press("ArrowRight")
    page.locator(".ps-layer-bar:focus").press("Enter")
    hosts.wait_until(page, lambda: bars(page).nth(2).get_attribute("aria-current") == "true")
    page.locator(".ps-layer-bar:focus").press("Shift+ArrowRight")
    says(page, "2 layers chosen")
    hosts.wait_until(page, lambda: within(page) == [False, False, True, True, False, False, False])
    bars(page).nth(5).click(modifiers=["Control"])
    says(page, "3 layers chosen")
    page.get_by_label("Scope", exact=True).select_option(label="all layers alike")
    hosts.wait_until(page, lambda: all(within(page)))
    says(page, "7 layers alike")
    page.get_by_role("button", name="Apply", exact=True).click()
    hosts.wait_until(page, "location.search.includes('scope=alike')")
    page.get_by_role("button", name="Undo", exact=True).click()
    says(page, "7 layers alike")
    page.get_by_label("Scope", exact=True).select_option(label="this layer")

    # "Half of the weights gone, whole channels": the page, the target, and one act.
    actions = 0
    page.get_by_role("tab", name="Network").click()
    actions += 1
    filled(page, 63)
    says(page, "63 of 63 cells measured")
    hosts.wait_until(page, lambda: page.locator(".ps-tiles li").count() == 6)
    assert page.locator(".ps-front circle").count() >= 6
    assert page.locator(".ps-steps-line path").get_attribute("d").count("L") == 13
    assert "not used for choosing" in page.locator(".ps-goal").inner_text()
    page.get_by_label("lose at most", exact=True).fill("1")
    page.get_by_label("lose at most", exact=True).press("Enter")
    actions += 1
    says(page, "Cannot: ", "the best is ")
    page.get_by_role("button", name="Take the best").click()
    actions += 1
    apply = page.get_by_role("button", name="Apply as one step")
    hosts.wait_until(page, lambda: "Cannot" not in page.inner_text("body") and apply.is_enabled())
    lost = re.search(r"lost (−?[\d.]+) points", page.locator(".ps-goal").inner_text())
    assert lost is not None
    apply.click()
    actions += 1
    page.get_by_role("tab", name="Steps").click()
    says(page, "% of weights by")
    assert actions <= 5
    page.get_by_role("button", name="Undo", exact=True).click()
    hosts.wait_until(page, lambda: "% of weights by" in page.locator(".ps-undone").first.inner_text())

    # A cell leads to its layer at its amount; a pin holds, and the others are solved again.
    page.get_by_role("tab", name="Network").click()
    page.get_by_label("lose at most", exact=True).fill("")
    page.get_by_label("lose at most", exact=True).press("Enter")
    page.get_by_label("Prune %", exact=True).fill("40")
    page.get_by_label("Prune %", exact=True).press("Enter")
    page.get_by_label("rule", exact=True).select_option(label="LAMP: one threshold, none emptied")
    says(page, "by lamp")
    page.locator("tr[data-name='block1.conv2.weight'] .ps-cell").nth(7).click()
    says(page, "80 % of 32 output channels")
    pin = page.get_by_role("slider", name="block1.conv2: percent pruned")
    pin.focus()
    page.keyboard.press("Home")
    hosts.wait_until(
        page,
        lambda: page.get_by_role("button", name="Pin block1.conv2").get_attribute("aria-pressed") == "true",
    )
    assert page.evaluate("document.activeElement.dataset.name") == "block1.conv2.weight"
    hosts.wait_until(page, lambda: apply.is_enabled())
    hosts.wait_until(page, "location.search.includes('pins')")
    hosts.wait_until(page, lambda: page.locator(".ps-tiles li").count() == 6)
    assert tile(page, "lamp") >= 0

    other = open_page(width=420, height=900)
    other.goto(page.url)
    says(other, "by lamp")
    hosts.wait_until(
        other,
        lambda: other.get_by_role("button", name="Pin block1.conv2").get_attribute("aria-pressed") == "true",
    )
    assert hosts.overflow(other) == 0
    assert errors == []


NETWORK = """
import torch
from torch import nn
from prunescope import explore
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
inputs = torch.randn(200, 6)
data = inputs, model(inputs).argmax(1)
"""


def test_in_jupyterlab(page: Page, lab: OpenNotebook) -> None:
    assert (
        lab(page, [NETWORK, "explorer = explore(model, data=data, method='ln_structured')\nexplorer"]) == []
    )
    says(page, "30 % of 16 output features")
    bars(page).nth(1).click(modifiers=["Shift"])
    says(page, "2 layers chosen")
    page.get_by_role("tab", name="Network").click()
    filled(page, 27)
    hosts.wait_until(page, lambda: page.locator(".ps-tiles li").count() == 6)
    apply = page.get_by_role("button", name="Apply as one step")
    hosts.wait_until(page, lambda: apply.is_enabled())
    page.get_by_role("button", name="Pin 0", exact=True).click()
    hosts.wait_until(
        page,
        lambda: page.get_by_role("button", name="Pin 0", exact=True).get_attribute("aria-pressed") == "true",
    )
    hosts.wait_until(page, lambda: apply.is_enabled())
    apply.click()
    page.get_by_role("tab", name="Steps").click()
    says(page, "% of weights by")
    page.get_by_role("button", name="Undo", exact=True).click()
    hosts.wait_until(page, lambda: page.get_by_role("button", name="Redo", exact=True).is_enabled())
