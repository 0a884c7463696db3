"""What pruning does to the answers, asked of the artists."""

import io

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.figures import DARK, LIGHT, draw_classes, draw_examples, shown_classes, strip_height
from prunescope.measure import Accuracy, Effect

TARGETS, WAS, NOW = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0]


def effect(
    inputs: Tensor | None = None,
    names: tuple[str, ...] = (),
    rows: tuple[list[int], ...] = (TARGETS, WAS, NOW),
) -> Effect:
    target, was, now = map(torch.tensor, rows)
    accuracies = (Accuracy(int((each == target).sum()), len(target), each) for each in (was, now))
    inputs = torch.rand(len(target), 1, 4, 4) if inputs is None else inputs
    return Effect(inputs, target, *accuracies, names)


def written(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def segments(lines: LineCollection) -> np.ndarray:
    return np.array(lines.get_segments())


def test_the_chart_has_a_row_for_each_class() -> None:
    ax = draw_classes(effect(names=("ant", "bee")), theme=LIGHT)
    before, after = ax.lines
    assert before.get_xdata().tolist() == pytest.approx([2 / 3, 1, 0])
    assert after.get_xdata().tolist() == pytest.approx([2 / 3, 1, 0])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ant", "bee", "2"]
    assert written(ax) == ["2 → 2 of 3", "2 → 2 of 2", "0 → 0 of 1"]
    assert before.get_marker() != after.get_marker()
    assert ax.get_ylim() == (2.5, -0.5)


def test_intervals_are_wilsons_and_apart() -> None:
    rows = [0] * 20, [0] * 18 + [1] * 2, [0] * 5 + [1] * 15
    _, before, after = draw_classes(effect(rows=rows, inputs=torch.zeros(20, 4))).collections
    assert segments(before)[0, :, 0] == pytest.approx(Accuracy(18, 20).interval)
    assert segments(after)[0, :, 0] == pytest.approx(Accuracy(5, 20).interval)
    assert segments(before)[0, 0, 1] < segments(after)[0, 0, 1]


def test_of_many_classes_those_that_moved_most_are_drawn_in_their_order() -> None:
    targets = list(range(30)) * 2
    now = [each if each % 3 or (each < 15 and place < 30) else 29 for place, each in enumerate(targets)]
    found = effect(rows=(targets, targets, now), inputs=torch.zeros(60, 4))
    assert [each.name for each in shown_classes(found, 10)] == [str(each) for each in range(0, 30, 3)]
    assert len(draw_classes(found).get_yticklabels()) == 20


def test_the_strip_begins_with_what_changed_and_marks_it() -> None:
    ax = draw_examples(effect(), columns=4, theme=LIGHT)
    assert written(ax) == [
        "✗ 0 → 1", "#1 is 0", "✓ 1 → 0", "#2 is 0", "≠ 1 → 0", "#5 is 2",
        "0", "#0 is 0", "1", "#3 is 1", "1", "#4 is 1",
    ]  # fmt: skip
    frames = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert [frame.get_linewidth() > 2 for frame in frames] == [True] * 3 + [False] * 3
    assert to_hex(frames[1].get_edgecolor()) == LIGHT.kept
    assert ax.get_xlim() == (0, 4)
    assert ax.get_ylim()[0] == strip_height(effect().examples(6), 4)
    assert len(draw_examples(effect(), most=2).images) == 2


def test_long_names_have_lines_of_their_own_and_end_where_the_tile_does() -> None:
    ax = draw_examples(effect(names=("automobile of a kind", "bee", "wasp")), columns=6)
    assert written(ax)[:3] == ["✗ autom…", "→ bee", "#1"]
    assert written(ax)[6:9] == ["≠ bee", "→ autom…", "is wasp"]


@pytest.mark.parametrize(
    ("inputs", "images", "lines", "shape"),
    [
        (torch.rand(6, 1, 5, 7), 6, 0, (5, 7)),
        (torch.rand(6, 3, 5, 7), 6, 0, (5, 7, 3)),
        (torch.rand(6, 4, 5, 7), 6, 0, (5, 7)),
        (torch.rand(6, 5, 7), 6, 0, (5, 7)),
        (torch.rand(6, 64), 6, 0, (8, 8)),
        (torch.rand(6, 1, 300), 0, 6, (75,)),
        (torch.rand(6, 3, 500, 300), 6, 0, (84, 75, 3)),
        (torch.rand(6, 50), 0, 6, (50,)),
        (torch.rand(6, 4), 0, 6, (4,)),
        (torch.randint(0, 9, (6, 50)), 0, 0, None),
        (torch.randint(0, 255, (6, 1, 5, 7)), 6, 0, (5, 7)),
        (torch.rand(6), 0, 0, None),
        (torch.rand(6, 2, 3, 4, 5), 0, 0, None),
        (torch.full((6, 50), torch.nan), 0, 6, (50,)),
    ],
)
def test_every_kind_of_input_is_shown_sensibly(
    inputs: Tensor, images: int, lines: int, shape: tuple[int, ...] | None
) -> None:
    ax = draw_examples(effect((inputs, torch.zeros(6)) if images else inputs))
    assert (len(ax.images), len(ax.lines)) == (images, lines)
    if images:
        assert ax.images[0].get_array().shape == shape
    if lines:
        assert ax.lines[0].get_xdata().shape == shape
    if shape is None:
        assert written(ax)[0] == "#1"
    FigureCanvasAgg(ax.figure).draw()


def test_the_image_is_that_of_the_example() -> None:
    inputs = torch.rand(6, 1, 4, 4)
    shown = draw_examples(effect(inputs)).images[0].get_array()
    image = inputs[1, 0]
    assert torch.allclose(torch.tensor(np.array(shown)), (image - image.min()) / (image.max() - image.min()))


@pytest.mark.parametrize("draw", [draw_classes, draw_examples])
def test_each_draws_on_given_axes_in_any_theme_and_saves(draw) -> None:
    given = Figure().add_subplot()
    assert draw(effect(), given, theme=DARK) is given
    file = io.BytesIO()
    draw(effect()).figure.savefig(file, format="svg")
    assert file.getvalue().startswith(b"<?xml")
    with matplotlib.rc_context({"axes.labelsize": 17}):
        assert {text.get_size() for text in draw(effect()).texts} == {17}


@pytest.mark.parametrize("given", [{"most": 0}, {"columns": 0}])
def test_nothing_to_draw_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(RequestError, match=f"`{next(iter(given))}` must be at least 1, got 0"):
        draw_examples(effect(), **given)
