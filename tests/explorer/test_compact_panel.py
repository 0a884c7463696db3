"""Smaller model under Export: what would be cut out is shown before, then what it saves, then the files."""

from __future__ import annotations

import asyncio
import importlib.util
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prunescope import Explorer, explore
from prunescope.explorer.panels.compact import CompactPanel
from prunescope.explorer.panels.export import ExportPanel
from prunescope.sources.demos import load_demo
from tests.explorer.test_recovering import network, opened
from tests.support import person


def panel(explorer: Explorer) -> CompactPanel:
    found = explorer.screen.panels["export"]
    assert isinstance(found, ExportPanel)
    return found.compact


def scene(explorer_of: Callable[[], Explorer], play: Callable[[Explorer, CompactPanel], Any]) -> None:
    async def played() -> None:
        explorer = explorer_of()
        try:
            person.open_tab(explorer.screen.tabs, "Export")
            await play(explorer, panel(explorer))
        finally:
            explorer.close()

    asyncio.run(played())


def looked(shown: Any) -> bool:
    return not shown.compact.busy and bool(shown.compact.cuts is not None or shown.compact.problem)


def test_what_goes_is_shown_before_then_what_it_saves_then_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(explorer: Explorer, panel: CompactPanel) -> None:
        assert panel.buttons["look"].disabled, "there is no step yet"
        explorer.apply()
        person.press(panel.buttons["look"])
        await person.settled(explorer, looked)
        assert "0 loses 4 channels." in panel.cuts.value
        assert explorer.snapshot.compact.found is None
        person.press(panel.buttons["make"])
        shown = await person.settled(explorer, lambda shown: shown.compact.found and not shown.compact.busy)
        found = shown.compact.found
        for said in (
            f"{found.parameters.before:,}", f"{found.parameters.after:,}", f"{found.difference:.1e}", "ms (",
            f"{100 * found.metric.after.fraction:.1f} %",
        ):  # fmt: skip
            assert said in panel.table.value
        sent: dict[str, bytes] = {}
        monkeypatch.setattr(
            explorer.screen.page, "send", lambda content, buffers: sent.update({content["name"]: buffers[0]})
        )
        for name in ("weights", "script"):
            person.press(panel.buttons[name])
        for name, content in sent.items():
            (tmp_path / name).write_bytes(content)
        rebuild = runpy.run_path(str(tmp_path / "rebuild.py"))["rebuild"]
        again = rebuild(network(), tmp_path / "smaller.safetensors").eval()
        inputs = torch.randn(5, 8)
        assert torch.equal(again(inputs), found.model(inputs))
        explorer.undo()
        assert "loses" not in panel.cuts.value
        assert panel.table.value == ""

    scene(lambda: opened(method="ln_structured", amount=4), play)


def test_coupled_layers_are_told_and_may_lose_what_any_of_them_prunes() -> None:
    async def play(explorer: Explorer, panel: CompactPanel) -> None:
        explorer.apply()
        person.press(panel.buttons["look"])
        await person.settled(explorer, looked)
        stays = (
            "block2.conv2 stays whole: its channels are added to those of block2.skip, where they are kept."
        )
        assert stays in panel.cuts.value
        assert panel.buttons["make"].layout.display == "none"
        person.choose(panel.coupled, "what any of them prunes")
        await person.settled(explorer, lambda shown: looked(shown) and shown.compact.coupled == "any")
        assert "block2.conv2 and block2.skip lose the same 20 channels." in panel.cuts.value

    def demo() -> Explorer:
        model, data = load_demo("cnn")
        return explore(model, data=data, layer="block2.conv2", method="ln_structured", amount=20)

    scene(demo, play)


def test_what_cannot_be_done_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = opened()
    try:
        explorer.request(front="export")
        explorer.apply()
        person.press(panel(explorer).buttons["look"])
        assert "loses" not in panel(explorer).cuts.value
        real = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == "torch_pruning" else real(name)
        )
        explorer.undo()
        explorer.redo()
        person.press(panel(explorer).buttons["look"])
        assert "pip install &#x27;prunescope[remove]&#x27;" in panel(explorer).message.value
    finally:
        explorer.close()
