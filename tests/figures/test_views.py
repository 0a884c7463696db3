import json
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview, preview_tensor
from prunescope.core.resolve import resolve
from prunescope.core.spec import PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.figures import DARK, VIEW_CHOICES, PruningFigure, View, sentence
from prunescope.figures.style import LIGHT
from prunescope.session import Session
from prunescope.sources import module_source


def tensor(*shape: int, mask: torch.Tensor | None = None) -> PrunableTensor:
    generator = torch.Generator().manual_seed(0)
    axes = ("outputs", "inputs", "rows", "columns")[: len(shape)]
    return PrunableTensor("w", "Linear", torch.randn(shape, generator=generator), axes, mask)


def preview_of(pruned: PrunableTensor, **fields: object) -> Preview:
    return preview_tensor(resolve(PruneSpec("w", **fields), pruned), pruned)


def cells(picture: PruningFigure) -> np.ndarray:
    return np.asarray(picture.heatmap.images[0].get_array())[..., :3] / 255


def drawn(preview: Preview, **view: str) -> PruningFigure:
    picture = PruningFigure()
    picture.update(preview, View(**view))
    return picture


def test_a_view_is_json_as_it_stands() -> None:
    view = View(heatmap="weights", scale="log")
    assert View(**json.loads(json.dumps(asdict(view)))) == view


@pytest.mark.parametrize("field", VIEW_CHOICES)
@pytest.mark.parametrize("value", ["", "cubic", None, 3, ["mask"]])
def test_a_view_refuses_what_is_not_offered(field: str, value: object) -> None:
    with pytest.raises(RequestError, match=f"`{field}` of a view must be one of .*, got "):
        View(**{field: value})


def test_weights_run_from_one_colour_to_the_other_and_zero_is_white() -> None:
    weights = torch.tensor([[2.0, -2.0, 0.0], [1.0, -0.5, 0.1]])
    given = PrunableTensor("w", "Linear", weights, ("outputs", "inputs"))
    shown = cells(drawn(preview_of(given, amount=0), heatmap="weights"))
    for place, colour in {(0, 0): LIGHT.positive, (0, 1): LIGHT.negative, (0, 2): "white"}.items():
        assert shown[place] == pytest.approx(to_rgb(colour), abs=0.01)
    half = (np.array(to_rgb("white")) + to_rgb(LIGHT.positive)) / 2
    assert shown[1, 0] == pytest.approx(half, abs=0.01)
    by_channel = cells(drawn(preview_of(given, amount=0), heatmap="weights", colour_range="channel"))
    assert by_channel[1, 0] == pytest.approx(to_rgb(LIGHT.positive), abs=0.01)
    picture = PruningFigure()
    picture.update(preview_of(given, amount=0), View(heatmap="weights", colour_range="model"), 4.0)
    assert cells(picture)[0, 0] == pytest.approx(half, abs=0.01)
    labels = [text.get_text() for text in picture.figure.legends[0].get_texts()]
    assert labels[:3] == ["−4", "0", "4"]


def test_a_pruned_weight_has_its_own_colour_in_every_view() -> None:
    preview = preview_of(tensor(4, 6), amount=0.5)
    shown = cells(drawn(preview, heatmap="weights"))
    pruned = ~preview.mask.numpy()
    assert np.allclose(shown[pruned], to_rgb(LIGHT.pruned), atol=0.01)
    assert not np.isclose(shown[~pruned], to_rgb(LIGHT.pruned), atol=0.01).all(1).any()


def test_scores_are_darker_the_higher_they_are() -> None:
    preview = preview_of(tensor(5, 4), method="ln_structured", amount=2)
    red = cells(drawn(preview, heatmap="scores"))[..., 0]
    assert (red == red[:, :1]).all(), "one score for a channel"
    kept = preview.mask[:, 0].numpy()
    order = np.argsort(preview.norms.now.numpy())
    rising = [place for place in order if kept[place]]
    assert np.all(np.diff(red[rising, 0]) < 0)
    assert red[rising[-1], 0] == pytest.approx(to_rgb(LIGHT.kept)[0], abs=0.01)


def test_random_scores_are_not_shown_as_if_they_meant_something() -> None:
    preview = preview_of(tensor(5, 4), method="random_unstructured", amount=0.5)
    assert (cells(drawn(preview, heatmap="scores")) == cells(drawn(preview))).all()
    assert not drawn(preview, chart="histogram").scores.get_visible()


def test_the_histogram_counts_every_score_once_and_the_threshold_divides_it() -> None:
    preview = preview_of(tensor(20, 30), amount=0.4)
    chart = drawn(preview)._histogram
    kept, pruned = chart._columns
    assert chart._counts.sum() == 600
    at = np.searchsorted(chart._edges, preview.threshold)
    edges = np.insert(chart._edges, at, preview.threshold)
    for which, columns in ((preview.mask, kept), (~preview.mask, pruned)):
        scores = preview.tensor.weight.abs()[which].numpy()
        # The highest score that goes ends its bin; those of numpy begin with their edge.
        counted = np.histogram(np.where(scores == edges[at], edges[at - 1], scores), edges)[0]
        assert (columns.high - columns.low).tolist() == counted.tolist()
    assert not (pruned.high[at:]).any(), "nothing right of the threshold goes"
    assert not (kept.high - kept.low)[:at].any(), "nothing left of it stays"
    assert chart._threshold.get_xdata()[0] == preview.threshold


def test_the_words_over_a_narrow_histogram_are_whole() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(1000, 1000), torch.nn.Linear(1000, 900))
    session = Session(module_source(model))
    pooled = replace(session.first_spec, method="global_unstructured", amount=0.5)
    picture = PruningFigure()
    picture.figure.set_size_inches(8.3, 5.2)
    preview = session.preview(session.resolve(pooled))
    picture.update(preview)
    name, line = picture._headings[2].title.get_text(), picture._headings[2].line.get_text()
    assert picture.scores.get_visible()
    assert name == "magnitude |w| in the model"
    assert line == f"|w| ≤ {preview.threshold:.3g} · 950,000 pruned"


def test_a_large_threshold_is_written_as_the_axis_writes_it() -> None:
    preview = preview_of(tensor(4, 50), method="ln_structured", amount=1, n=0.5)
    assert 1000 < preview.threshold < 10_000
    line = drawn(preview)._headings[1].line.get_text()
    assert line == f"1 of 4 pruned · norm ≤ {preview.threshold:,.0f}"


def test_a_histogram_of_few_scores_shows_as_many_pruned_as_there_are() -> None:
    # 0.6 is pruned, and begins the bin that 0.7 is in.
    weight = torch.tensor([0.4, 0.45, 0.55, 0.6, 0.7, 0.8, 0.9, 1.2])
    few = PrunableTensor("w", "Linear", weight.reshape(2, 4), ("outputs", "inputs"))
    kept, pruned = drawn(preview_of(few, amount=0.5))._histogram._columns
    assert ((kept.high - kept.low).sum(), pruned.high.sum()) == (4, 4)
    by_hand = preview_of(few, amount=0.5, prune_channels=(1,))
    assert by_hand.pruned_units == 8
    assert drawn(by_hand)._histogram._columns[1].high.sum() == 4, "what the method prunes"


def charts(picture: PruningFigure) -> list[str]:
    return [name for name in ("bars", "scores") if getattr(picture, name).get_visible()]


def test_where_weights_are_ranked_norms_and_scores_stand_side_by_side() -> None:
    unstructured, structured = (
        preview_of(tensor(6, 5), method=m) for m in ("l1_unstructured", "ln_structured")
    )
    assert charts(drawn(unstructured)) == ["bars", "scores"]
    assert charts(drawn(structured)) == ["bars"]
    assert charts(drawn(unstructured, chart="norms")) == ["bars"]
    assert charts(drawn(structured, chart="histogram")) == ["scores"]
    picture = drawn(unstructured)
    beside, wide = picture.bars.get_position(), picture.heatmap.get_position()
    assert beside.x1 < picture.scores.get_position().x0
    assert beside.y0 == picture.scores.get_position().y0
    picture.update(structured, View())
    assert picture.bars.get_position().width == pytest.approx(wide.width)


def test_on_a_narrow_page_they_stand_one_above_the_other() -> None:
    picture = PruningFigure(Figure(figsize=(4.0, 6.9)))
    picture.update(preview_of(tensor(6, 5), method="l1_unstructured"))
    assert picture.height_at(400) == 690
    above, below = picture.bars.get_position(), picture.scores.get_position()
    assert above.y0 > below.y1
    assert above.width == pytest.approx(below.width)
    picture.update(preview_of(tensor(6, 5), method="ln_structured"))
    assert picture.height_at(400) == 500


def test_a_histogram_leaves_out_what_earlier_steps_pruned() -> None:
    mask = torch.ones(6, 8, dtype=torch.bool)
    mask[:2] = False
    assert drawn(preview_of(tensor(6, 8, mask=mask), amount=0.5))._histogram._counts.sum() == 32
    structured = preview_of(tensor(6, 8, mask=mask), method="ln_structured", amount=0.5)
    assert drawn(structured, chart="histogram")._histogram._counts.sum() == 4


def test_bars_sorted_by_norm_rise_and_still_name_their_channels() -> None:
    preview = preview_of(tensor(9, 5), method="ln_structured", amount=3)
    picture = drawn(preview, order="norm")
    assert np.all(np.diff(picture._norms._columns[2].high) >= 0)
    lowest = int(preview.norms.now.argmin())
    place = picture.place_at(picture.bars, 0.2, 0.1)
    assert place is not None
    assert place.channel == lowest


def test_norms_are_divided_by_channel_size_and_so_is_the_threshold() -> None:
    preview = preview_of(tensor(6, 5, 2, 2), method="ln_structured", amount=2)
    picture = drawn(preview, norms="per_weight")
    assert preview.threshold is not None
    size = preview.mask.numel() // len(preview.norms.now)
    assert picture._headings[1].line.get_text().endswith(f"norm / size ≤ {preview.threshold / size:.3g}")
    chart = picture._norms
    assert chart._columns[2].high == pytest.approx(preview.norms.now.numpy() / 20)
    assert chart._threshold.get_ydata()[0] == pytest.approx(preview.threshold / 20)
    assert picture.score_at(picture.bars, 0, preview.threshold / 20) == pytest.approx(preview.threshold)


def test_l1_and_l2_lie_over_the_bars_on_request() -> None:
    preview = preview_of(tensor(6, 5), method="ln_structured", amount=2, n=float("inf"))
    assert not any(line.get_visible() for line in drawn(preview)._norms._overlay)
    for line, n in zip(drawn(preview, overlay="l1_l2")._norms._overlay, (1, 2), strict=True):
        norms = preview.tensor.weight.norm(p=n, dim=1).numpy()
        assert line.get_visible()
        assert line.get_ydata() / max(line.get_ydata()) == pytest.approx(norms / norms.max(), rel=1e-5)


@pytest.mark.parametrize("chart", ["norms", "histogram"])
def test_a_log_scale_shows_every_bar(chart: str) -> None:
    picture = drawn(preview_of(tensor(6, 5), method="ln_structured", amount=2), chart=chart, scale="log")
    axes = picture.bars if chart == "norms" else picture.scores
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] > 0
    picture.update(picture.shown[0], View(chart=chart))
    assert axes.get_yscale() == "linear"


def numbers(picture: PruningFigure) -> list[str]:
    return [number.get_text() for number in picture._heat._numbers if number.get_visible()]


def test_the_numbers_of_a_small_tensor_stand_in_its_cells() -> None:
    preview = preview_of(tensor(3, 4), amount=0.5)
    shown = [f"{value:.2f}".replace("-", "−") for value in preview.tensor.weight.flatten().tolist()]
    assert numbers(drawn(preview)) == shown
    assert numbers(drawn(preview, heatmap="scores")) == [text.removeprefix("−") for text in shown]
    assert numbers(drawn(preview_of(tensor(3, 13), amount=0.5))) == []


def test_small_numbers_stay_short() -> None:
    weights = torch.tensor([[0.25, -0.0034, 0.00004, 0.0]])
    preview = preview_of(PrunableTensor("w", "Linear", weights, ("outputs", "inputs")), amount=1)
    assert numbers(drawn(preview)) == ["0.25", "−0.003", "4e−5", "0.00"]


@pytest.mark.parametrize("spread", [1.05, 3.0, 30.0, 1e4])
@pytest.mark.parametrize("scale", VIEW_CHOICES["scale"])
def test_ticks_of_norms_lie_neither_on_each_other_nor_on_their_label(spread: float, scale: str) -> None:
    weights = torch.full((6, 9, 8, 8), 0.024) * torch.logspace(0, -np.log10(spread), 6).reshape(6, 1, 1, 1)
    axes = ("outputs", "inputs", "rows", "columns")
    picture = PruningFigure(Figure(figsize=(4.2, 5), dpi=100))
    preview = preview_of(PrunableTensor("w", "Conv2d", weights, axes), method="ln_structured", amount=2)
    picture.update(preview, View(chart="norms", scale=scale, norms="per_weight"))
    canvas = FigureCanvasAgg(picture.figure)
    canvas.draw()
    renderer, axis = canvas.get_renderer(), picture.bars.yaxis
    low, high = picture.bars.get_ylim()
    ticks = [label for place, label in zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
             if low <= place <= high]  # fmt: skip
    boxes = [label.get_window_extent(renderer) for label in ticks]
    assert len(boxes) >= 2
    assert all(one.y1 <= other.y0 for one, other in pairwise(boxes))
    assert min(box.x0 for box in boxes) >= axis.label.get_window_extent(renderer).x1 - 1


def test_the_first_and_the_last_channel_have_a_whole_frame() -> None:
    picture = drawn(preview_of(tensor(6, 5), method="ln_structured", amount=2))
    for channel in (0, 5):
        picture.point(picture.place_at(picture.bars, channel, 0.1))
        for box, axes in ((picture._heat._band, picture.heatmap), (picture._norms._light, picture.bars)):
            assert box.get_visible()
            assert not box.get_clip_on()
            shown, around = box.get_window_extent(), axes.bbox
            assert shown.x0 >= around.x0 - 3
            assert shown.x1 <= around.x1 + 3
    picture.heatmap.set_ylim(3.5, 1.5)
    picture.point(picture.place_at(picture.bars, 5, 0.1))
    assert not picture._heat._band.get_visible(), "out of sight"


def test_a_legend_of_two_rows_is_read_row_by_row() -> None:
    picture = PruningFigure(Figure(figsize=(4.2, 5), dpi=100))
    preview = preview_of(tensor(6, 5), method="ln_structured", amount=2)
    picture.update(preview, View(heatmap="weights", colour_range="channel"))
    canvas = FigureCanvasAgg(picture.figure)
    canvas.draw()
    boxes = {text.get_text(): text.get_window_extent() for text in picture.figure.legends[0].get_texts()}
    read = sorted(boxes, key=lambda text: (-round(boxes[text].y0 / 8), boxes[text].x0))
    assert read == ["negative", "0", "positive", "kept", "pruned", "threshold"]


def test_zooming_in_reduces_the_visible_part_until_single_weights_show() -> None:
    preview = preview_of(tensor(2000, 3000), amount=0.5)
    picture = drawn(preview)
    assert cells(picture).shape[:2] == (256, 640)
    picture.heatmap.set(xlim=(99.5, 399.5), ylim=(1099.5, 999.5))
    picture.refresh()
    expected = np.where(preview.mask[1000:1100, 100:400, None], to_rgb(LIGHT.kept), to_rgb(LIGHT.pruned))
    assert np.allclose(cells(picture)[:100, :300], expected, atol=0.01)
    picture.heatmap.set(xlim=(99.6, 105.4), ylim=(1004.4, 999.6))
    picture.refresh()
    assert numbers(picture)[0] == f"{float(preview.tensor.weight[1000, 100]):.2f}".replace("-", "−")
    picture.update(preview_of(preview.tensor, amount=0.6), View())
    assert picture.heatmap.get_xlim() != (99.6, 105.4), "another preview's norms: another layer"


def test_what_is_under_the_pointer_is_framed_in_both_pictures_and_read_out() -> None:
    preview = preview_of(tensor(4, 3, 2, 2), method="ln_structured", amount=2)
    picture = drawn(preview)
    place = picture.place_at(picture.heatmap, 1.3, 2.0)
    assert place is not None
    assert place.channel == 2
    assert place.index == (2, 1, 1, 1), "a kernel is one unit wide"
    picture.point(place)
    assert picture._heat._band.get_visible()
    assert picture._norms._light.get_visible()
    assert picture._heat._band.get_bbox().ymin == pytest.approx(1.5, abs=0.2)
    above, below, _ = (heading.line.get_text() for heading in picture._headings)
    weight = f"{float(preview.tensor.weight[2, 1, 1, 1]):.3g}".replace("-", "−")
    norms = preview.norms.now
    rank = int((norms < norms[2]).sum()) + 1
    state = "kept" if preview.mask[2].all() else "pruned"
    assert above == f"[2, 1, 1, 1] = {weight} · score {float(norms[2]):.3g} · {state}"
    assert below == f"channel 2 · norm {float(norms[2]):.3g} · rank {rank}/4 · {state}"
    picture.point(None)
    assert not picture._heat._band.get_visible()
    assert "of 4 pruned" in picture._headings[1].line.get_text()
    assert picture.place_at(picture.heatmap, 9, 9) is None
    assert picture.place_at(picture.bars, -3, 1) is None


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4), (2, 3, 2, 2), (2, 2, 2, 2, 2)])
@pytest.mark.parametrize("heatmap", VIEW_CHOICES["heatmap"])
def test_every_view_of_every_shape_can_be_drawn_and_pointed_at(shape: tuple[int, ...], heatmap: str) -> None:
    weights = PrunableTensor("w", "Mine", torch.randn(shape), tuple(f"axis {i}" for i in range(len(shape))))
    picture = PruningFigure(theme=DARK)
    canvas = FigureCanvasAgg(picture.figure)
    for dim in range(len(shape)):
        preview = preview_of(weights, amount=1, dim=dim)
        for colour_range in VIEW_CHOICES["colour_range"]:
            picture.update(preview, View(heatmap=heatmap, chart="norms", colour_range=colour_range))
            place = picture.place_at(picture.heatmap, 0.0, 0.0)
            assert place is not None
            picture.point(place)
        canvas.draw()


def test_the_sentence_is_what_a_colleague_would_say() -> None:
    weights = PrunableTensor("w", "Linear", torch.tensor([[3.0, 4.0], [0.0, 1.0]]), ("outputs", "inputs"))
    assert sentence(preview_of(weights, amount=3)) == (
        "3 of 4 weights pruned, L2 norms of the outputs 1 to 5, threshold 3."
    )
    assert sentence(preview_of(weights, method="random_structured", amount=1)) == (
        "1 of 2 outputs pruned at random, L2 norms 1 to 5."
    )
