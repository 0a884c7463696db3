"""Latency against channels kept: real networks of those widths; the amount goes to the tread one picks."""

from __future__ import annotations

import asyncio

import pytest
import torch
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.errors import RequestError
from prunescope.explorer.live import staircase as live
from prunescope.explorer.panels.costs import CostsPanel
from prunescope.export.compact import ROUNDINGS, staircase
from prunescope.export.compact.staircase import widths
from prunescope.session import Session
from prunescope.sources import demo_source, module_source
from tests.support import person


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))


EXAMPLE = torch.ones(8, 4)


def test_every_rounding_has_treads() -> None:
    for channels in (3, 16, 30, 64, 2048):
        found = widths(channels)
        assert found[-1] == channels
        assert len(found) <= 25
    assert {each: sum(width % each == 0 for width in widths(64)) for each in ROUNDINGS} == {
        1: 14,
        4: 8,
        8: 6,
        16: 4,
    }


def test_widths_are_timed_and_the_model_is_left_alone() -> None:
    session = Session(module_source(net(), example=EXAMPLE))
    before = [value.clone() for value in session.source.module.state_dict().values()]
    *_, found = staircase(session, "0", seconds=0, examples=2)
    assert [tread.kept for tread in found.treads] == widths(32)
    assert all(0 < tread.seconds.low <= tread.seconds.median <= tread.seconds.high for tread in found.treads)
    assert [tread.kept for tread in found.of(16)] == [16, 32]
    assert all(map(torch.equal, before, session.source.module.state_dict().values()))


@pytest.mark.parametrize(
    ("key", "layer", "why"),
    [
        ("mlp", "head", "its channels are what the model answers"),
        ("vit", "blocks.1.attention.proj", "a LayerNorm, which needs all of them"),
        ("vit", "norm", "a LayerNorm, has no channels to cut out"),
    ],
)
def test_what_cannot_be_made_smaller_says_why(key: str, layer: str, why: str) -> None:
    with pytest.raises(RequestError) as caught:
        list(staircase(Session(demo_source(key)), layer, seconds=0))
    assert why in str(caught.value)


def costs(explorer: Explorer) -> CostsPanel:
    found = explorer.screen.panels["costs"]
    assert isinstance(found, CostsPanel)
    return found


def test_the_amount_snaps_to_the_tread_that_is_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TIMING_SECONDS", 0.0)

    async def scene() -> None:
        explorer = explore(net(), example=EXAMPLE, layer="0", amount=0.5)
        try:
            person.open_tab(explorer.screen.tabs, "Costs")
            panel = costs(explorer).staircase
            person.press(panel.time)
            await person.settled(explorer, lambda shown: shown.staircase.found and not shown.staircase.busy)
            person.choose(panel.rounding, "8")
            kept = [each for _, each in panel.kept.options if each]
            assert kept
            assert all(each % 8 == 0 for each in kept)
            panel.kept.set_state({"index": [each for _, each in panel.kept.options].index(16)})
            assert (explorer.method, explorer.dim, explorer.amount) == ("ln_structured", 0, 16)
            assert int(explorer.preview.mask.any(1).sum()) == 16
            assert panel.kept.value == 16
            explorer.amount = 5
            assert panel.kept.value is None
            explorer.layer = "2"
            assert panel.picture.value == ""
        finally:
            explorer.close()

    asyncio.run(scene())
