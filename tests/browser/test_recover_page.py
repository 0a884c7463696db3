"""Recovery and the smaller model in the served page: trained for seconds, stopped, kept, undone; cut out."""

import re
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
from playwright.sync_api import Page

from prunescope.export.compact import rebuild
from prunescope.sources.demos import load_demo
from prunescope.sources.demos.models import NETWORKS
from tests.browser.test_hand import serious
from tests.browser.test_steps import opened, press, says
from tests.support import hosts

OpenPage = Callable[..., Page]


def outcome(page: Page, name: str) -> str:
    """Return what stands under ``name`` among the numbers side by side."""
    return page.evaluate(
        """name => [...document.querySelectorAll('.ps-outcome')]
                   .find(cell => cell.firstChild.textContent === name)
                   .querySelector('.ps-value').textContent""",
        name,
    )


def test_trained_stopped_kept_undone_and_cut_out(open_page: OpenPage, voila_url: str, tmp_path: Path) -> None:
    start = f"{voila_url}?model=mlp&layer=fc1.weight&method=ln_structured&amount=0.5&dim=0"
    page = opened(open_page(width=1366, height=768), start)
    page.get_by_role("tab", name="Recover").click()
    says(page, "What is shown becomes a step first", "This server trains for at most 60 s")
    assert page.get_by_role("button", name="Re-estimate batch-norm").is_disabled()
    assert outcome(page, "dense") == "98.8 %"
    press(page, "Fine-tune")
    hosts.wait_until(page, lambda: page.locator(".ps-curve-dot").count() > 2)
    says(page, "s left · step")
    assert serious(page) == []
    press(page, "Stop")
    says(page, "keep what is trained, or discard it")
    press(page, "Keep as a step")
    says(page, "0 pruned weights revived", "Plans, links and code cannot hold new weights")
    hosts.wait_until(page, lambda: outcome(page, "fine-tuned") != "–")
    pruned, tuned = (float(outcome(page, name)[:-2]) for name in ("pruned", "fine-tuned"))
    assert tuned > pruned
    page.locator(".ps-recover").get_by_role("button", name="Undo").click()
    says(page, "Training keeps what is pruned at zero")
    assert outcome(page, "fine-tuned") == f"{tuned:.1f} %"
    hosts.wait_until(page, "location.search.includes('silence')")
    assert hosts.overflow(page) == 0

    page.get_by_role("tab", name="Export").click()
    # By key: the code that comes in above moves the buttons, and a click may miss one.
    page.get_by_role("button", name="What can be cut out?").press("Enter")
    says(page, "fc1 loses 64 channels.")
    page.get_by_role("button", name="Cut it out").press("Enter")
    weights = page.get_by_role("button", name="Download weights")
    hosts.wait_until(page, lambda: weights.count() == 1 and weights.is_enabled())
    table = page.locator(".ps-compact table").inner_text()
    numbers = re.findall(r"Parameters\s+([\d,]+)\s+([\d,]+)", table)
    dense, smaller = (int(text.replace(",", "")) for text in numbers[0])
    model, (inputs, targets) = load_demo("mlp")
    assert dense == sum(parameter.numel() for parameter in model.parameters())
    with page.expect_download() as download:
        press(page, "Download weights")
    download.value.save_as(tmp_path / "smaller.safetensors")
    again = rebuild(NETWORKS["mlp"](), tmp_path / "smaller.safetensors").eval()
    assert sum(parameter.numel() for parameter in again.parameters()) == smaller
    assert safetensors.torch.load_file(tmp_path / "smaller.safetensors")["fc1.weight"].shape == (64, 64)
    right = int((again(inputs).argmax(1) == targets).sum())
    assert f"{100 * right / len(targets):.1f} %" in table
    assert hosts.overflow(page) == 0
    assert serious(page) == []
