import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from prunescope.figures.fast.cellimage import CellImage


def drawn(axes: Axes) -> np.ndarray:
    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).astype(int)


def blank() -> Axes:
    axes = Figure(figsize=(3.1, 2.3), dpi=100).add_axes((0.1, 0.13, 0.83, 0.71))
    axes.set_axis_off()
    return axes


@pytest.mark.parametrize(
    ("xlim", "ylim"),
    [((-0.5, 6.5), (4.5, -0.5)), ((1.2, 3.1), (3.9, 2.2)), ((-3, 9), (7, -2)), ((-0.5, 6.5), (-0.5, 4.5))],
)
def test_it_looks_as_matplotlib_draws_it(xlim: tuple[float, float], ylim: tuple[float, float]) -> None:
    cells = np.random.default_rng(0).integers(0, 255, (5, 7, 4), np.uint8)
    cells[..., 3] = 255
    ours, theirs = blank(), blank()
    CellImage(ours).set_cells(cells, (-0.5, 6.5, 4.5, -0.5))
    theirs.imshow(cells, aspect="auto", interpolation="nearest")
    for axes in (ours, theirs):
        axes.set(xlim=xlim, ylim=ylim)
    different = np.abs(drawn(ours) - drawn(theirs)).max(-1) > 2
    assert different.mean() < 0.02, "but for the rounding of a cell's edge"


def test_what_is_out_of_sight_is_not_drawn() -> None:
    axes = blank()
    CellImage(axes).set_cells(np.zeros((2, 2, 4), np.uint8), (-0.5, 1.5, 1.5, -0.5))
    axes.set(xlim=(5, 6), ylim=(6, 5))
    assert (drawn(axes) == 255).all()
