"""The steps as a person meets them: buttons, a slider through the history, a table in words."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.errors import RequestError
from tests.support import person


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    torch.manual_seed(0)
    explorer = explore(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), amount=0.5)
    yield explorer
    explorer.close()


def press(explorer: Explorer, name: str) -> None:
    person.press(explorer.screen.steps.buttons[name])


def enabled(explorer: Explorer) -> set[str]:
    return {name for name, button in explorer.screen.steps.buttons.items() if not button.disabled}


def test_buttons_walk_the_history(explorer: Explorer) -> None:
    assert enabled(explorer) == {"apply"}
    press(explorer, "apply")
    assert (explorer.amount, type(explorer.amount)) == (0.0, float)
    assert explorer.preview.pruned_weights == 16
    assert enabled(explorer) == {"undo", "reset"}
    explorer.amount = 0.5
    assert explorer.preview.pruned_weights == 24
    press(explorer, "apply")
    explorer.layer = "2"
    explorer.amount = 2
    press(explorer, "apply")
    assert explorer.amount == 0
    press(explorer, "undo")
    assert (explorer.layer, explorer.amount) == ("2.weight", 2)
    press(explorer, "undo")
    assert (explorer.layer, explorer.amount, explorer.preview.pruned_weights) == ("0.weight", 0.5, 24)
    assert enabled(explorer) == {"apply", "undo", "redo", "reset"}
    press(explorer, "redo")
    press(explorer, "redo")
    assert explorer.layer == "2.weight"
    assert enabled(explorer) == {"undo", "reset"}
    press(explorer, "reset")
    assert explorer.preview.pruned_weights == 0
    assert enabled(explorer) == {"redo"}
    assert len(explorer.history.steps) == 3


def test_the_slider_goes_through_the_history(explorer: Explorer) -> None:
    slider = explorer.screen.steps.place
    assert slider.layout.display == "none"
    explorer.apply()
    explorer.amount = 0.5
    explorer.apply()
    assert (slider.value, slider.max, slider.layout.display) == (2, 2, None)
    slider.set_state({"value": 1})
    assert explorer.history.position == 1
    assert explorer.preview.pruned_weights == 16
    slider.set_state({"value": 0})
    assert explorer.preview.pruned_weights == 0


def test_a_page_that_asks_for_a_place_that_is_not_there(explorer: Explorer) -> None:
    explorer.apply()
    slider = explorer.screen.steps.place
    slider.set_state({"max": 99})
    slider.set_state({"value": 40})
    assert "must be a whole number from 0 to 1, got 40" in explorer.screen.steps.message.value
    assert (slider.value, slider.max) == (1, 1)
    assert explorer.history.position == 1


def test_the_table_says_what_each_step_did(explorer: Explorer) -> None:
    assert "No steps yet" in explorer.screen.steps.table.value
    explorer.apply()
    explorer.amount = 0.5
    explorer.apply()
    explorer.undo()
    table = explorer.screen.steps.table.value
    assert "<code>l1_unstructured(amount=0.5)</code>" in table
    assert "50.0 % of what remained" in table
    assert "undone: <span>0.weight</span>" in table
    assert table.count('aria-current="step"') == 1
    assert "accuracy" not in table


def test_earlier_steps_show_apart_from_what_this_one_adds(explorer: Explorer) -> None:
    explorer.apply()
    explorer.amount = 0.25
    assert int(explorer.preview.pruned_earlier.sum()) == 16
    assert explorer.preview.pruned_weights == 20


def test_nothing_to_apply_is_said_and_raised(explorer: Explorer) -> None:
    explorer.amount = 0.0
    with pytest.raises(RequestError, match="`amount` prunes nothing here: there is no step to apply"):
        explorer.apply()
    assert "prunes nothing here" in explorer.screen.steps.message.value
    assert explorer.history.steps == ()
    with pytest.raises(RequestError, match="there is nothing to undo"):
        explorer.undo()
    with pytest.raises(RequestError, match="there is nothing to redo"):
        explorer.redo()


def test_what_pruned_channels_put_out_is_masked_by_a_step_of_its_own() -> None:
    explorer = explore(method="ln_structured", amount=0.3)
    try:
        layer = explorer.layer
        with pytest.raises(RequestError, match="`silence`: the steps have pruned no whole output channel"):
            explorer.silence()
        explorer.apply()
        explorer.layer = "head"
        explorer.amount = 0.5
        explorer.silence()
        assert (explorer.layer, explorer.amount) == ("head.weight", 0.5)
        assert [step.where for step in explorer.history.done] == [layer, layer]
        assert explorer.history.done[-1].effect == (
            "masked 38 of 128 entries of block2.norm2.weight and block2.norm2.bias, "
            "so that pruned channels have no residual output"
        )
        assert "<code>custom_from_mask(mask)</code>" in explorer.screen.steps.table.value
        with pytest.raises(
            RequestError, match="the channels that the steps have pruned have no residual output"
        ):
            explorer.silence()
        explorer.request(layer="block2.norm2.weight", method="l1_unstructured", amount=0.0)
        assert explorer.preview.pruned_weights == 19
        explorer.undo()
        assert (explorer.layer, explorer.preview.pruned_weights, explorer.amount) == (layer, 19 * 576, 0.0)
        explorer.request(layer="block2.norm2.bias", method="l1_unstructured")
        assert explorer.preview.pruned_weights == 0
        explorer.redo()
        assert explorer.layer == layer
        explorer.reset()
        explorer.jump(2)
        assert len(explorer.state.session.masks(explorer.state.session.applied)) == 3
    finally:
        explorer.close()


def test_silence_leaves_the_accuracy_to_what_is_kept() -> None:
    explorer = explore(method="ln_structured", amount=0.5)
    try:
        explorer.apply()
        explorer.silence()
        model, (inputs, targets) = explorer.pruned_model(), explorer.state.session.source.data
        seen = []
        model.block2.norm2.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        with torch.no_grad():
            right = int((model(inputs).argmax(1) == targets).sum())
        assert explorer.accuracy[1].right == right
        dead = ~explorer.preview.mask.flatten(1).any(1)
        assert int(dead.sum()) == 32
        assert not seen[0][:, dead].any()
    finally:
        explorer.close()


def test_each_model_has_steps_of_its_own() -> None:
    explorer = explore(amount=0.5)
    try:
        explorer.apply()
        explorer.model = "mlp"
        assert explorer.history.steps == ()
        assert explorer.preview.pruned_earlier is None
        explorer.model = "cnn"
        assert len(explorer.history.done) == 1
    finally:
        explorer.close()


def test_accuracy_stands_beside_each_step() -> None:
    explorer = explore(amount=0.9)
    try:
        explorer.apply()
        before, after = explorer.accuracy
        assert after.fraction < before.fraction
        table = explorer.screen.steps.table.value
        assert f"{100 * before.fraction:.1f} %" in table
        assert f"{100 * after.fraction:.1f} %" in table
    finally:
        explorer.close()


def test_the_accuracy_has_its_interval_beside_it() -> None:
    explorer = explore(amount=0.9)
    try:
        _, after = explorer.accuracy
        low, high = after.interval
        assert low < after.fraction < high
        assert f"{100 * low:.1f} % to {100 * high:.1f} %" in explorer.screen.readout.numbers.value
    finally:
        explorer.close()


def test_a_short_list_of_layers_needs_no_search(explorer: Explorer) -> None:
    controls = explorer.screen.controls
    assert controls.layers.search.layout.display == "none"
    assert controls.layer.layout.display is None
