"""The panel Recover: it trains while it is looked at, stops, keeps, undoes; three numbers side by side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.environment import TRAINING_VARIABLE
from prunescope.explorer.entry import dashboard
from prunescope.explorer.live import recovery
from prunescope.explorer.panels.recover import RecoverPanel
from prunescope.explorer.state.snapshot import Snapshot
from tests.explorer.test_recovering import HELD_OUT, TRAIN, network, opened
from tests.support import person


@pytest.fixture(autouse=True)
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on at once after a control has moved."""
    monkeypatch.setattr(recovery, "REST_SECONDS", 0.0)


def panel(explorer: Explorer) -> RecoverPanel:
    found = explorer.screen.panels["recover"]
    assert isinstance(found, RecoverPanel)
    return found


def scene(play: Callable[[Explorer, RecoverPanel], Any], **given: Any) -> None:
    """Play a scene with an explorer that has an event loop, its panel in front."""

    async def played() -> None:
        explorer = opened(**given)
        try:
            person.open_tab(explorer.screen.tabs, "Recover")
            await play(explorer, panel(explorer))
        finally:
            explorer.close()

    asyncio.run(played())


def idle(snapshot: Snapshot) -> bool:
    return not snapshot.recovery.doing and snapshot.metric.after is not None


def test_it_trains_to_the_end_and_three_numbers_stand_side_by_side() -> None:
    async def play(explorer: Explorer, recover: RecoverPanel) -> None:
        person.choose(recover.unit, "epochs")
        person.type_into(recover.length, "6")
        person.type_into(recover.learning_rate, "0.03")
        person.choose(recover.targets, "labels")
        person.press(recover.buttons["reestimate"])
        await person.settled(explorer, lambda shown: len(shown.history.done) == 2 and idle(shown))
        person.press(recover.buttons["undo"])
        assert len(explorer.history.done) == 1, "what was shown is a step of its own"
        person.press(recover.buttons["train"])
        await person.settled(explorer, lambda shown: len(shown.history.done) == 2 and idle(shown))
        shown = await person.settled(explorer, lambda shown: len(shown.outcomes) == 3)
        title = "fine_tune(optimizer='AdamW', learning_rate=0.03, epochs=6)"
        assert explorer.history.done[-1].title == title
        pruned, estimated, tuned = (each.right for each in shown.outcomes.values())
        assert pruned < tuned
        assert (list(shown.outcomes), tuned) == (
            ["pruned", "re-estimated", "fine-tuned"], shown.recovery.curve[-1].accuracy.right
        )  # fmt: skip
        for right in (shown.metric.before.right, pruned, estimated, tuned):
            assert f"{100 * right / 64:.1f} %" in recover.outcomes.value
        assert "ps-curve-dense" in recover.curve.value
        assert f"start {100 * pruned / 64:.1f} %" in recover.curve.value
        assert "0 pruned weights revived" in recover.progress.value
        person.press(recover.buttons["undo"])
        assert len(explorer.history.done) == 1
        assert explorer.snapshot.outcomes["fine-tuned"].right == tuned

    scene(play)


def test_stopped_it_waits_to_be_kept_and_the_slider_is_alive_meanwhile() -> None:
    async def play(explorer: Explorer, recover: RecoverPanel) -> None:
        person.type_into(recover.length, "600")
        person.press(recover.buttons["train"])
        training = lambda shown: (shown.recovery.progress or 0) and shown.recovery.progress.step > 2  # noqa: E731
        await person.settled(explorer, training)
        assert "s left" in recover.progress.value
        explorer.amount = 0.3
        assert explorer.preview.pruned_units > 0
        explorer.amount = 0.0
        person.press(recover.buttons["stop"])
        shown = await person.settled(explorer, lambda shown: shown.recovery.waits)
        assert shown.history.done[-1].title == "l1_unstructured(amount=0.6)"
        assert "keep or discard the result first" in recover.length.tooltip
        person.press(recover.buttons["keep"])
        shown = await person.settled(explorer, lambda shown: len(shown.history.done) == 2)
        assert shown.history.done[-1].title.startswith("fine_tune(")
        assert not shown.recovery.waits
        person.press(recover.buttons["train"])
        await person.settled(explorer, lambda shown: shown.recovery.doing)
        person.press(recover.buttons["stop"])
        await person.settled(explorer, idle)
        person.press(recover.buttons["discard"])
        assert len(explorer.history.done) == 2

    scene(play)


def test_other_steps_end_it_with_a_sentence() -> None:
    async def play(explorer: Explorer, recover: RecoverPanel) -> None:
        person.type_into(recover.length, "600")
        person.press(recover.buttons["train"])
        await person.settled(explorer, lambda shown: shown.recovery.progress)
        explorer.undo()
        assert not explorer.snapshot.recovery.doing
        assert "the steps it began with have changed" in recover.progress.value
        assert explorer.history.done == ()

    scene(play)


def test_pruned_channels_are_silenced_before_they_are_trained() -> None:
    async def play(explorer: Explorer, recover: RecoverPanel) -> None:
        person.choose(recover.unit, "epochs")
        person.type_into(recover.length, "2")
        person.press(recover.buttons["train"])
        await person.settled(explorer, lambda shown: len(shown.history.done) == 3)
        assert [step.title.partition("(")[0] for step in explorer.history.done] == [
            "ln_structured", "custom_from_mask", "fine_tune"
        ]  # fmt: skip
        model, dead = explorer.pruned_model(permanent=True), [
            not row.any() for row in explorer.history.masks()["0.weight"]
        ]  # fmt: skip
        assert not model[0].bias[dead].any()
        assert not model[1].bias[dead].any()
        smaller = explorer.compact_model(seconds=0)
        assert smaller.difference <= 1e-5
        assert smaller.metric.after.right == explorer.accuracy[1].right

    scene(play, method="ln_structured", amount=4)


def test_what_fails_is_a_sentence_in_the_panel() -> None:
    async def play(explorer: Explorer, recover: RecoverPanel) -> None:
        person.press(recover.buttons["train"])
        await person.settled(explorer, lambda shown: shown.recovery.problem)
        assert "the loss is nan" in recover.message.value
        assert not recover.buttons["train"].disabled
        assert [step.title for step in explorer.history.done] == ["l1_unstructured(amount=0.6)"]

    scene(play, loss=lambda answer, _: answer.sum() * torch.nan)


@pytest.mark.parametrize(
    ("field", "typed", "sentence"),
    [
        ("learning_rate", "fast", "“Learning rate” must be a number above 0"),
        ("learning_rate", "-1", "“Learning rate” must be a number above 0"),
        ("length", "0", "`seconds` must be a number above 0"),
    ],
)
def test_bad_values_are_sentences_and_the_last_good_one_comes_back(
    field: str, typed: str, sentence: str
) -> None:
    explorer = opened()
    try:
        explorer.request(front="recover")
        control = getattr(panel(explorer), field)
        before = control.value
        person.type_into(control, typed)
        assert sentence in panel(explorer).message.value
        assert control.value == before
    finally:
        explorer.close()


def test_without_training_examples_it_says_what_to_give() -> None:
    explorer = explore(network(), data=HELD_OUT, amount=0.5)
    try:
        explorer.request(front="recover")
        assert "Give `train=` to `explore`" in panel(explorer).progress.value
        assert panel(explorer).buttons["train"].disabled
        explorer.state.tasks.recover("fine_tune")
        assert "Give `train=`" in panel(explorer).message.value
        assert explorer.history.done == ()
    finally:
        explorer.close()


def test_a_server_may_forbid_it_or_bound_its_time() -> None:
    async def play(explorer: Explorer, recover: RecoverPanel) -> None:
        explorer.state.tasks.training_limit = 0
        explorer.state.tasks.recover("fine_tune")
        assert "Training is off on this server" in recover.message.value
        assert recover.buttons["train"].disabled
        explorer.state.tasks.training_limit = 0.2
        person.choose(recover.unit, "epochs")
        person.type_into(recover.length, "100000")
        person.press(recover.buttons["train"])
        shown = await person.settled(explorer, lambda shown: shown.recovery.waits)
        assert "Stopped after 0.2 s, the most this server allows." in recover.progress.value
        assert shown.recovery.progress.seconds < 30

    scene(play)


def test_without_an_event_loop_it_is_done_at_once() -> None:
    explorer = opened(train=TRAIN)
    try:
        explorer.request(front="recover")
        person.choose(panel(explorer).unit, "epochs")
        person.type_into(panel(explorer).length, "2")
        person.press(panel(explorer).buttons["train"])
        assert len(explorer.history.done) == 2
    finally:
        explorer.close()


def test_a_model_without_batch_norm_cannot_have_it_re_estimated() -> None:
    explorer = explore(nn.Sequential(nn.Linear(8, 3)), data=HELD_OUT, train=TRAIN, amount=0.5)
    try:
        explorer.request(front="recover")
        assert panel(explorer).buttons["reestimate"].disabled
        assert not panel(explorer).buttons["train"].disabled
    finally:
        explorer.close()


def test_the_served_dashboard_trains_only_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    for told in (None, "60"):
        monkeypatch.delenv(TRAINING_VARIABLE, raising=False)
        if told is not None:
            monkeypatch.setenv(TRAINING_VARIABLE, told)
        explorer = dashboard()
        limits.append(explorer.state.tasks.training_limit)
        explorer.close()
    assert limits == [0, 60]


class Held(nn.Module):
    """A layer that waits, in any thread but the first, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if threading.current_thread() is not threading.main_thread():
            ENTERED.set()
            assert LET_GO.wait(person.PATIENCE_S)
        x = self.linear(x)
        RUN.append(threading.current_thread())
        return x


ENTERED, LET_GO = threading.Event(), threading.Event()
RUN: list[threading.Thread] = []


def test_stop_does_not_wait_for_a_slow_batch() -> None:
    ENTERED.clear()
    LET_GO.clear()

    async def play(explorer: Explorer, recover: RecoverPanel) -> None:
        await person.settled(explorer, idle)
        person.press(recover.buttons["train"])
        assert await asyncio.to_thread(ENTERED.wait, person.PATIENCE_S)
        RUN.clear()
        person.press(recover.buttons["stop"])
        assert "stopping …" in recover.progress.value
        LET_GO.set()
        await person.settled(explorer, idle)
        assert "Stopped: nothing was done." in recover.progress.value
        assert {threading.main_thread()} >= set(RUN), "no later layer has run"
        assert [step.title for step in explorer.history.done] == ["l1_unstructured(amount=0.6)"]

    scene(play, model=Held(), layer="linear")


def test_while_a_slow_batch_is_trained_the_slider_moves() -> None:
    ENTERED.clear()
    LET_GO.clear()

    async def play(explorer: Explorer, recover: RecoverPanel) -> None:
        person.choose(recover.unit, "epochs")
        person.type_into(recover.length, "1")
        person.press(recover.buttons["train"])
        assert await asyncio.to_thread(ENTERED.wait, person.PATIENCE_S)
        explorer.amount = 0.5
        assert explorer.preview.pruned_units > 0
        assert "Fine-tuning" in recover.progress.value
        LET_GO.set()
        await person.settled(explorer, lambda shown: len(shown.history.done) == 2)
        assert explorer.amount == 0.5

    scene(play, model=Held(), layer="linear")


def test_without_classes_the_curve_is_the_loss() -> None:
    async def play(explorer: Explorer, recover: RecoverPanel) -> None:
        assert recover.targets.value == "labels"
        person.choose(recover.unit, "epochs")
        person.type_into(recover.length, "3")
        person.press(recover.buttons["train"])
        shown = await person.settled(
            explorer, lambda shown: len(shown.history.done) == 2 and shown.metric.after and shown.outcomes
        )
        assert "Loss of training" in recover.curve.value
        (dense,) = shown.metric.before.values.values()
        assert f"{dense:.4g}" in recover.outcomes.value

    inputs = HELD_OUT[0]
    wanted = {"data": (inputs, inputs[:, :3].clone()), "train": (TRAIN[0], TRAIN[0][:, :3].clone())}
    scene(play, loss=nn.functional.mse_loss, **wanted)
