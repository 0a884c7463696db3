"""Channels kept and pruned by hand: a custom mask, in every place that a step goes."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from prunescope import Explorer, explore, prune
from prunescope.core.errors import RequestError
from prunescope.explorer.state.link import from_query
from prunescope.figures import View
from tests.explorer import test_pointing as pointing


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 10), nn.Linear(10, 4))
    explorer = explore(model, layer="0", method="ln_structured", amount=0.3)
    yield explorer
    explorer.close()


def pruned(explorer: Explorer) -> list[int]:
    return (~explorer.preview.mask.any(1)).nonzero().flatten().tolist()


def in_order(explorer: Explorer) -> list[int]:
    """Return the channels, smallest norm first."""
    return explorer.preview.norms.now.argsort().tolist()


def click(explorer: Explorer, channel: int, share: float = 0.3) -> None:
    """Press and let go on the bar of ``channel``, at ``share`` of its height."""
    height = share * float(explorer.preview.norms.unpruned[channel])
    pointing.send(explorer, "button_press", pointing.bars(explorer), channel, height, buttons=1)
    pointing.send(explorer, "button_release", pointing.bars(explorer), channel, height)


def test_a_click_on_a_bar_prunes_keeps_and_leaves_it_to_the_method_again(explorer: Explorer) -> None:
    lowest = in_order(explorer)
    assert pruned(explorer) == sorted(lowest[:3])
    click(explorer, lowest[0])
    click(explorer, lowest[9])
    assert pruned(explorer) == sorted([*lowest[1:3], lowest[9]])
    assert (explorer.keep_channels, explorer.prune_channels) == ((lowest[0],), (lowest[9],))
    assert (explorer.method, explorer.amount) == ("ln_structured", 0.3)
    said = explorer.screen.readout.numbers.value
    assert "Custom mask" in said
    assert f"by hand keep {lowest[0]}, prune {lowest[9]}" in said
    assert explorer.screen.controls.by_hand["keep_channels"].value == str(lowest[0])
    click(explorer, lowest[0])
    click(explorer, lowest[9])
    assert pruned(explorer) == sorted(lowest[:3])
    assert explorer.spec.by_hand == ""
    assert "Custom mask" not in explorer.screen.readout.numbers.value


def test_what_is_by_hand_stays_while_the_amount_moves(explorer: Explorer) -> None:
    lowest = in_order(explorer)
    click(explorer, lowest[1])
    explorer.amount = 6
    assert pruned(explorer) == sorted([lowest[0], *lowest[2:6]])
    assert (explorer.preview.pruned_units, explorer.preview.asked_units) == (5, 6)
    pointing.send(explorer, "key_press", key="kArrowRight")
    assert explorer.amount == 7
    explorer.amount = 0
    assert pruned(explorer) == []
    click(explorer, lowest[1])
    assert pruned(explorer) == [lowest[1]], "a click always changes the channel"


def test_moving_on_a_pressed_bar_is_a_drag_and_no_click(explorer: Explorer) -> None:
    bars, channel = pointing.bars(explorer), in_order(explorer)[9]
    pointing.send(explorer, "button_press", bars, channel, pointing.middle_norm(explorer, 1), buttons=1)
    assert explorer.amount == 0.3, "a press alone does nothing yet"
    pointing.send(explorer, "motion_notify", bars, channel, pointing.middle_norm(explorer, 7), buttons=1)
    pointing.send(explorer, "button_release", bars, channel, pointing.middle_norm(explorer, 7))
    assert (explorer.amount, explorer.spec.by_hand) == (0.7, "")


def test_the_threshold_is_grabbed_across_the_bars(explorer: Explorer) -> None:
    bars, channel = pointing.bars(explorer), in_order(explorer)[9]
    assert explorer.preview.threshold is not None
    pointing.send(explorer, "button_press", bars, channel, explorer.preview.threshold, buttons=1)
    pointing.send(explorer, "motion_notify", bars, channel, pointing.middle_norm(explorer, 2), buttons=1)
    pointing.send(explorer, "button_release", bars, channel, pointing.middle_norm(explorer, 2))
    assert (explorer.amount, explorer.spec.by_hand) == (0.2, "")


def test_hovering_says_what_a_click_does_and_the_cursor_too(explorer: Explorer) -> None:
    lowest, picture = in_order(explorer), explorer.screen.canvas.picture
    canvas = explorer.screen.canvas.widget
    for channel, says in ((lowest[0], "pruned · a click keeps it"), (lowest[9], "kept · a click prunes it")):
        pointing.send(explorer, "motion_notify", pointing.bars(explorer), channel, 0.1)
        assert picture._headings[1].line.get_text().endswith(says)
        assert canvas._cursor == "pointer"
    click(explorer, lowest[9], 0.1)
    assert picture._headings[1].line.get_text().endswith("pruned by hand · a click keeps it")
    pointing.send(
        explorer, "motion_notify", pointing.bars(explorer), lowest[0], pointing.middle_norm(explorer, 9)
    )
    assert canvas._cursor == "ns-resize"
    pointing.send(explorer, "motion_notify", picture.heatmap, 3, 3)
    assert canvas._cursor == "default"


def test_by_keys(explorer: Explorer) -> None:
    for key in ("shift+kArrowRight",) * 3 + ("shift+kArrowLeft", "k "):
        pointing.send(explorer, "key_press", key=key)
    assert explorer.keep_channels + explorer.prune_channels == (1,)
    assert "channel 1 " in explorer.screen.ruler.value["sentence"]
    assert "by hand" in explorer.screen.ruler.value["sentence"]
    explorer.screen.controls.by_hand["keep_channels"].value = ""
    explorer.screen.controls.by_hand["prune_channels"].value = "0-2, 5"
    assert set(pruned(explorer)) >= {0, 1, 2, 5}
    explorer.screen.controls.by_hand["prune_channels"].value = "10"
    assert "“Prune” must list output features from 0 to 9, got 10." in (
        explorer.screen.controls.messages["prune_channels"].value
    )
    assert explorer.screen.controls.by_hand["prune_channels"].value == "0-2, 5"


def test_an_unstructured_method_goes_round_by_way_of_its_own_choice(explorer: Explorer) -> None:
    explorer.method, explorer.view = "l1_unstructured", View(chart="norms")
    before = explorer.preview.mask.clone()
    states = []
    for _ in range(3):
        click(explorer, 4)
        states.append(int(explorer.preview.mask[4].count_nonzero()))
        assert explorer.preview.pruned_units == int((~explorer.preview.mask).sum())
    assert states == [0, 40, int(before[4].count_nonzero())]
    assert explorer.preview.mask.equal(before)


@pytest.mark.parametrize("method", ["ln_structured", "random_structured", "l1_unstructured"])
def test_a_step_by_hand_is_undone_and_goes_where_steps_go(explorer: Explorer, method: str) -> None:
    explorer.request(method=method, keep_channels=[2], prune_channels=[5, 7])
    mask = explorer.preview.mask
    explorer.apply()
    assert (explorer.spec.by_hand, explorer.preview.pruned_units) == ("", 0)
    assert explorer.preview.mask.equal(mask)
    step = explorer.history.done[0]
    assert step.title.startswith(f"custom_from_mask: {method}(amount=0.3")
    assert step.title.endswith("by hand keep 2, prune 5, 7")

    plan, query = explorer.plan(), explorer.query
    model = explorer.state.session.source.module
    for engine in ("torch", "prunescope"):
        code, names = explorer.code(engine), {}
        assert "prune.custom_from_mask(" in code
        assert ("index_fill" in code) == (method != "l1_unstructured")
        exec(code, names)
        fresh = nn.Sequential(nn.Linear(40, 10), nn.Linear(10, 4))
        fresh.load_state_dict(model.state_dict())
        assert names["apply_pruning"](fresh)[0].weight_mask.bool().equal(mask)
    assert explorer.pruned_model()[0].weight_mask.bool().equal(mask)

    explorer.undo()
    assert explorer.spec.by_hand == "keep 2, prune 5, 7"
    assert explorer.preview.mask.equal(mask)
    explorer.reset()
    explorer.load_plan(plan)
    assert explorer.preview.mask.equal(mask)
    explorer.reset()
    assert explorer.open_link(query) is None
    assert explorer.preview.mask.equal(mask)


def test_a_link_carries_what_is_by_hand_and_is_not_trusted(explorer: Explorer) -> None:
    explorer.prune_channels = "7-9, 3"
    assert "prune_channels=3%2C+7-9" in explorer.query
    assert from_query(explorer.query).changes["prune_channels"] == (3, 7, 8, 9)
    mask, query = explorer.preview.mask, explorer.query
    explorer.prune_channels = ()
    assert explorer.open_link(query) is None
    assert explorer.preview.mask.equal(mask)
    for hostile in ("0-999999999", "-1", "1e3", "9" * 40, "<b>"):
        problem = explorer.open_link(f"prune_channels={hostile}")
        assert problem is not None
        assert "`prune_channels` must list" in str(problem)
        assert explorer.preview.mask.equal(mask)


def test_other_channels_are_not_by_hand(explorer: Explorer) -> None:
    explorer.prune_channels = [3]
    explorer.method = "random_structured"
    assert explorer.prune_channels == (3,)
    explorer.dim = 1
    assert explorer.prune_channels == ()
    explorer.prune_channels = [39]
    explorer.layer = "1"
    assert explorer.spec.by_hand == ""


def test_what_cannot_be_met_is_refused_with_a_sentence(explorer: Explorer) -> None:
    with pytest.raises(RequestError, match="`prune_channels` must not overlap `keep_channels`, got 3"):
        explorer.ask(keep_channels=[3, 4], prune_channels=[3])
    with pytest.raises(RequestError, match=r"`keep_channels` must list channels, .*got \[0.5\]"):
        explorer.keep_channels = [0.5]
    with pytest.raises(RequestError, match="`keep_channels` must list channels, .*got True"):
        explorer.keep_channels = True
    explorer.keep_channels = [5]
    with pytest.raises(RequestError, match="`keep_channels` must list channels, .*got '7-3'"):
        explorer.keep_channels = "7-3"
    assert explorer.keep_channels == (5,)
    explorer.keep_channels = []
    assert explorer.spec.by_hand == ""
    gone = pruned(explorer)[0]
    explorer.apply()
    click(explorer, gone)
    assert (
        f"an earlier step pruned channel {gone}" in explorer.screen.controls.messages["keep_channels"].value
    )
    assert explorer.spec.by_hand == ""


def test_what_is_locked_cannot_be_moved_in_the_picture() -> None:
    explorer = explore(
        nn.Linear(40, 10), method="ln_structured", lock=("amount", "keep_channels", "prune_channels")
    )
    before = explorer.spec
    click(explorer, 3)
    pointing.send(explorer, "button_press", pointing.bars(explorer), 3, 5.0, buttons=1)
    pointing.send(explorer, "key_press", key="kArrowRight")
    assert explorer.spec == before
    explorer.close()


def test_the_engine_agrees_with_a_custom_mask(explorer: Explorer) -> None:
    explorer.request(amount=0, prune_channels=[1, 4])
    module = nn.Linear(40, 10)
    mask = torch.ones(10, 40)
    mask[[1, 4]] = 0
    prune.custom_from_mask(module, "weight", mask)
    assert explorer.preview.mask.equal(module.weight_mask.bool())
