"""Smaller model under Export: what would be cut out is shown before, then what it saves, then the files."""

from __future__ import annotations

import asyncio
import importlib.util
import runpy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from prunescope import Explorer, explore
from prunescope.explorer.live import compact
from prunescope.explorer.panels.compact import CompactPanel
from prunescope.explorer.panels.export import ExportPanel
from prunescope.sources.demos import load_demo
from tests.explorer.test_recovering import network, opened
from tests.support import person


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time a few calls of each network, and no more."""
    monkeypatch.setattr(compact, "LATENCY_SECONDS", 0.0)


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


class Held(nn.Sequential):
    """Waits, in any thread but the first, until it is let go."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if threading.current_thread() is not threading.main_thread():
            ENTERED.set()
            assert LET_GO.wait(person.PATIENCE_S)
        return super().forward(x)


ENTERED, LET_GO = threading.Event(), threading.Event()


def test_while_it_looks_and_cuts_the_page_is_alive() -> None:
    async def play(explorer: Explorer, panel: CompactPanel) -> None:
        explorer.apply()
        for button, busy in (("look", "Looking for what can be cut out …"), ("make", "Cutting it out …")):
            ENTERED.clear()
            LET_GO.clear()
            person.press(panel.buttons[button])
            assert await asyncio.to_thread(ENTERED.wait, person.PATIENCE_S)
            assert busy in panel.cuts.value
            assert all(each.disabled for each in panel.buttons.values())
            assert "it is working" in panel.buttons[button].tooltip
            explorer.amount = 3 if button == "look" else 2
            assert explorer.preview.pruned_units == explorer.amount
            LET_GO.set()
            await person.settled(explorer, lambda shown: not shown.compact.busy)
        assert explorer.snapshot.compact.found.difference <= 1e-5
        assert [step.title for step in explorer.history.done] == ["ln_structured(amount=4, n=2, dim=0)"]

    def held() -> Explorer:
        return opened(Held(*network()), method="ln_structured", amount=4)

    scene(held, play)


def test_ones_own_measure_is_called_once_at_a_time_and_does_not_hold_the_page() -> None:
    running: list[int] = []

    def measure(model: nn.Module) -> float:
        running.append(threading.get_ident())
        assert len(running) == 1, "one call at a time"
        running.clear()
        assert threading.current_thread() is not threading.main_thread()
        return float(model(torch.ones(2, 8)).sum())

    async def play(explorer: Explorer, panel: CompactPanel) -> None:
        explorer.apply()
        person.press(panel.buttons["look"])
        await person.settled(explorer, looked)
        person.press(panel.buttons["make"])
        shown = await person.settled(explorer, lambda shown: shown.compact.found and not shown.compact.busy)
        assert shown.compact.problem == ""
        value = float(shown.compact.found.model(torch.ones(2, 8)).sum())
        assert list(shown.compact.found.metric.after.values.values()) == [value]
        assert "Your measure" in panel.table.value

    def own() -> Explorer:
        given = {"example": torch.ones(2, 8), "evaluate": measure, "amount": 4}
        return explore(network(), layer="0", method="ln_structured", **given)

    scene(own, play)


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
