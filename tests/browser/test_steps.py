"""Steps, links and downloads in the served page, as a person uses them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from playwright.sync_api import Page

from prunescope.export import load_plan
from prunescope.measure.costs.measuring import measure, silencing
from prunescope.session import Session
from prunescope.sources import demo_source
from prunescope.sources.demos import load_demo
from tests.browser.test_hand import serious
from tests.support import hosts

OpenPage = Callable[..., Page]


def opened(page: Page, url: str) -> Page:
    page.goto(url)
    says(page, "of 599)")
    return page


def says(page: Page, *texts: str) -> None:
    hosts.wait_until(page, f"{json.dumps(texts)}.every(text => document.body.textContent.includes(text))")


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def type_amount(page: Page, text: str) -> None:
    field = page.get_by_label("Amount", exact=True)
    field.fill(text)
    field.press("Enter")


def test_apply_undo_redo_and_the_link_that_carries_them(open_page: OpenPage, voila_url: str) -> None:
    page = opened(open_page(), voila_url)
    press(page, "Apply")
    says(page, "0 % of 45 output channels")
    type_amount(page, "0.2")
    says(page, "20 % of 45 output channels")
    press(page, "Apply")
    says(page, "0 % of 36 output channels")
    press(page, "Undo")
    says(page, "20 % of 45 output channels")
    press(page, "Redo")
    says(page, "0 % of 36 output channels")
    type_amount(page, "0.5")
    says(page, "18 (50.0 %)")
    hosts.wait_until(page, "location.search.includes('amount=0.5')")
    hosts.wait_until(page, lambda: "→ …" not in page.inner_text("body"))
    numbers = page.locator(".ps-numbers [role=status]").inner_text()

    other = opened(open_page(width=420, height=900), page.url)
    hosts.wait_until(other, lambda: "→ …" not in other.inner_text("body"))
    assert other.locator(".ps-numbers [role=status]").inner_text() == numbers
    assert hosts.overflow(other) == 0
    other.get_by_role("tab", name="Steps").click()
    says(other, "pruned 19 of 64", "20.0 % of what remained")
    slider = other.get_by_role("slider").last
    slider.press("Home")
    says(other, "0 % of 64 output channels")
    press(other, "Redo")
    says(other, "0 % of 45 output channels")


def test_costs_and_a_step_that_leaves_pruned_channels_silent(open_page: OpenPage, voila_url: str) -> None:
    session = Session(demo_source("cnn"))
    session.apply(
        session.preview(session.resolve(replace(session.first_spec, method="ln_structured", amount=0.3)))
    )
    *_, costs = measure(session, session.applied)
    page = opened(open_page(width=420, height=900), voila_url)
    page.get_by_role("tab", name="Costs").click()
    says(page, f"{costs.files.masked:,}", f"{costs.compressed.masked:,}", f"{costs.compressed.permanent:,}")
    says(page, f"{costs.nonzero:,} of {costs.parameters:,}", f"FLOPs, masked or not {costs.flops.total:,}")
    (seen,) = costs.emissions
    says(page, "19 of 64, then block2.norm2", f"up to {seen.after_norm:.3g}", "Apply the preview first")
    assert page.get_by_role("button", name="Also mask bias and batch-norm").is_disabled()
    assert hosts.overflow(page) == 0
    press(page, "Apply")
    says(page, "0 % of 45 output channels")
    # By key: lines that come in above move the button, and a click may miss it.
    page.get_by_role("button", name="Also mask bias and batch-norm").and_(page.locator(":enabled")).press(
        "Enter"
    )
    session.silence(silencing(session))
    *_, costs = measure(session, session.applied)
    says(page, f"{costs.nonzero:,} of {costs.parameters:,}", "Residual output of pruned channels none")
    page.get_by_role("tab", name="Steps").click()
    says(page, "masked 38 of 128 entries of block2.norm2.weight and block2.norm2.bias")
    hosts.wait_until(page, "location.search.includes('silence')")
    assert page.get_by_role("button", name="Also mask bias and batch-norm").count() == 0
    assert serious(page) == []


def test_a_hostile_link_gives_a_sentence_and_the_default(open_page: OpenPage, voila_url: str) -> None:
    page = opened(open_page(), voila_url + "?layer=<img src=x onerror=alert(1)>&steps=[[&amount=0.9")
    alert = page.get_by_role("alert")
    assert "The link could not be opened" in alert.inner_text()
    assert page.locator("img[src=x]").count() == 0
    says(page, "30 % of 64 output channels")


def test_a_teacher_hides_and_locks_by_the_link(open_page: OpenPage, voila_url: str) -> None:
    page = opened(open_page(), voila_url + "?hide=seed,n&lock=method&amount=4")
    says(page, "4 of 64 output channels")
    assert page.get_by_label("Seed", exact=True).is_hidden()
    assert page.get_by_label("Norm n", exact=True).is_hidden()
    assert page.get_by_label("Method", exact=True).is_disabled()
    assert page.get_by_label("Layer", exact=True).is_enabled()
    hosts.wait_until(page, "location.search.includes('hide=n%2Cseed&lock=method')")


def test_what_is_downloaded_does_it_again(open_page: OpenPage, voila_url: str, tmp_path: Path) -> None:
    page = opened(open_page(), voila_url)
    page.get_by_role("tab", name="Export").click()
    says(page, "Apply a step first")
    assert page.get_by_role("button", name="Download").is_disabled()
    press(page, "Apply")
    says(page, "0 % of 45 output channels")

    def downloaded(title: str) -> bytes:
        page.get_by_label("File").select_option(label=title)
        with page.expect_download() as download:
            press(page, "Download")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path.read_bytes()

    session = Session(demo_source("cnn"))
    load_plan(session, downloaded("Plan (JSON)").decode())
    masks = session.history.masks()
    model, (inputs, targets) = load_demo("cnn")
    names: dict[str, object] = {}
    exec(downloaded("Code for torch.nn.utils.prune").decode(), names)
    pruned = names["apply_pruning"](model)
    assert torch.equal(pruned.block2.conv2.weight_mask.bool(), masks["block2.conv2.weight"])
    names = {}
    exec(downloaded("Code for prunescope.prune").decode(), names)
    ours = names["apply_pruning"](load_demo("cnn")[0])
    assert torch.equal(ours.block2.conv2.weight_mask, pruned.block2.conv2.weight_mask)
    saved = safetensors.torch.load(downloaded("Masks (safetensors, 1 is kept)"))
    assert torch.equal(saved["block2.conv2.weight"], masks["block2.conv2.weight"])
    state = safetensors.torch.load(downloaded("Pruned weights (state_dict)"))
    fresh, _ = load_demo("cnn")
    fresh.load_state_dict(state)
    assert torch.equal(fresh.block2.conv2.weight, pruned.block2.conv2.weight)
    right = int((fresh.eval()(inputs).argmax(1) == targets).sum())
    says(page, f"({right} of 599)")

    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Apply plan file").click()
    chooser.value.set_files(files=[{"name": "p.json", "mimeType": "application/json", "buffer": b"{}"}])
    says(page, "“Plan file” must be JSON that Prunescope saved")
