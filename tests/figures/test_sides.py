"""The picture of a comparison, asked artist by artist."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from prunescope.core.tensor import PrunableTensor
from prunescope.figures import DARK, LIGHT, ComparisonFigure, Theme, draw_agreement, draw_both_norms
from prunescope.figures.stripes import FALLING, PLAIN, RISING, StripedCells
from prunescope.measure import Comparison, Side

A = torch.tensor([[True, True, False], [False, False, False]])
B = torch.tensor([[True, False, True], [False, False, False]])


def comparison(a: Tensor = A, b: Tensor = B, dim: int = 0) -> Comparison:
    weight = torch.arange(1.0, a.numel() + 1).reshape(a.shape)
    tensor = PrunableTensor("fc.weight", "Linear", weight, ("outputs", "inputs", "kernel")[: a.dim()])
    others = [axis for axis in range(a.dim()) if axis != dim]
    norms = weight.pow(2).sum(others).sqrt() if others else weight
    return Comparison(tensor, 2, dim, norms, Side("One", "", a, 0.5), Side("Other", "", b, 0.5))


def colour(theme: Theme, name: str) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in to_rgb(getattr(theme, name)))


def cells(picture: ComparisonFigure, side: int) -> list[list[tuple[int, ...]]]:
    shown = picture._maps[side].image.get_array()
    return [[tuple(int(part) for part in cell[:3]) for cell in row] for row in shown]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_each_side_shows_what_it_keeps_what_both_prune_and_what_it_prunes_alone(theme: Theme) -> None:
    picture = ComparisonFigure(theme=theme)
    assert picture.update(comparison())
    kept, pruned, only_a, only_b = (colour(theme, name) for name in ("kept", "pruned", "only_a", "only_b"))
    assert cells(picture, 0) == [[kept, kept, only_a], [pruned] * 3]
    assert cells(picture, 1) == [[kept, only_b, kept], [pruned] * 3]
    assert picture._maps[0].image.stripes.tolist() == [[PLAIN, PLAIN, RISING], [PLAIN] * 3]
    assert picture._maps[1].image.stripes.tolist() == [[PLAIN, FALLING, PLAIN], [PLAIN] * 3]
    texts = [(heading.title.get_text(), heading.line.get_text()) for heading in picture._headings]
    assert texts == [
        ("A · One", "66.7 % pruned, 16.7 % by A alone"),
        ("B · Other", "66.7 % pruned, 16.7 % by B alone"),
        ("L2 norm of the outputs", "A and B agree on 66.7 % of the weights"),
    ]


def test_bars_go_up_for_one_and_down_for_the_other() -> None:
    picture = ComparisonFigure()
    seen = comparison()
    picture.update(seen)
    kept, alone, both = picture._norms.columns["a"]
    norms = seen.norms.numpy()
    np.testing.assert_allclose(kept.high, norms * [2 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(alone.high, norms * [1, 0], rtol=1e-6)
    np.testing.assert_allclose(both.high, norms, rtol=1e-6)
    for up, down in zip(picture._norms.columns["a"], picture._norms.columns["b"], strict=True):
        np.testing.assert_allclose(down.high, -up.high, rtol=1e-6)
    assert [columns.get_hatch() for columns in picture._norms.columns["a"]] == [None, "////", None]


MASKS = st.integers(0, 2**24 - 1).map(
    lambda bits: torch.tensor([bool(bits >> place & 1) for place in range(24)]).reshape(4, 3, 2)
)


@settings(deadline=None, max_examples=40)
@given(a=MASKS, b=MASKS, dim=st.integers(0, 2))
def test_the_bars_add_up_to_the_norms_and_the_cells_to_the_masks(a: Tensor, b: Tensor, dim: int) -> None:
    picture = PICTURES.setdefault("one", ComparisonFigure())
    seen = comparison(a, b, dim)
    picture.update(seen)
    for side, kept in (("a", seen.kept_fractions[0]), ("b", seen.kept_fractions[1])):
        columns = picture._norms.columns[side]
        np.testing.assert_allclose(abs(columns[0].high), (seen.norms * kept).numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(abs(columns[2].high), seen.norms.numpy(), rtol=1e-5)
    for side, mask in enumerate((a, b)):
        blue = sum(cell == colour(LIGHT, "kept") for row in cells(picture, side) for cell in row)
        assert blue == int(mask.sum())


PICTURES: dict[str, ComparisonFigure] = {}


def test_only_another_layer_or_title_is_drawn_whole() -> None:
    picture = ComparisonFigure()
    seen = comparison()
    assert picture.update(seen)
    moved = replace(seen, a=replace(seen.a, mask=B))
    assert not picture.update(moved)
    assert cells(picture, 0) == cells(picture, 1)
    assert picture.update(replace(seen, b=replace(seen.b, title="Third")))
    assert picture.update(comparison(dim=1))


@pytest.mark.parametrize("size", [(9.6, 5.8), (3.9, 8.4), (2.8, 8.4), (14, 5.8)])
def test_no_axes_overlap_and_no_title_leaves_the_picture(size: tuple[float, float]) -> None:
    picture = ComparisonFigure(Figure(figsize=size, dpi=100))
    picture.update(comparison())
    picture.fit()
    canvas = FigureCanvasAgg(picture.figure)
    for artist in picture.animated:
        artist.set_animated(False)
    canvas.draw()
    boxes = [axes.get_tightbbox() for axes in picture.figure.axes]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
    legend = picture.figure.legends[0].get_window_extent()
    assert not any(box.overlaps(legend) for box in boxes)
    assert max(box.x1 for box in [*boxes, legend]) <= 100 * size[0] + 1
    assert picture.height_at(100 * round(size[0])) in (580, 840)


def test_stripes_run_both_ways_and_only_where_they_should() -> None:
    axes = Figure(figsize=(2, 1), dpi=100).add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.5, 2.5), ylim=(0.5, -0.5))
    image = StripedCells(axes, {RISING: "#123456", FALLING: "#654321"})
    colours = np.full((1, 3, 4), 255, np.uint8)
    image.set_striped(colours, (-0.5, 2.5, 0.5, -0.5), np.array([[PLAIN, RISING, FALLING]], np.uint8))
    FigureCanvasAgg(axes.figure)
    pixels = image.make_image(axes.figure.canvas.get_renderer())[0][..., 0]
    plain, rising, falling = pixels[:, :66], pixels[:, 68:132], pixels[:, 135:]
    assert (plain == 255).all()
    assert 0.1 < (rising < 255).mean() < 0.5
    assert (rising[1:, 1:] == rising[:-1, :-1])[:, :60].mean() > 0.9
    assert (falling[1:, :-1] == falling[:-1, 1:]).mean() > 0.9
    assert (rising[1:, :-1] == rising[:-1, 1:]).mean() < 0.9


@pytest.mark.parametrize("draw", [draw_agreement, draw_both_norms])
def test_each_draws_on_given_axes_or_new_ones(draw) -> None:
    given = Figure().add_subplot()
    assert draw(comparison(), given) is given
    labels = [text.get_text() for text in given.get_legend().get_texts()]
    assert labels == ["kept by both", "pruned by both", "pruned by A alone", "pruned by B alone"]
    file = io.BytesIO()
    draw(comparison()).figure.savefig(file, format="svg")
    assert file.getvalue().startswith(b"<?xml")


def test_the_agreement_shows_all_four_states() -> None:
    ax = draw_agreement(comparison())
    (image,) = ax.images
    shown = image.get_array()
    assert len(np.unique(shown.reshape(-1, 4), axis=0)) == 4
    assert image.stripes.tolist() == [[PLAIN, FALLING, RISING], [PLAIN] * 3]


# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency",
# IEEE TVCG 15 (2009): severity 1.
SEEN_BY = {
    "normal": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    "deutan": (0.367, 0.861, -0.228, 0.280, 0.673, 0.047, -0.012, 0.043, 0.969),
    "protan": (0.152, 1.053, -0.205, 0.115, 0.786, 0.099, -0.004, -0.048, 1.052),
    "tritan": (1.256, -0.077, -0.179, -0.078, 0.931, 0.148, 0.005, 0.691, 0.304),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, eyes: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(np.reshape(SEEN_BY[eyes], (3, 3)) @ linear, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", SEEN_BY)
@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_four_states_are_apart_for_every_kind_of_eyes(theme: Theme, eyes: str) -> None:
    seen = [lab(getattr(theme, name), eyes) for name in ("kept", "pruned", "only_a", "only_b")]
    apart = [np.linalg.norm(one - other) for number, one in enumerate(seen) for other in seen[:number]]
    assert min(apart) > 25  # Differences from about 2 on are seen at all.
