"""The section that shows what pruning does to the answers."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from prunescope import Explorer, explore
from prunescope.explorer.panels import effect as panel
from prunescope.explorer.state.catalogue import Catalogue, Entry
from prunescope.figures import DARK
from prunescope.sources import checkpoint_source, demo_source


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    explorer = explore(method="ln_structured", amount=0.75)
    yield explorer
    explorer.close()


def look(explorer: Explorer, title: str = "Effect") -> None:
    explorer.screen.tabs.selected_index = explorer.screen.tabs.titles.index(title)


def body(explorer: Explorer) -> str:
    return explorer.screen.panels["effect"].body.value


def test_nothing_is_drawn_before_it_is_looked_at(explorer: Explorer) -> None:
    explorer.amount = 0.8
    assert body(explorer) == ""
    look(explorer)
    assert body(explorer).count("<img") == 2
    drawn = body(explorer)
    look(explorer, "Steps")
    explorer.amount = 0.1
    assert body(explorer) == drawn
    look(explorer)
    assert body(explorer) != drawn


def test_drawn_again_only_when_what_it_shows_has_changed(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(explorer)
    drawn: list[object] = []
    draw = panel.draw_classes
    monkeypatch.setattr(
        panel, "draw_classes", lambda *args, **more: (drawn.append(more), draw(*args, **more))
    )
    explorer.view = explorer.view.__class__(heatmap="weights")
    look(explorer, "Steps")
    look(explorer)
    assert drawn == []
    explorer.amount = 0.7
    assert len(drawn) == 1
    explorer.screen.ruler.set_state({"dark": True})
    assert drawn[-1]["theme"] == DARK


def test_pictures_and_tables_say_what_the_effect_is(explorer: Explorer) -> None:
    look(explorer)
    effect = explorer.effect
    assert effect.sentence in explorer.screen.panels["effect"].summary.value
    alternatives = re.findall(r'alt="([^"]*)"', body(explorer))
    first, example = effect.classes[0], effect.examples(1)[0]
    assert f"class 0: {first.before.right} → {first.after.right} of {first.after.total};" in alternatives[0]
    assert alternatives[1].startswith(
        f"#{example.index} is {example.target}, answered {example.before} → {example.after}: became wrong;"
    )
    explorer.screen.panels["effect"].as_text.value = True
    assert "<img" not in body(explorer)
    assert f"<td>0</td><td>{first.before.in_words}</td><td>{first.after.in_words}</td>" in body(explorer)
    assert f"<td>#{example.index}</td>" in body(explorer)
    assert body(explorer).count("became wrong") == 20


def test_width_decides_how_many_stand_in_a_row(explorer: Explorer) -> None:
    look(explorer)
    for width in (390, 900):
        explorer.screen.ruler.set_state({"width": width})
        assert re.findall(r'<img width="(\d+)"', body(explorer)) == [str(width - 40)] * 2


def test_hidden_with_a_word(explorer: Explorer) -> None:
    hidden = explore(hide=["effect"])
    try:
        assert hidden.screen.tabs.titles == tuple(t for t in explorer.screen.tabs.titles if t != "Effect")
    finally:
        hidden.close()


def test_names_of_classes_are_no_markup() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Linear(4, 2), torch.randn(9, 4)
    data = inputs, model(inputs).argmax(1)
    explorer = explore(model, data=data, classes=["<b>cat", "dog"], amount=1.0)
    try:
        look(explorer)
        explorer.screen.panels["effect"].as_text.value = True
        assert "&lt;b&gt;cat" in body(explorer)
        assert "<b>" not in body(explorer)
    finally:
        explorer.close()


def test_own_numbers_stand_in_a_table() -> None:
    explorer = explore(nn.Linear(4, 2), evaluate=lambda model: {"a<b": 0.25, "zeros": 3}, amount=1)
    try:
        look(explorer)
        assert "<td>a&lt;b</td><td>0.25</td><td>0.25</td>" in body(explorer)
        assert "a&lt;b" in explorer.screen.readout.numbers.value
        assert explorer.screen.panels["effect"].as_text.layout.display == "none"
    finally:
        explorer.close()


def test_without_a_measure_there_is_no_such_section() -> None:
    explorer = explore(nn.Linear(4, 2))
    try:
        assert "Effect" not in explorer.screen.tabs.titles
    finally:
        explorer.close()


def test_a_checkpoint_among_others_says_why_there_is_nothing(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(3, 4)}, tmp_path / "a.safetensors")
    entries = {
        "mlp": Entry("MLP", partial(demo_source, "mlp")),
        "file": Entry("File", partial(checkpoint_source, tmp_path / "a.safetensors")),
    }
    explorer = Explorer(Catalogue(entries))
    try:
        look(explorer)
        assert "<img" in body(explorer)
        explorer.model = "file"
        assert "cannot be measured" in body(explorer)
        assert explorer.screen.panels["effect"].summary.value == ""
        explorer.model = "mlp"
        assert "<img" in body(explorer)
    finally:
        explorer.close()


def test_what_cannot_be_measured_shows_no_effect() -> None:
    explorer = explore(nn.Linear(4, 3), data=(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)))
    try:
        look(explorer)
        assert "Not measured." in explorer.screen.panels["effect"].summary.value
        assert explorer.screen.tabs.titles.count("Effect") == 1
    finally:
        explorer.close()
