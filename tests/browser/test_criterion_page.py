"""Choosing a criterion, an N:M pattern and a comparison by criterion, in one visit of the served page."""

from __future__ import annotations

from collections.abc import Callable

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from prunescope import prune
from prunescope.measure.importance import ensure_scores
from prunescope.session import Session
from prunescope.sources import demo_source
from tests.support import hosts

OpenPage = Callable[..., Page]
LAYER = "fc2.weight"


def test_a_criterion_a_pattern_and_the_two_compared(open_page: OpenPage, voila_url: str) -> None:
    page = open_page()
    page.goto(f"{voila_url}?model=mlp&layer={LAYER}&method=l1_unstructured&amount=0.5")
    fits = page.locator(".ps-fits")
    fits.get_by_text("breaks 2:4 in").wait_for()
    page.get_by_label("Criterion", exact=True).select_option(label="Taylor (gradient × weight)")
    page.locator('[role=slider][aria-valuetext*="of Taylor |g·w|"]').wait_for()
    page.get_by_role("button", name="2:4").click()
    fits.get_by_text("The mask fits 2:4 in all 4,096 groups.").wait_for()
    assert page.get_by_label("Method", exact=True).input_value() == "Grouped L1 (N:M, rows)"
    page.get_by_text("50 % of 4 weights of each group").wait_for()
    hosts.wait_until(page, lambda: "criterion=taylor" in page.url and "group=4" in page.url)

    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("with", exact=True).select_option(label="Criterion: Weight")
    session = Session(demo_source("mlp"))
    ensure_scores(session, "taylor")
    tensor, method = session.tensor(LAYER), prune.GroupedUnstructured(0.5, group=4)
    masks = [
        method.rank_groups(tensor.weight, None, scores).mask(0.5)
        for scores in (session.criteria.known("taylor")[LAYER].weights, None)
    ]
    same = 100 * float((masks[0] == masks[1]).double().mean())
    page.get_by_text(f"They agree on {same:.1f} % of the 16,384 weights of {LAYER}").first.wait_for()

    page.get_by_role("button", name="Agreement of the criteria").click()
    table = page.locator(".ps-agree[aria-busy=false]")
    table.wait_for(timeout=60_000)
    common = 100 * int((~masks[0] & ~masks[1]).sum()) / int((~masks[1]).sum())
    row = table.locator("tbody tr", has=page.get_by_role("rowheader", name="taylor"))
    assert row.locator("td").first.inner_text() == f"{common:.0f} %"
    found = Axe().run(page, context=".prunescope").response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
