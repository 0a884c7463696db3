"""Comparing and kept plans as a person meets them in the explorer."""

import asyncio
from collections.abc import Iterator

import pytest
import torch
import torch.nn.utils.prune as oracle

from prunescope import Explorer, explore
from prunescope.core.errors import RequestError
from prunescope.figures import DARK
from prunescope.measure import Comparison
from prunescope.measure.compare import GIVEN, Choice, Comparing
from tests.support import person
from tests.support.networks import network


def data() -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(300, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return inputs, network()(inputs).argmax(1)


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    explorer = explore(network(), layer="0", amount=0.5)
    yield explorer
    explorer.close()


def open_tab(explorer: Explorer, title: str) -> None:
    person.open_tab(explorer.screen.tabs, title)


def choose(explorer: Explorer, side: str, label: str) -> None:
    person.choose(getattr(explorer.screen.panels["compare"], side), label)


def press(explorer: Explorer, name: str) -> None:
    person.press(explorer.screen.panels["compare"].plans.buttons[name])


def seen(explorer: Explorer) -> Comparison:
    assert explorer.snapshot.comparison is not None
    return explorer.snapshot.comparison


def test_a_scope_of_several_layers_is_left_aside_and_that_is_said(explorer: Explorer) -> None:
    explorer.scope = "alike"
    open_tab(explorer, "Compare")
    message = explorer.screen.panels["compare"].message
    assert "Scope reaches several layers; Compare is about this layer alone." in message.value
    explorer.scope = "layer"
    assert "alone" not in message.value


def test_opening_the_tab_compares_with_chance_and_leaving_it_ends_that(explorer: Explorer) -> None:
    assert explorer.snapshot.comparison is None
    assert explorer.screen.panels["compare"].canvas is None
    open_tab(explorer, "Compare")
    a, b = network(), network()
    oracle.l1_unstructured(a[0], "weight", 0.5)
    assert torch.equal(seen(explorer).a.mask, a[0].weight_mask.bool())
    torch.manual_seed(0)
    oracle.random_unstructured(b[0], "weight", 0.5)
    assert torch.equal(seen(explorer).b.mask, b[0].weight_mask.bool())
    assert "B · Random unstructured" in explorer.screen.panels["compare"].table.value
    assert "54 of 108" in explorer.screen.panels["compare"].table.value
    open_tab(explorer, "Steps")
    assert explorer.snapshot.comparison is None
    assert set(explorer.state.session.rankings.places) == {0}


def test_the_second_click_chooses_another_method_and_the_amount_moves_both(explorer: Explorer) -> None:
    open_tab(explorer, "Compare")
    choose(explorer, "b", "Ln structured")
    assert seen(explorer).b.what == "ln_structured(amount=0.5, n=2, dim=0)"
    canvas = explorer.screen.panels["compare"].canvas
    drawn = canvas.picture._maps[0].image.get_array().copy()
    explorer.amount = 0.9
    assert [side.what for side in (seen(explorer).a, seen(explorer).b)] == [
        "l1_unstructured(amount=0.9)",
        "ln_structured(amount=0.9, n=2, dim=0)",
    ]
    assert seen(explorer).a.mask is explorer.preview.mask
    assert not (drawn == canvas.picture._maps[0].image.get_array()).all()
    assert explorer.screen.panels["compare"].canvas is canvas
    explorer.method = "ln_structured"
    explorer.amount = 2
    assert seen(explorer).b.what == "ln_structured(amount=2, n=2, dim=0)"
    assert seen(explorer).agreement == 1


def test_settings_that_are_held_stay_while_the_controls_move_on(explorer: Explorer) -> None:
    explorer.request(method="ln_structured", n=1)
    open_tab(explorer, "Compare")
    explorer.screen.panels["compare"].hold.click()
    assert seen(explorer).agreement == 1
    explorer.n = float("inf")
    assert [seen(explorer).a.title, seen(explorer).b.title] == ["Ln structured, n=inf", "Ln structured, n=1"]
    assert explorer.screen.panels["compare"].b.label == "Ln structured, n=1, dim=0"
    choose(explorer, "b", "Random structured")
    assert "Ln structured, n=1, dim=0" not in explorer.screen.panels["compare"].b._options_labels


def test_what_does_not_fit_a_layer_is_a_sentence_and_the_slider_goes_on(explorer: Explorer) -> None:
    open_tab(explorer, "Compare")
    choose(explorer, "b", "Ln structured")
    explorer.layer = "0.bias"
    panel = explorer.screen.panels["compare"]
    assert explorer.layer == "0.bias"
    assert "Ln structured removes whole channels and needs a tensor of" in panel.message.value
    assert panel._holder.layout.display == panel.table.layout.display == "none"
    open_tab(explorer, "Steps")
    open_tab(explorer, "Compare")
    assert explorer.screen.in_front == "compare"
    choose(explorer, "a", "Ln structured")
    assert panel.a.value == Choice()
    assert explorer.snapshot.problem.parameter == "compare"
    explorer.layer = "0"
    assert panel.message.layout.display == "none"
    assert panel.table.layout.display is None


def test_plans_are_kept_compared_carried_out_renamed_and_removed(explorer: Explorer) -> None:
    panel = explorer.screen.panels["compare"].plans
    assert panel.buttons["keep"].disabled
    assert panel._choosing.layout.display == "none"
    explorer.apply()
    first = explorer.history.masks()["0.weight"]
    panel.typed.value = "half"
    press(explorer, "keep")
    assert (panel.typed.value, panel.plan.options, panel.plan.value) == ("", ("half",), "half")
    explorer.amount = 0.5
    explorer.apply()
    panel.typed.value = "half"
    press(explorer, "keep")
    assert "already has &#x27;half&#x27;" in panel.message.value
    panel.typed.value = "three quarters"
    press(explorer, "keep")
    open_tab(explorer, "Compare")
    choose(explorer, "a", "Plan: half")
    choose(explorer, "b", "Plan: three quarters")
    assert [side.sparsity for side in (seen(explorer).a, seen(explorer).b)] == [0.5, 0.75]
    assert (seen(explorer).only_a, seen(explorer).only_b) == (0, 27)
    panel.plan.value = "half"
    press(explorer, "apply_plan")
    assert torch.equal(explorer.history.masks()["0.weight"], first)
    assert explorer.amount == 0
    panel.typed.value = "first"
    press(explorer, "rename")
    assert seen(explorer).a.title == "first"
    assert explorer.screen.panels["compare"].a.label == "Plan: first"
    panel.plan.value = "first"
    press(explorer, "remove")
    assert list(explorer.plans) == ["three quarters"]
    assert explorer.snapshot.comparing.a == Choice()
    choose(explorer, "a", GIVEN)
    assert seen(explorer).a.pruned_weights == 0


def test_plans_from_code(explorer: Explorer) -> None:
    with pytest.raises(RequestError, match="keep applied steps, and there are none"):
        explorer.keep_plan("none")
    explorer.apply()
    explorer.keep_plan("half")
    text = explorer.plan("half")
    explorer.reset()
    assert explorer.compare("half", "random_unstructured").b.title == "half"
    explorer.load_plan(text)
    assert torch.equal(explorer.history.masks()["0.weight"], explorer.plans["half"].masks()["0.weight"])
    explorer.rename_plan("half", "mine")
    explorer.remove_plan("mine")
    for act in (
        explorer.apply_plan,
        explorer.carry_out,
        explorer.remove_plan,
        explorer.plan,
        explorer.compare,
    ):
        with pytest.raises(RequestError, match="`plans` has none named 'mine': there are none yet"):
            act("mine")


def test_a_failed_act_leaves_the_plans_as_they_were(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer.apply()
    monkeypatch.setattr(explorer.state.catalogue, "answer", lambda *_: 1 / 0)
    with pytest.raises(RequestError, match="That did not work"):
        explorer.keep_plan("half")
    assert list(explorer.state.session.plans) == []


def test_a_teacher_hides_the_comparison_or_the_steps() -> None:
    explorer = explore(network(), hide=("compare",))
    try:
        assert "Compare" not in explorer.screen.tabs.titles
        assert explorer.open_link("compare=[{},null]&hide=steps") is None
        assert explorer.screen.in_front == "compare"
        assert explorer.snapshot.comparing.shown
        assert "ps-hidden" in explorer.screen.panels["compare"].plans.widget._dom_classes
        assert explorer.open_link("lock=steps") is None
        assert explorer.screen.in_front == "compare"
        assert all(button.disabled for button in explorer.screen.panels["compare"].plans.buttons.values())
        assert explorer.open_link("hide=compare") is None
        assert not explorer.snapshot.comparing.shown
        open_tab(explorer, "Export")
        assert explorer.open_link("amount=0.5") is None
        assert explorer.screen.in_front == "export"
    finally:
        explorer.close()


def test_both_sides_are_measured_after_the_picture_and_given_up_when_out_of_date() -> None:
    async def scene() -> None:
        explorer = explore(network(), data=data(), layer="0", amount=0.5)
        open_tab(explorer, "Compare")
        assert "…" in explorer.screen.panels["compare"].table.value
        first = seen(explorer)
        changed = asyncio.Event()
        explorer.observe(lambda _: changed.set(), names="snapshot")
        explorer.amount = 0.9
        assert seen(explorer).a.measure is None
        while "…" in explorer.screen.panels["compare"].table.value:
            changed.clear()
            await asyncio.wait_for(changed.wait(), 20)
        assert first.a.mask is not seen(explorer).a.mask
        inputs, targets = data()
        for side, prune in ((seen(explorer).a, oracle.l1_unstructured), (seen(explorer).b, None)):
            model = network()
            if prune is None:
                torch.manual_seed(0)
                oracle.random_unstructured(model[0], "weight", 0.9)
            else:
                prune(model[0], "weight", 0.9)
            assert side.measure.right == int((model(inputs).argmax(1) == targets).sum())
        assert explorer.snapshot.metric.after == seen(explorer).a.measure
        explorer.close()

    asyncio.run(scene())


def test_measures_that_come_too_late_are_not_shown(explorer: Explorer) -> None:
    open_tab(explorer, "Compare")
    old = seen(explorer)
    explorer.amount = 0.9
    now = seen(explorer)
    explorer.state.tasks._publish_sides(old, old.knowing("a", file=1))
    assert seen(explorer) is now


def test_the_picture_follows_the_page(explorer: Explorer) -> None:
    open_tab(explorer, "Compare")
    explorer.screen.ruler.set_state({"width": 420, "dark": True})
    picture = explorer.screen.panels["compare"].canvas.picture
    assert picture.theme is DARK
    assert 3.5 < picture.figure.get_figwidth() < 4.2
    assert explorer.screen.ruler.others == {"ps-compare": seen(explorer).sentence}
    assert explorer.request(comparing=7).parameter == "compare"
    assert explorer.request(comparing=Comparing(shown=False)) is None
    assert explorer.screen.in_front is not explorer.screen.panels["compare"].widget
