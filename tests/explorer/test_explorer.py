import asyncio
import copy
import io
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets.widgets.widget as registry
import numpy as np
import pytest
import torch
import voila.utils
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.errors import RequestError
from prunescope.explorer import dashboard, dashboard_when_visited, entry
from prunescope.explorer.explorer import Explorer as Implementation
from prunescope.figures import View
from prunescope.sources.demos import DEMOS
from tests.support import person


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6))


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    explorer = explore(net())
    yield explorer
    explorer.close()


def pixels(explorer: Explorer) -> np.ndarray:
    return np.asarray(explorer.screen.canvas.widget.buffer_rgba()).copy()


def type_into(explorer: Explorer, control: str, value: Any) -> None:
    person.type_into(getattr(explorer.screen.controls, control), value)


def choose(explorer: Explorer, control: str, option: str) -> None:
    person.choose(getattr(explorer.screen.controls, control), option)


def sentence(explorer: Explorer, parameter: str) -> str:
    message = explorer.screen.controls.messages[parameter]
    return message.value if message.layout.display != "none" else ""


def test_a_step_tells_the_page_what_changed_and_each_thing_once(explorer: Explorer) -> None:
    told: list[tuple[str, str]] = []

    def note(change: Any) -> None:
        if change["name"] in change["owner"].keys:
            told.append((change["owner"].model_id, change["name"]))

    for widget in registry._instances.values():
        widget.observe(note)
    explorer.amount = 0.4
    # The number, the slider, the line of numbers, the strip's bars, what a screen reader says; the picture
    # goes by itself.
    assert len(told) == len(set(told)) == 5


def test_attributes_and_controls_are_the_same_state(explorer: Explorer) -> None:
    controls = explorer.screen.controls
    explorer.method = "ln_structured"
    explorer.amount = 2
    explorer.n = float("inf")
    explorer.dim = 0
    assert controls.method.value == "ln_structured"
    assert (controls.amount.value, controls.count_slider.value, controls.amount_kind.value) == (
        2,
        2,
        "count",
    )
    assert controls.n.value == float("inf")
    type_into(explorer, "percent_slider", 75)
    assert explorer.amount == 0.75
    assert controls.amount.value == 0.75
    choose(explorer, "method", "Random structured")
    type_into(explorer, "seed", 7)
    choose(explorer, "layer", "3.weight · 6×16 · Linear")
    choose(explorer, "dim", "1 · input features (16)")
    spec = explorer.spec
    assert (spec.layer, spec.method, spec.seed, spec.dim) == ("3.weight", "random_structured", 7, 1)
    assert explorer.preview.pruned_units == 12


def test_only_the_controls_a_method_uses_are_enabled(explorer: Explorer) -> None:
    used = {
        "l1_unstructured": set(),
        "random_unstructured": {"seed"},
        "ln_structured": {"n", "dim"},
        "random_structured": {"dim", "seed"},
    }
    for method, names in used.items():
        explorer.method = method
        enabled = {
            name for name in ("n", "dim", "seed") if not getattr(explorer.screen.controls, name).disabled
        }
        assert enabled == names


def test_switching_the_kind_of_amount_keeps_what_is_pruned(explorer: Explorer) -> None:
    explorer.amount = 0.5
    mask = explorer.preview.mask
    choose(explorer, "amount_kind", "a count of weights")
    assert explorer.amount == 18
    assert isinstance(explorer.amount, int)
    slider = explorer.screen.controls.count_slider
    assert (slider.value, slider.max) == (18, 36)
    assert slider.layout.display != "none"
    assert explorer.screen.controls.percent_slider.layout.display == "none"
    type_into(explorer, "count_slider", 9)
    assert explorer.amount == 9
    assert isinstance(explorer.amount, int)
    type_into(explorer, "amount", 1.5)
    assert "got 1.5" in sentence(explorer, "amount")
    explorer.amount = 7
    choose(explorer, "amount_kind", "a fraction, 0 to 1")
    assert explorer.amount == 0.19
    assert explorer.preview.pruned_units == 7
    assert not torch.equal(explorer.preview.mask, mask)


def test_any_number_can_be_typed_as_norm(explorer: Explorer) -> None:
    explorer.method = "ln_structured"
    choose(explorer, "n", "another number …")
    assert explorer.n == 0.5
    assert explorer.screen.controls.other_n.layout.display != "none"
    type_into(explorer, "other_n", "3")
    assert explorer.n == 3
    type_into(explorer, "other_n", "2")
    assert explorer.screen.controls.n.value == 2
    assert explorer.screen.controls.other_n.layout.display == "none"


@pytest.mark.parametrize(
    ("changes", "parameter", "text"),
    [
        (
            {"amount": 1.5},
            "amount",
            "“Amount” must be a float in [0, 1] or a count from 0 to 4 (output channels)",
        ),
        ({"amount": 7}, "amount", "got 7."),
        ({"dim": 9}, "dim", "“Dim” must be between -4 and 3 for a tensor of shape (4, 1, 3, 3), got 9."),
        ({"n": "abc"}, "n", "“Norm n” must be a number, inf, -inf, &#x27;fro&#x27; or &#x27;nuc&#x27;"),
        ({"layer": "1"}, "layer", "1 (ReLU) has no weight of its own to prune."),
        (
            {"layer": "0.bias"},
            "layer",
            "Ln structured removes whole channels and needs a tensor of at least 2 axes",
        ),
        ({"method": "magic"}, "method", "“Method” must be one of l1_unstructured"),
        ({"seed": -1}, "seed", "“Seed” must be a whole number from 0"),
        ({"layer": "<b>x</b>"}, "layer", "&lt;b&gt;x&lt;/b&gt;"),
        ({"layer": "3", "amount": 99}, "amount", "a count from 0 to 6 (output features), got 99."),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_met_changes_nothing_but_the_sentence(
    explorer: Explorer, changes: dict[str, Any], parameter: str, text: str
) -> None:
    explorer.request(method="ln_structured", amount=0.5)
    spec, preview, picture = explorer.spec, explorer.preview, pixels(explorer)
    problem = explorer.request(**changes)
    assert problem is not None
    assert problem.parameter == parameter
    assert text in sentence(explorer, parameter)
    assert 'role="alert"' in sentence(explorer, parameter)
    assert explorer.spec == spec
    assert explorer.preview is preview
    assert np.array_equal(pixels(explorer), picture)
    assert explorer.request(amount=0.25) is None
    assert sentence(explorer, parameter) == ""


@pytest.mark.parametrize("name", ["amount", "dim", "n", "layer", "method", "seed"])
def test_code_gets_the_sentence_as_an_error(explorer: Explorer, name: str) -> None:
    with pytest.raises(RequestError, match=f"^`{name}` must be"):
        setattr(explorer, name, "nonsense")
    with pytest.raises(RequestError, match=f"^`{name}` must be"):
        explore(net(), **{name: "nonsense"})


def test_what_a_notebook_prints_is_a_few_lines(explorer: Explorer) -> None:
    explorer.apply()
    explorer.amount = 0.25
    for shown, said in {
        explorer.preview: "pruned_units=",
        explorer.history: "pruned_units=",
        explorer.compare(): "model_sparsity=",
    }.items():
        assert said in repr(shown)
        assert "tensor([" not in repr(shown)


def test_a_notebook_prints_the_sentence_without_a_traceback() -> None:
    assert RequestError("n", "No.")._render_traceback_() == ["RequestError: No."]


def test_a_refused_value_snaps_the_control_back(explorer: Explorer) -> None:
    sent: list[dict[str, Any]] = []
    explorer.screen.controls.amount.send_state = lambda key=None: sent.append({"key": key})
    type_into(explorer, "amount", 1.5)
    assert explorer.screen.controls.amount.value == 0.3
    assert sent, "the page is told"
    assert "got 1.5" in sentence(explorer, "amount")


def test_a_page_that_has_opened_is_told_again_once_what_it_may_have_missed(explorer: Explorer) -> None:
    sent: list[Any] = []
    line = explorer.screen.costs.line
    line.send_state = lambda key=None: sent.append(key)
    explorer.screen.ruler.set_state({"width": 700})
    assert sent == [["value"]]
    explorer.screen.ruler.set_state({"width": 800})
    assert sent == [["value"]]


def test_unknown_keywords_are_refused(explorer: Explorer) -> None:
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'ammount'"):
        explore(net(), ammount=0.5)
    with pytest.raises(TypeError, match="^unknown keyword 'epochs'"):
        explorer.request(epochs=3)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [(nn.ReLU(), "ReLU has no parameters"), (nn.LazyLinear(3), "lazy parameter"), (3, "got int")],
    ids=str,
)
def test_a_model_that_cannot_be_explored_is_refused(model: Any, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        explore(model)


def test_the_model_is_untouched() -> None:
    model = net().train()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(3)
    state = torch.get_rng_state()
    explorer = explore(model, data=(torch.zeros(4, 1, 4, 4), torch.zeros(4, dtype=torch.int64)))
    for method in ("random_unstructured", "ln_structured", "random_structured"):
        explorer.request(method=method, amount=0.5)
    explorer.close()
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_numbers_say_requested_and_achieved(explorer: Explorer) -> None:
    explorer.request(method="ln_structured", amount=0.3)
    text = explorer.screen.readout.numbers.value
    assert 'role="status"' in text
    for part in ("30 % of 4 output channels", "1 (25.0 %)", "25.0 %", f"{100 * 9 / 142:.1f} %"):
        assert part in text
    assert "accuracy" not in text


def test_accuracy_follows_without_a_loop_at_once() -> None:
    inputs = torch.randn(50, 1, 4, 4)
    model = net()
    targets = model(inputs).argmax(1)
    explorer = explore(model, data=(inputs, targets), layer="3", amount=1.0)
    assert explorer.accuracy[0].fraction == 1.0
    assert explorer.snapshot.metric.after == explorer.accuracy[1]
    assert f"100.0 % → {100 * explorer.accuracy[1].fraction:.1f} %" in explorer.screen.readout.numbers.value
    explorer.close()


def test_data_the_model_cannot_run_on_is_said_and_the_picture_stays() -> None:
    explorer = explore(net(), data=(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)))
    assert "`data` could not be evaluated" in explorer.screen.readout.problem.value
    assert explorer.screen.readout.problem.layout.display != "none"
    assert explorer.preview.pruned_units > 0
    explorer.close()


def test_a_defect_of_ours_is_logged_and_leaves_the_state(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(explorer.state.session, "preview", lambda *_: 1 / 0)
    with caplog.at_level(logging.ERROR, "prunescope"):
        problem = explorer.request(amount=0.9)
    assert str(problem) == "That did not work: division by zero"
    assert explorer.amount == 0.3
    assert "ZeroDivisionError" in caplog.text
    caplog.clear()  # The traceback holds on to the explorer.


def test_one_event_per_request(explorer: Explorer) -> None:
    seen: list[Any] = []
    explorer.observe(seen.append, names="snapshot")
    explorer.request(method="random_structured", amount=2, seed=5, layer="3")
    assert len(seen) == 1


def test_demos_can_be_switched() -> None:
    explorer = explore()
    assert explorer.model == "cnn"
    assert explorer.layer == DEMOS["cnn"].layer
    for key, demo in DEMOS.items():
        explorer.model = key
        assert explorer.layer == demo.layer
        assert f"{100 * demo.accuracy:.1f} % right on 599 held-out digits" in explorer.screen.caption.value
        assert explorer.accuracy[0].fraction == pytest.approx(demo.accuracy)
    with pytest.raises(RequestError, match="^`model` must be one of cnn, mlp, vit, lstm, got 'bert'"):
        explorer.model = "bert"
    explorer.close()


def test_the_dashboard_opens_on_a_pruned_layer() -> None:
    explorer = dashboard()
    assert explorer.preview.pruned_units > 0
    assert explorer.preview.method.structured
    explorer.close()


def test_a_dashboard_that_waits_for_its_visitor_measures_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Explorer] = []
    monkeypatch.setenv("VOILA_PREHEAT", "True")
    monkeypatch.setenv("QUERY_STRING", "")
    monkeypatch.setattr(entry, "_served", lambda served=entry._served: made.append(served()) or made[0])
    measured = threading.Event()

    def visitor_comes() -> None:
        made[0].observe(lambda change: change.new.metric.after and measured.set(), "snapshot")
        assert measured.wait(60)
        os.environ["QUERY_STRING"] = "model=mlp&amount=3"

    monkeypatch.setattr(voila.utils, "wait_for_request", visitor_comes)
    explorer = asyncio.run(dashboard_when_visited())
    assert (explorer.model, explorer.amount) == ("mlp", 3)
    assert explorer.screen.page.query == explorer.query
    explorer.close()


def test_data_without_a_model_is_refused() -> None:
    with pytest.raises(RequestError, match="^`data` needs your own model"):
        explore(data=(torch.zeros(1), torch.zeros(1)))


def test_the_page_decides_how_wide_the_picture_is(explorer: Explorer) -> None:
    figure = explorer.screen.canvas.picture.figure
    for asked, given in ((420, 420), (1000, 1000), (10**9, 1600), (-5, 280)):
        explorer.screen.ruler.set_state({"width": asked})
        assert figure.get_figwidth() * 100 == pytest.approx(given)


def test_a_blitted_step_equals_a_full_drawing(explorer: Explorer) -> None:
    explorer.request(method="ln_structured", amount=0.25)
    for amount in (0.5, 0.75, 0.0, 1.0, 0.25):
        explorer.amount = amount
        blitted = pixels(explorer)
        explorer.screen.canvas.widget.draw()
        assert np.array_equal(blitted, pixels(explorer))


def test_the_public_name_is_the_implementation() -> None:
    assert Explorer is Implementation


def test_page_and_cells_act_one_after_the_other(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """JupyterLab's page is answered in a thread of its own, beside the cells: two drawings would mix."""
    canvas, draw = explorer.screen.canvas.widget, explorer.screen.canvas.draw
    drawing, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def slow_draw(*preview: Any) -> None:
        drawing.set()
        assert go_on.wait(10)
        draw(*preview)

    def threaded(name: str, act: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=lambda: (act(), done.append(name)))
        thread.start()
        return thread

    monkeypatch.setattr(explorer.screen.canvas, "draw", slow_draw)
    threads = [threaded("cell", lambda: explorer.request(amount=0.5))]
    assert drawing.wait(10)
    threads += [
        threaded("message", lambda: canvas._handle_message(canvas, {"type": "draw"}, [])),
        threaded("width", lambda: explorer.screen.ruler.set_state({"width": 700})),
        threaded("control", lambda: type_into(explorer, "percent_slider", 75)),
    ]
    for thread in threads:
        thread.join(0.2)
    assert done == []
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert done[0] == "cell"
    assert sorted(done[1:]) == ["control", "message", "width"]
    assert explorer.amount == 0.75
    shown = pixels(explorer)
    canvas.draw()
    assert np.array_equal(shown, pixels(explorer))


def assert_shown_right(explorer: Explorer) -> None:
    shown = pixels(explorer)
    explorer.screen.canvas.widget.draw()
    assert np.array_equal(shown, pixels(explorer))


def test_saving_the_picture_leaves_the_live_one_right(explorer: Explorer) -> None:
    explorer.request(method="ln_structured", amount=0.75)
    canvas = explorer.screen.canvas.widget
    canvas._handle_message(canvas, {"type": "toolbar_button", "name": "save_figure"}, [])
    explorer.amount = 0.25
    assert_shown_right(explorer)
    for kind in ("png", "svg", "pdf"):
        explorer.screen.canvas.picture.figure.savefig(io.BytesIO(), format=kind)
    explorer.amount = 0.5
    assert_shown_right(explorer)


def test_home_leads_to_the_layer_that_is_shown(explorer: Explorer) -> None:
    explorer.view = View(chart="norms")
    axes, toolbar = explorer.screen.canvas.picture.bars, explorer.screen.canvas.widget.toolbar
    toolbar.push_current()
    explorer.layer = "3"
    toolbar.home()
    assert axes.get_xlim() == (-0.5, 5.5)


def test_an_old_count_keeps_its_share_and_says_so(explorer: Explorer) -> None:
    explorer.amount = 18
    explorer.method = "ln_structured"
    assert explorer.amount == 2
    assert "2 of 4 output channels, the same fraction as before: there are no 18 here" in sentence(
        explorer, "amount"
    )
    assert 'role="note"' in sentence(explorer, "amount")


def test_a_typed_norm_is_shown_as_it_is(explorer: Explorer) -> None:
    explorer.n = 1.23456789
    assert explorer.screen.controls.other_n.value == "1.23456789"
    explorer.n = np.int64(1)
    assert '"n": 1,' in explorer.spec.to_json()


def test_what_masks_do_not_do_is_said(explorer: Explorer) -> None:
    assert "makes nothing smaller or faster" in explorer.screen.costs.line.value


def test_what_a_model_says_is_text_and_no_markup() -> None:
    class Rude(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("<script>alert(1)</script>")

    explorer = explore(Rude(4, 3), data=(torch.zeros(4, 4), torch.zeros(4, dtype=torch.int64)))
    assert "&lt;script&gt;" in explorer.screen.readout.problem.value
    assert "<script>" not in explorer.screen.readout.problem.value
    explorer.close()


def test_a_page_that_says_anything_does_not_break_the_picture(explorer: Explorer) -> None:
    canvas = explorer.screen.canvas.widget
    for ratio in (0, -1, "x", float("nan"), 10**9, None):
        canvas._handle_message(canvas, {"type": "set_device_pixel_ratio", "device_pixel_ratio": ratio}, [])
        explorer.amount = 0.5
        assert max(pixels(explorer).shape) <= 3 * 900
    canvas._handle_message(canvas, {"type": "resize", "width": 0, "height": 0}, [])
    canvas._handle_message(canvas, {"type": "set_device_pixel_ratio", "device_pixel_ratio": 1}, [])
    explorer.screen.controls.percent_slider.set_state({"min": 50, "max": 60})
    explorer.amount = 0.25
    slider = explorer.screen.controls.percent_slider
    assert (slider.min, slider.value, slider.max) == (0, 25, 100)
    assert_shown_right(explorer)


def test_a_broken_observer_is_not_taken_for_a_refusal(explorer: Explorer) -> None:
    explorer.observe(lambda _: 1 / 0, names="snapshot")
    with pytest.raises(ZeroDivisionError):
        explorer.request(amount=0.9)
    assert explorer.snapshot.problem is None


def test_only_the_first_picture_of_a_layer_is_drawn_whole(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer.screen.canvas.widget, "draw", lambda: pytest.fail("drawn whole"))
    explorer.amount = 0.5
    explorer.seed = 3
    with pytest.raises(pytest.fail.Exception, match="drawn whole"):
        explorer.layer = "3"


def test_a_layer_that_cannot_be_ranked_does_not_hide_the_others() -> None:
    model = net()
    with torch.no_grad():
        model[0].weight[0] = torch.nan
    explorer = explore(model)
    assert explorer.layer == "3.weight"
    with pytest.raises(RequestError, match=r"^`layer` 0.weight cannot be ranked: .* NaN .*[0-9]\.$"):
        explorer.layer = "0"
    explorer.close()
