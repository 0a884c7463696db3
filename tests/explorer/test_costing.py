"""The costs as a person meets them: after the picture, in a line under it and in a section of their own."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.errors import RequestError
from prunescope.explorer.live import costs as costing
from prunescope.measure import Costs
from tests.support import networks, person


def network() -> nn.Module:
    model = networks.network(3, norm=True)
    nn.init.constant_(model[1].bias, 1.5)
    return model.eval()


def explored(**spec: object) -> Explorer:
    return explore(network(), example=torch.ones(4, 3, 3, 3), method="ln_structured", amount=2, **spec)


def is_whole(costs: Costs) -> bool:
    return costs.compressed is not None or "compressed" in costs.problems


async def settled(explorer: Explorer, holds: Callable[[Costs], bool] = is_whole) -> Costs:
    return (await person.settled(explorer, lambda snapshot: holds(snapshot.costs))).costs


def test_the_costs_of_what_is_shown_come_after_the_picture() -> None:
    async def scene() -> None:
        explorer = explored()
        line = explorer.screen.costs.line
        assert explorer.snapshot.costs.files is None
        assert "… of 208" in line.value
        costs = await settled(explorer)
        assert costs.nonzero == 208 - 2 * 27
        assert costs.files.text in line.value
        assert costs.compressed.text in line.value
        assert f">{costs.flops.total:,}<" in line.value
        assert f"up to {costs.put_out:.3g}" in line.value
        assert "makes nothing smaller or faster" in line.value
        account = explorer.screen.costs.files.value + explorer.screen.costs.emissions.value
        assert f"<td>{costs.files.masked:,}</td><td>{costs.compressed.masked:,}</td>" in account
        assert "0<br><small>2 of 6, then 1</small>" in account
        assert costs.cut.parameters == 2 * 27 + 2
        assert f"<b>{costs.cut.parameters:,}</b> parameters" in account
        measured = explorer.costs
        assert (measured.files, measured.compressed, measured.emissions) == (
            costs.files,
            costs.compressed,
            costs.emissions,
        )
        explorer.close()

    asyncio.run(scene())


def test_what_pruned_channels_put_out_is_masked_by_a_button() -> None:
    async def scene() -> None:
        explorer = explored()
        panel = explorer.screen.costs
        await settled(explorer)
        assert panel.silence.layout.display is None
        assert panel.silence.disabled
        assert "Apply the preview first" in panel.message.value
        explorer.apply()
        await settled(explorer)
        assert not panel.silence.disabled
        assert panel.message.layout.display == "none"
        panel.silence.click()
        costs = await settled(explorer)
        assert costs.put_out == 0
        assert ">none<" in panel.line.value
        assert panel.silence.layout.display == "none"
        assert explorer.history.done[-1].effect.startswith("masked 6 of 18 entries of 0.bias, 1.weight and")
        with pytest.raises(RequestError, match="have no residual output"):
            explorer.silence()
        assert "have no residual output" in panel.message.value
        explorer.undo()
        assert (await settled(explorer)).put_out > 0
        explorer.close()

    asyncio.run(scene())


def test_only_the_last_of_a_drag_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    measure = costing.measure

    def counting(session: object, what: object, **kwargs: object) -> object:
        measured.append(what.pruned_units)
        return measure(session, what, **kwargs)

    monkeypatch.setattr(costing, "measure", counting)

    async def scene() -> None:
        explorer = explored()
        for count in (1, 2, 3, 4):
            explorer.amount = count
            await asyncio.sleep(0)
        await settled(explorer)
        assert measured == [4]
        explorer.amount = 5
        task = explorer.state.tasks._costs._task
        explorer.close()
        await asyncio.gather(task, return_exceptions=True)
        assert measured == [4]

    asyncio.run(scene())


def test_a_large_file_is_compressed_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costing, "LARGEST", 1000)

    async def scene() -> None:
        explorer = explored()
        costs = await settled(explorer)
        assert costs.compressed is None
        panel = explorer.screen.costs
        assert "KiB is compressed and counted only on request" in panel.files.value
        assert panel.files.value.count("only on request") == 1
        assert "Compressed (zlib)" not in panel.files.value
        assert panel.compress.layout.display is None
        panel.compress.click()
        costs = await settled(explorer, lambda costs: costs.compressed is not None)
        assert f"<td>{costs.compressed.dense:,}</td>" in panel.files.value
        assert panel.compress.layout.display == "none"
        explorer.close()

    asyncio.run(scene())


def test_what_cannot_be_measured_is_said_and_the_rest_is_there() -> None:
    async def scene() -> None:
        explorer = explore(network())
        costs = await settled(explorer)
        assert costs.compressed is not None
        panel = explorer.screen.costs
        assert "<code>data</code> or <code>example</code> must be given: FLOPs" in panel.files.value
        assert "<code>data</code> or <code>example</code> must be given: residual output" in panel.files.value
        assert "FLOPs" not in panel.line.value
        assert panel.silence.layout.display == "none"
        with pytest.raises(RequestError, match="`data` or `example` must be given"):
            explorer.silence()
        explorer.close()

    asyncio.run(scene())


def test_the_section_can_be_hidden_and_its_button_locked() -> None:
    async def scene() -> None:
        explorer = explored(hide=["costs"])
        assert "Costs" not in explorer.screen.tabs.titles
        assert "ps-short" in explorer.screen.costs.line._dom_classes
        assert explorer.open_link("lock=steps&amount=2&method=ln_structured") is None
        assert "Costs" in explorer.screen.tabs.titles
        assert "ps-short" not in explorer.screen.costs.line._dom_classes
        explorer.apply()
        await settled(explorer)
        assert explorer.screen.costs.silence.disabled
        explorer.open_link("hide=steps")
        assert "ps-hidden" in explorer.screen.costs.silence._dom_classes
        explorer.close()

    asyncio.run(scene())


def test_an_example_is_checked() -> None:
    for example in (3, torch.tensor(1.0), torch.zeros(0, 3), (torch.ones(2, 3), torch.ones(3, 3))):
        with pytest.raises(RequestError, match="`example` must be what the model is called with"):
            explore(network(), example=example)
    with pytest.raises(RequestError, match="`example` replaces `data`"):
        explore(nn.Linear(4, 3), data=(torch.ones(2, 4), torch.zeros(2).long()), example=torch.ones(1, 4))
    with pytest.raises(RequestError, match="`example` needs your own model"):
        explore(example=torch.ones(1, 4))


def test_a_checkpoint_has_files_and_no_operations(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(network().state_dict(), path)

    async def scene() -> None:
        explorer = explore(path, method="ln_structured", amount=2)
        costs = await settled(explorer)
        assert costs.compressed.permanent < costs.compressed.dense
        panel = explorer.screen.costs
        assert f"<td>{costs.files.masked:,}</td><td>{costs.compressed.masked:,}</td>" in panel.files.value
        assert panel.files.value.count("is a checkpoint, which has weights but no network") == 1
        assert panel.emissions.value == ""
        # By their names, 12 means and variances are no parameters.
        assert f"{208 - 2 * 27} of 208" in panel.line.value
        explorer.close()

    asyncio.run(scene())
