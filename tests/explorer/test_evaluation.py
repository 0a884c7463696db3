import asyncio
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.preview import Preview
from prunescope.explorer.live import metric
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.measure import Accuracy
from prunescope.measure.states import evaluate
from prunescope.session import Session
from tests.support.person import settled


def explored() -> Explorer:
    inputs = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    return explore(model, data=(inputs, model(inputs).argmax(1)))


def measured(snapshot: Snapshot) -> object:
    return snapshot.metric.after is not None or snapshot.metric.problem


def test_the_picture_comes_before_the_numbers() -> None:
    async def scene() -> None:
        explorer = explored()
        explorer.amount = 0.5
        assert explorer.snapshot.metric.after is None
        assert explorer.preview.pruned_units == 6
        assert "→ …" in explorer.screen.readout.numbers.value
        snapshot = await settled(explorer, measured)
        assert snapshot.metric.after == explorer.accuracy[1]
        assert snapshot.preview is explorer.preview
        explorer.close()

    asyncio.run(scene())


def test_only_the_last_of_a_drag_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        explorer = explored()
        await settled(explorer, measured)
        asked: list[int] = []
        monkeypatch.setattr(
            metric,
            "evaluate",
            lambda session, preview: (
                asked.append(preview and preview.pruned_units),
                evaluate(session, preview),
            )[1],
        )
        for count in range(1, 9):
            explorer.amount = count
            await asyncio.sleep(0)
        snapshot = await settled(explorer, measured)
        assert [units for units in asked if units] == [8]
        assert snapshot.preview.pruned_units == 8
        explorer.close()

    asyncio.run(scene())


def test_closing_gives_up_what_is_measured() -> None:
    async def scene() -> None:
        explorer = explored()
        await asyncio.sleep(0)
        task = explorer.state.tasks._metric._task
        explorer.close()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert explorer.snapshot.metric.after is None

    asyncio.run(scene())


def test_a_change_from_another_thread_is_measured_on_the_loop_of_the_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        explorer = explored()
        await settled(explorer, measured)
        threads: list[threading.Thread] = []

        def watched(session: Session, preview: Preview | None) -> Iterator[Accuracy | None]:
            threads.append(threading.current_thread())
            return evaluate(session, preview)

        monkeypatch.setattr(metric, "evaluate", watched)
        await asyncio.to_thread(explorer.request, amount=7)
        assert (await settled(explorer, measured)).preview.pruned_units == 7
        assert set(threads) == {threading.main_thread()}
        explorer.close()

    asyncio.run(scene())


def test_a_problem_is_reported_later_too() -> None:
    async def scene() -> None:
        explorer = explore(nn.Linear(4, 3), data=(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)))
        snapshot = await settled(explorer, measured)
        assert "could not be evaluated" in snapshot.metric.problem
        explorer.close()

    asyncio.run(scene())
