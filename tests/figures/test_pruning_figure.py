import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import nn

from prunescope.core.preview import Preview, preview_tensor
from prunescope.core.resolve import resolve
from prunescope.core.spec import PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.core.text import norm_name
from prunescope.figures import PruningFigure, View
from prunescope.figures.norms import MAX_BARS
from prunescope.figures.pruning import Place
from prunescope.figures.reading import channel_reading
from prunescope.figures.style import EARLIER, KEPT, PRUNED
from prunescope.session import Session
from prunescope.sources import module_source

AXES = ("output channels", "input channels", "kernel rows", "kernel columns")


def tensor(*shape: int, mask: torch.Tensor | None = None) -> PrunableTensor:
    generator = torch.Generator().manual_seed(0)
    return PrunableTensor(
        "c.weight", "Conv2d", torch.randn(shape, generator=generator), AXES[: len(shape)], mask
    )


def preview_of(pruned: PrunableTensor, **fields: object) -> Preview:
    return preview_tensor(resolve(PruneSpec("c.weight", **fields), pruned), pruned)


def rgb(colour: str) -> list[int]:
    return np.rint(np.array(to_rgb(colour)) * 255).astype(int).tolist()


def heights(picture: PruningFigure) -> list[np.ndarray]:
    """Return the upper edges of the bars: of what is kept, pruned now, pruned earlier."""
    return [columns.high for columns in picture._norms._columns]


def test_the_heatmap_shows_the_mask() -> None:
    preview = preview_of(tensor(4, 3, 2, 2), method="ln_structured", amount=2)
    picture = PruningFigure()
    picture.update(preview)
    pixels = np.asarray(picture.heatmap.images[0].get_array())[..., :3]
    assert pixels.shape == (4, 12, 3)
    for channel in range(4):
        kept = bool(preview.mask[channel].all())
        assert (pixels[channel] == rgb(KEPT if kept else PRUNED)).all()


def test_three_states_are_told_apart() -> None:
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[0] = False
    preview = preview_of(tensor(3, 4, mask=mask), amount=3)
    picture = PruningFigure()
    picture.update(preview)
    pixels = np.asarray(picture.heatmap.images[0].get_array())[..., :3]
    assert (pixels[0] == rgb(EARLIER)).all()
    expected = np.where(preview.mask[1:, :, None], rgb(KEPT), rgb(PRUNED))
    assert (pixels[1:] == expected).all()
    labels = [text.get_text() for text in picture.figure.legends[0].get_texts()]
    assert labels == ["kept", "pruned", "pruned earlier", "threshold"]


def test_a_big_mask_is_reduced_to_the_fraction_kept() -> None:
    preview = preview_of(tensor(512, 1280), amount=0.5)
    picture = PruningFigure()
    picture.update(preview)
    pixels = np.asarray(picture.heatmap.images[0].get_array())[..., :3].astype(float)
    assert pixels.shape == (256, 640, 3)
    kept = (pixels - rgb(PRUNED)).sum(-1) / (np.array(rgb(KEPT)) - rgb(PRUNED)).sum()
    blocks = preview.mask.float().reshape(256, 2, 640, 2).mean((1, 3)).numpy()
    assert np.abs(kept - blocks).max() < 0.01


def test_bars_are_the_norms_and_the_threshold_divides_them() -> None:
    preview = preview_of(tensor(6, 3, 2, 2), method="ln_structured", amount=2, n=1)
    picture = PruningFigure()
    picture.update(preview)
    kept, pruned, earlier = heights(picture)
    norms = preview.tensor.weight.abs().sum((1, 2, 3)).numpy()
    assert np.allclose(pruned, norms)
    assert np.allclose(earlier, norms)
    assert np.allclose(kept, np.where(norms > preview.threshold, norms, 0))
    assert picture._norms._threshold.get_visible()
    assert picture._norms._threshold.get_ydata()[0] == pytest.approx(sorted(norms)[1])
    assert picture.bars.get_ylabel() == "L1 norm"
    assert picture.bars.get_xlabel() == "output channels, dim 0"


def test_bars_tell_how_much_of_a_channel_is_pruned() -> None:
    mask = torch.ones(3, 8, dtype=torch.bool)
    mask[0, :4] = False
    mask[2] = False
    weights = tensor(3, 8, mask=mask)
    preview = preview_of(weights, amount=5)
    picture = PruningFigure()
    picture.update(preview, View(chart="norms"))
    kept, pruned, earlier = heights(picture)
    norms = (weights.weight * mask).norm(dim=1).numpy()
    share = preview.mask.sum(1).numpy() / [4, 8, 1]
    assert np.allclose(pruned, norms), "as the method sees them"
    assert np.allclose(kept, norms * share)
    assert np.allclose(earlier, weights.weight.norm(dim=1).numpy())
    assert not picture._norms._threshold.get_visible()


def test_moving_amount_alone_needs_no_full_drawing() -> None:
    session = Session(module_source(nn.Linear(6, 3)))
    picture = PruningFigure()

    def update(**fields: object) -> bool:
        return picture.update(session.preview(session.resolve(PruneSpec("weight", **fields))))

    assert update(amount=0.2)
    assert not update(amount=0.7)
    assert update(amount=0.7, method="random_unstructured", seed=3), "no histogram beside the norms"
    assert not update(amount=0.2, method="random_unstructured", seed=4)
    assert update(amount=0.7, method="ln_structured"), "the legend gains a threshold"
    assert not update(amount=1, method="ln_structured")
    assert update(amount=0.7, method="ln_structured", dim=1)
    assert update(amount=0.7, method="ln_structured", dim=1, n=1)


@pytest.mark.parametrize("inputs", [1, 2])
def test_channel_ticks_are_whole_numbers(inputs: int) -> None:
    picture = PruningFigure()
    picture.update(preview_of(tensor(3, inputs, 3, 3), method="ln_structured", amount=0.5))
    FigureCanvasAgg(picture.figure).draw()
    for axis in (picture.bars.xaxis, picture.heatmap.xaxis, picture.heatmap.yaxis):
        assert all(float(tick).is_integer() for tick in axis.get_ticklocs())
    assert picture.heatmap.get_xlim() == (-0.5, inputs - 0.5), "one input channel is one unit wide"


def test_many_channels_become_means_of_groups() -> None:
    preview = preview_of(tensor(3 * MAX_BARS, 4), method="ln_structured", amount=0.5)
    picture = PruningFigure()
    picture.update(preview)
    top = picture._norms._columns[2].high
    assert np.allclose(top, preview.norms.now.reshape(MAX_BARS, 3).mean(1).numpy(), rtol=1e-5)
    assert picture.bars.get_xlabel() == "output channels, dim 0 (a bar is the mean of 3)"


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4), (2, 3, 2, 2), (2, 2, 2, 2, 2)])
def test_every_shape_and_dim_can_be_drawn(shape: tuple[int, ...]) -> None:
    axes = tuple(f"axis {i}" for i in range(len(shape)))
    weights = PrunableTensor("w", "Mine", torch.ones(shape), axes)
    picture = PruningFigure(Figure(figsize=(4, 5)))
    canvas = FigureCanvasAgg(picture.figure)
    for dim in range(len(shape)):
        spec = PruneSpec("w", amount=1, dim=dim)
        picture.update(preview_tensor(resolve(spec, weights), weights))
        canvas.draw()


def test_text_stays_inside_the_figure() -> None:
    weights = PrunableTensor(
        "encoder.layers.11.attention.self.query.projection.weight",
        "Conv2d",
        torch.ones(4, 4, 3, 3),
        AXES,
        torch.eye(4, dtype=torch.bool)[:, :, None, None].expand(4, 4, 3, 3),
    )
    for width in (2.8, 4.0, 9.6, 16.0):
        picture = PruningFigure(Figure(figsize=(width, 5), dpi=100))
        picture.update(preview_tensor(resolve(PruneSpec("w", "ln_structured", 0.5), weights), weights))
        for artist in picture.animated:
            artist.set_animated(False)
        canvas = FigureCanvasAgg(picture.figure)
        canvas.draw()
        edge = picture.figure.bbox.width
        legend = picture.figure.legends[0].get_texts()
        headings = [text for each in picture._headings for text in (each.title, each.line)]
        labels = [axes.xaxis.label for axes in (picture.heatmap, picture.bars)]
        for text in (*headings, *labels, *legend):
            box = text.get_window_extent(canvas.get_renderer())
            assert 0 <= box.x0 <= box.x1 <= edge


def test_norms_have_names() -> None:
    assert [norm_name(n) for n in (1, 0.5, float("-inf"), "nuc")] == [
        "L1 norm",
        "L0.5 norm",
        "L−∞ norm",
        "nuclear norm",
    ]


def test_a_phone_shows_headings_whole() -> None:
    weights = PrunableTensor("block2.conv2.weight", "Conv2d", torch.rand(64, 64, 3, 3), AXES)
    picture = PruningFigure(Figure(figsize=(3.16, 6.9), dpi=100))
    preview = preview_tensor(resolve(PruneSpec("w", "l1_unstructured", 0.3), weights), weights)
    picture.update(preview)
    titles = [heading.title.get_text() for heading in picture._headings]
    assert titles == [weights.name, "L2 norm of the output channels", "magnitude |w| of the weights"]
    lines = [heading.line.get_text() for heading in picture._headings]
    assert lines[1] == "light part: fraction of its weights pruned"
    assert lines[2] == f"|w| ≤ {preview.threshold:.3g} · 11,059 of 36,864 pruned"
    structured = preview_tensor(resolve(PruneSpec("w", "ln_structured", 0.3), weights), weights)
    picture.update(structured)
    picture.point(Place(28, None))
    said = picture._headings[1].line.get_text()
    assert said == channel_reading(structured, 28)
    assert picture.reading()[1].startswith(f"{said} · a click ")


def test_words_without_room_are_cut() -> None:
    weights = PrunableTensor("model.encoder.block2.conv2.weight", "Conv2d", torch.rand(64, 8), AXES[:2])
    picture = PruningFigure(Figure(figsize=(1.6, 6.9), dpi=100))
    picture.update(preview_tensor(resolve(PruneSpec("w", "ln_structured", 0.3), weights), weights))
    names, norms = (heading.title.get_text() for heading in picture._headings[:2])
    assert len(names) > 8
    assert names[0] == "…"
    assert weights.name.endswith(names[1:])
    assert len(norms) > 8
    assert norms[-1] == "…"
    assert "L2 norm of the output channels".startswith(norms[:-1])
    renderer = FigureCanvasAgg(picture.figure).get_renderer()
    ends = [heading.title.get_window_extent(renderer).x1 for heading in picture._headings[:2]]
    assert max(ends) <= 160
