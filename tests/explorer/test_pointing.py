"""The pictures under the hand, by the messages that ipympl's page sends."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.figures import DARK, View


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    torch.manual_seed(0)
    explorer = explore(nn.Linear(40, 10), method="ln_structured", amount=0.3)
    yield explorer
    explorer.close()


def send(
    explorer: Explorer, kind: str, axes: Axes | None = None, x: float = 0, y: float = 0, **more: Any
) -> None:
    """Send what the page sends when the pointer is at ``(x, y)`` of ``axes``."""
    canvas = explorer.screen.canvas.widget
    place = (0.0, 0.0) if axes is None else axes.transData.transform((x, y))
    content = {"x": place[0], "y": canvas.get_renderer().height - place[1], "button": 0, "buttons": 0}
    canvas._handle_message(canvas, {"type": kind, "modifiers": [], "step": None, **content, **more}, [])


def bars(explorer: Explorer) -> Axes:
    return explorer.screen.canvas.picture.bars


def pixels(explorer: Explorer) -> np.ndarray:
    return np.asarray(explorer.screen.canvas.widget.buffer_rgba()).copy()


def middle_norm(explorer: Explorer, pruned: int) -> float:
    """Return a norm above that of ``pruned`` channels and below that of the others."""
    norms = explorer.preview.norms.now.sort().values
    return float(norms[pruned - 1] + norms[pruned]) / 2


def test_the_threshold_is_dragged(explorer: Explorer) -> None:
    send(explorer, "button_press", bars(explorer), 3, middle_norm(explorer, 5), buttons=1)
    assert explorer.amount == 0.5
    for pruned in (6, 7, 8):
        send(explorer, "motion_notify", bars(explorer), 3, middle_norm(explorer, pruned), buttons=1)
        assert explorer.preview.pruned_units == pruned
    send(explorer, "button_release", bars(explorer), 3, middle_norm(explorer, 9))
    assert explorer.preview.pruned_units == 9, "where the button was let go"
    send(explorer, "motion_notify", bars(explorer), 3, middle_norm(explorer, 2))
    assert explorer.amount == 0.9
    assert explorer.screen.controls.percent_slider.value == 90


def test_a_button_let_go_beside_the_picture_ends_the_drag(explorer: Explorer) -> None:
    send(explorer, "button_press", bars(explorer), 3, middle_norm(explorer, 5), buttons=1)
    send(explorer, "motion_notify", bars(explorer), 3, middle_norm(explorer, 2), buttons=0)
    send(explorer, "motion_notify", bars(explorer), 3, middle_norm(explorer, 2), buttons=0)
    send(explorer, "motion_notify", bars(explorer), 3, middle_norm(explorer, 2), buttons=1)
    assert explorer.amount == 0.5


def test_a_move_from_before_the_press_that_comes_after_it_costs_no_click(explorer: Explorer) -> None:
    channel = int(explorer.preview.norms.now.argmax())
    place = bars(explorer), channel, float(explorer.preview.norms.now[channel]) / 2
    send(explorer, "button_press", *place, buttons=1)
    send(explorer, "motion_notify", *place, buttons=0)
    send(explorer, "button_release", *place)
    assert explorer.spec.prune_channels == (channel,)


def test_a_move_from_before_the_press_that_comes_after_it_costs_no_zoom(explorer: Explorer) -> None:
    heatmap = explorer.screen.canvas.picture.heatmap
    explorer.screen.canvas.widget.toolbar.zoom()
    send(explorer, "button_press", heatmap, 10, 2, buttons=1)
    send(explorer, "motion_notify", heatmap, 10, 2, buttons=0)
    send(explorer, "motion_notify", heatmap, 20, 6, buttons=1)
    send(explorer, "button_release", heatmap, 20, 6)
    assert heatmap.get_xlim() == pytest.approx((10, 20), abs=0.1)


def test_a_count_stays_a_count_under_the_hand(explorer: Explorer) -> None:
    explorer.amount = 3
    send(explorer, "button_press", bars(explorer), 3, middle_norm(explorer, 4), buttons=1)
    assert explorer.amount == 4
    assert isinstance(explorer.amount, int)


@pytest.mark.parametrize("method", ["l1_unstructured", "global_unstructured"])
def test_a_click_in_the_histogram_sets_the_threshold(explorer: Explorer, method: str) -> None:
    explorer.method = method
    send(explorer, "button_press", explorer.screen.canvas.picture.scores, 0.05, 2.0, buttons=1)
    weight = explorer.preview.tensor.weight
    assert explorer.preview.pruned_units == int((weight.abs() <= 0.05).sum())
    assert explorer.preview.mask.equal(weight.abs() > 0.05)


def test_a_click_on_random_scores_or_while_zooming_asks_for_nothing(explorer: Explorer) -> None:
    explorer.screen.canvas.widget.toolbar.zoom()
    send(explorer, "button_press", bars(explorer), 3, middle_norm(explorer, 5), buttons=1)
    send(explorer, "button_release", bars(explorer), 3, middle_norm(explorer, 5))
    explorer.screen.canvas.widget.toolbar.zoom()
    explorer.method = "random_structured"
    send(explorer, "button_press", bars(explorer), 3, middle_norm(explorer, 5), buttons=1)
    assert explorer.amount == 0.3


def test_hovering_reads_and_leaving_gives_the_old_picture_back(explorer: Explorer) -> None:
    before = pixels(explorer)
    picture = explorer.screen.canvas.picture
    send(explorer, "motion_notify", picture.heatmap, 7, 4)
    assert picture._headings[0].line.get_text().startswith("[4, 7] = ")
    assert picture._headings[1].line.get_text().startswith("channel 4 · norm")
    assert not np.array_equal(pixels(explorer), before)
    send(explorer, "motion_notify", bars(explorer), 2, 0.1)
    assert picture._headings[1].line.get_text().startswith("channel 2 ")
    assert explorer.amount == 0.3
    send(explorer, "figure_leave")
    assert np.array_equal(pixels(explorer), before)


def test_hovering_in_place_draws_nothing_anew(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    send(explorer, "motion_notify", bars(explorer), 2, 0.1)
    monkeypatch.setattr(explorer.screen.canvas.widget, "blit", lambda: pytest.fail("drawn again"))
    send(explorer, "motion_notify", bars(explorer), 2.2, 0.2)


@pytest.mark.parametrize(
    ("key", "pruned"), [("ArrowRight", 4), ("ArrowUp", 4), ("ArrowLeft", 2), ("ArrowDown", 2), ("q", 3)]
)
def test_arrow_keys_step_by_one_unit(explorer: Explorer, key: str, pruned: int) -> None:
    send(explorer, "key_press", key=f"k{key}")
    assert explorer.preview.pruned_units == pruned


def test_arrow_keys_stop_at_both_ends(explorer: Explorer) -> None:
    for amount, key in ((0, "ArrowLeft"), (10, "ArrowRight")):
        explorer.amount = amount
        send(explorer, "key_press", key=f"k{key}")
        assert explorer.amount == amount
        assert explorer.snapshot.problem is None


def test_zooming_with_the_toolbar_reduces_what_is_in_sight(explorer: Explorer) -> None:
    picture = explorer.screen.canvas.picture
    picture.heatmap.set(xlim=(4.5, 9.5), ylim=(3.5, 0.5))
    explorer.screen.canvas.widget.draw()
    shown = np.asarray(picture.heatmap.images[0].get_array())
    assert shown.shape[:2] == (3, 5), "a cell a weight"
    explorer.amount = 0.9
    assert picture.heatmap.get_xlim() == (4.5, 9.5)


def test_the_view_is_state_like_any_other(explorer: Explorer) -> None:
    mask = explorer.preview.mask
    explorer.view = View(heatmap="weights", order="norm")
    assert explorer.screen.view.lists["heatmap"].value == "weights"
    assert explorer.preview.mask is mask, "nothing was computed anew"
    explorer.screen.view.lists["scale"].value = "log"
    assert explorer.view == View(heatmap="weights", order="norm", scale="log")
    assert bars(explorer).get_yscale() == "log"
    explorer.amount = 0.5
    assert explorer.view.scale == "log"
    explorer.apply()
    assert explorer.view.scale == "log"
    explorer.undo()
    with pytest.raises(RequestError, match="`view` must be a View, got 'mask'"):
        explorer.view = "mask"
    explorer.method = "l1_unstructured"
    assert not explorer.screen.view.lists["order"].disabled
    explorer.view = View(chart="histogram")
    assert explorer.screen.view.lists["order"].disabled, "a histogram has no order"


def test_the_colour_range_of_the_model_is_that_of_its_largest_weight() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with torch.no_grad():
        model[1].weight[0, 0] = -7.5
    explorer = explore(model, layer="0")
    explorer.view = View(heatmap="weights", colour_range="model")
    labels = [text.get_text() for text in explorer.screen.canvas.picture.figure.legends[0].get_texts()]
    assert labels[:3] == ["−7.5", "0", "7.5"]
    explorer.close()


@pytest.mark.parametrize(("format", "beginning"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_picture_is_saved_and_the_page_keeps_its_own(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch, format: str, beginning: bytes
) -> None:
    before, sent = pixels(explorer), []
    monkeypatch.setattr(
        explorer.screen.canvas.widget, "send", lambda content, buffers=None: sent.append(buffers)
    )
    explorer.screen.view.format.value = format
    explorer.screen.view.save.click()
    [[file]] = [buffers for buffers in sent if buffers]
    assert file.startswith(beginning)
    explorer.amount = 0.6
    explorer.amount = 0.3
    assert np.array_equal(pixels(explorer), before)


def test_the_page_tells_width_and_theme(explorer: Explorer) -> None:
    explorer.screen.ruler.set_state({"dark": True, "width": 500})
    picture = explorer.screen.canvas.picture
    assert picture.theme == DARK
    assert tuple(pixels(explorer)[0, 0, :3]) == (0x16, 0x19, 0x1D)
    assert picture.figure.get_figwidth() == 5.0
    send(explorer, "motion_notify", picture.heatmap, 7, 4)
    assert picture._headings[0].line.get_text().startswith("[4, 7] = ")
    explorer.screen.ruler.set_state({"dark": False})
    assert (pixels(explorer)[0, 0] == 255).all()


def test_a_screen_reader_is_told_what_the_picture_shows(explorer: Explorer) -> None:
    explorer.amount = 4
    value = explorer.screen.ruler.value
    assert (value["pruned"], value["units"]) == (4, 10)
    assert value["sentence"].startswith("4 of 10 output features pruned, L2 norms ")


def test_an_event_acts_under_the_lock(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    owned: list[bool] = []

    def observed(answer: Callable[[Preview, float], int]) -> Callable[[Preview, float], int]:
        return lambda *words: owned.append(explorer.state.lock._is_owned()) or answer(*words)

    monkeypatch.setattr(explorer.screen.pointing, "_units_up_to", observed(explorer.screen._units_up_to))
    send(explorer, "button_press", bars(explorer), 3, middle_norm(explorer, 5), buttons=1)
    assert owned == [True]
