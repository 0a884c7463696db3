import io

import matplotlib
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview, preview_tensor
from prunescope.core.resolve import resolve
from prunescope.core.spec import PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.figures import draw_heatmap, draw_histogram, draw_norms

BEGINNINGS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def preview(method: str = "l1_unstructured") -> Preview:
    weight = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    tensor = PrunableTensor("fc.weight", "Linear", weight, ("outputs", "inputs"))
    return preview_tensor(resolve(PruneSpec("fc.weight", method, 0.5), tensor), tensor)


@pytest.mark.parametrize("draw", [draw_heatmap, draw_norms, draw_histogram])
@pytest.mark.parametrize("format", BEGINNINGS)
def test_each_draws_on_axes_of_its_own_or_given_ones_and_saves(draw, format: str) -> None:
    ax = draw(preview("ln_structured"))
    file = io.BytesIO()
    ax.figure.savefig(file, format=format)
    assert file.getvalue().startswith(BEGINNINGS[format])
    given = Figure().add_subplot()
    assert draw(preview(), given) is given
    assert given.get_legend() is not None


def test_the_heatmap_keeps_what_was_asked_for() -> None:
    ax = draw_heatmap(preview(), show="weights")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[1:] == ["0", labels[2], "pruned"]
    with pytest.raises(RequestError, match="`largest_weight` must be given"):
        draw_heatmap(preview(), show="weights", colour_range="model")
    with pytest.raises(RequestError, match="`heatmap` of a view must be one of"):
        draw_heatmap(preview(), show="pictures")
    with pytest.raises(RequestError, match="`method` must rank by scores"):
        draw_histogram(preview("random_unstructured"))


def test_rcparams_are_honoured() -> None:
    with matplotlib.rc_context(
        {"axes.facecolor": "#102030", "axes.labelcolor": "#ddeeff", "axes.labelsize": 17, "figure.dpi": 50}
    ):
        ax = draw_norms(preview("ln_structured"))
    assert ax.get_facecolor() == to_rgba("#102030")
    assert ax.xaxis.label.get_color() == "#ddeeff"
    assert ax.yaxis.label.get_size() == 17
    assert ax.figure.dpi == 50
    FigureCanvasAgg(ax.figure).draw()
