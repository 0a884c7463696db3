"""`prunescope FILE --models DIR` in a browser: ten thousand layers, a search, names with markup."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from playwright.sync_api import Page

from tests.support import hosts
from tests.support.checkpoint_files import Payload, safetensors_file, sparse_safetensors, torch_file

OpenPage = Callable[..., Page]
EVIL = "<img src=x onerror=alert(1)>.weight"


def says(page: Page, *texts: str) -> None:
    hosts.wait_until(page, f"{json.dumps(texts)}.every(text => document.body.textContent.includes(text))")


def layers_offered(page: Page) -> list[str]:
    texts = page.get_by_label("Layer", exact=True).locator("option").all_text_contents()
    return [text.replace("\u00a0", " ") for text in texts]


def test_ten_thousand_layers_are_searched_in_the_page(open_page: OpenPage, tmp_path: Path) -> None:
    shapes = {f"model.layers.{i}.self_attn.{part}.weight": (32, 16) for i in range(2500) for part in "qkvo"}
    path = sparse_safetensors(tmp_path / "large.safetensors", shapes)
    models = tmp_path / "models"
    models.mkdir()
    safetensors_file(models, {EVIL: torch.ones(4, 3)}, "markup")
    command = hosts.prunescope_command(str(path), "--models", str(models), "--no-browser", "--port", "0")
    command += ["--max-upload", "5", "--ready", "0"]
    with hosts.served(command, tmp_path) as server:
        page = open_page(width=420, height=900)
        page.goto(server.url)
        says(page, "30 % of 32 output features", "A checkpoint: 10,000 tensors")
        page.get_by_label("Search", exact=True).fill("layers.24 V")
        says(page, "111 of 10,000 layers match, the first 100 are listed")
        wanted = "model.layers.2400.self_attn.v.weight · 32×16 · likely Linear · float32"
        page.get_by_label("Layer", exact=True).select_option(label=wanted)
        hosts.wait_until(page, lambda: page.get_by_label("Group", exact=True).input_value() != "")
        page.get_by_label("Search", exact=True).fill("")
        hosts.wait_until(page, lambda: len(layers_offered(page)) == 4 and wanted in layers_offered(page))
        assert hosts.overflow(page) == 0
        page.get_by_label("Model", exact=True).select_option(label="markup.safetensors")
        hosts.wait_until(page, lambda: layers_offered(page)[0].startswith(EVIL))
        says(page, "30 % of 4 output features")
        assert page.locator("img[src=x]").count() == 0
        upload_and_kill(page, server, tmp_path, open_page)


def upload_and_kill(page: Page, server: hosts.Server, folder: Path, open_page: OpenPage) -> None:
    """Upload files; what is taken lies in a private folder, and goes with its kernel, killed or not."""
    choose = page.locator(".ps-upload input")
    choose.set_input_files(torch_file(folder, {"w": Payload(folder / "ran")}, "evil.pt"))
    says(page, "loading that could run code, so it was refused and nothing was run")
    choose.set_input_files(safetensors_file(folder, {"up.weight": torch.ones(700, 900)}, "sent"))
    says(page, "sent.safetensors is uploaded and listed among the models.", "30 % of 700 output features")
    assert hosts.overflow(page) == 0
    choose.set_input_files(sparse_safetensors(folder / "too_large.safetensors", {"w": (1000, 1000)}))
    says(page, "`upload` may be at most 5 MB, 2.52 MB of which earlier uploads use, and too_large.safeten")
    (kernel,) = server.kernels()
    (kept,) = Path(kernel.cwd()).parent.glob("voila_*/uploads-*/**/*.*")
    assert kept.name == "sent.safetensors"
    assert not (folder / "ran").exists()
    other = open_page()
    other.goto(server.url)
    says(other, "30 % of 32 output features")
    kernel.kill()
    hosts.wait_until(page, lambda: not kept.exists())
    page.get_by_role("alert").get_by_text("This session's process on the server was stopped").wait_for()
    other.get_by_label("Model", exact=True).select_option(label="markup.safetensors")
    says(other, "30 % of 4 output features")
