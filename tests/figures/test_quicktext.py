import io

import matplotlib
import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.text import Text

from prunescope.figures import PruningFigure
from prunescope.figures.fast.quicktext import QuickText, _line
from tests.figures.test_pruning_figure import preview_of, tensor


def ink(figure: Figure) -> np.ndarray:
    """Return the first and last row and column that are not paper."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    places = np.argwhere(np.asarray(canvas.buffer_rgba())[..., :3].min(-1) < 160)
    return np.array([*places.min(0), *places.max(0)])


@pytest.mark.parametrize("align", [{}, {"ha": "center", "va": "center"}])
def test_it_stands_where_matplotlib_would_put_it(align: dict[str, str]) -> None:
    def shown(kind: type[Artist]) -> np.ndarray:
        figure = Figure(figsize=(4, 1), dpi=100)
        figure.add_artist(kind(0.4, 0.5, "19 of 64 pruned · norm ≤ 0.95", fontsize=9, **align))
        return ink(figure)

    assert np.abs(shown(QuickText) - shown(Text)).max() <= 3


@pytest.mark.parametrize("word", ["H]", "H/1,200", "Hp", "H·", "HÅ"])
def test_words_stand_on_one_baseline(word: str) -> None:
    def foot(text: str) -> int:
        """Return how many pixels above the baseline the first H ends."""
        cover, _, below = _line(findfont("DejaVu Sans"), 9.0, 100.0, text)
        stem = cover[:, 1:3].max(1)
        return len(cover) - below - 1 - int(np.nonzero(stem > 100)[0].max())

    assert foot(word) == foot("H") == foot(f"H {word}")


def test_the_lines_above_the_axes_are_drawn_and_written_on_paper() -> None:
    picture = PruningFigure()
    picture.update(preview_of(tensor(8, 4, 3, 3), method="ln_structured"))
    for artist in picture.animated:
        artist.set_animated(False)
    before = ink_above(picture)
    for line in (heading.line for heading in picture._headings):
        line.set_text("")
    assert ink_above(picture) < before - 300
    picture.update(preview_of(tensor(8, 4, 3, 3), method="ln_structured"))
    with io.StringIO() as file, matplotlib.rc_context({"svg.fonttype": "none"}):
        picture.figure.savefig(file, format="svg")
        assert "2 of 8 pruned · norm ≤ 5.2" in file.getvalue()


def ink_above(picture: PruningFigure) -> int:
    canvas = FigureCanvasAgg(picture.figure)
    canvas.draw()
    return int((np.asarray(canvas.buffer_rgba())[..., :3].min(-1) < 160).sum())


def test_the_numbers_in_small_cells_are_small_enough() -> None:
    sizes = set()
    for width in (9.6, 5.0):
        picture = PruningFigure(Figure(figsize=(width, 6), dpi=100))
        picture.update(preview_of(tensor(12, 10), method="ln_structured"))
        shown = [number for number in picture._heat._numbers if number.get_visible()]
        sizes |= {number.get_fontsize() for number in shown}
        renderer = FigureCanvasAgg(picture.figure).get_renderer()
        across = picture.heatmap.bbox.width / 10
        assert len(shown) == 120
        assert max(number.get_window_extent(renderer).width for number in shown) < across
    assert sizes == {9.0, 7.5}
