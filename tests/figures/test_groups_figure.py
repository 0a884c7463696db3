"""Groups in the picture: boxes where they can be seen, and a histogram without one threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prunescope.core.preview import Preview, preview_tensor
from prunescope.core.resolve import resolve
from prunescope.core.spec import PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.figures import PruningFigure
from prunescope.figures.boxes import GroupBoxes
from prunescope.figures.columns import Columns


def preview_of(weight: torch.Tensor, **fields: Any) -> Preview:
    tensor = PrunableTensor("w", "Linear", weight, ("outputs", "inputs"))
    spec = PruneSpec("w", **{"method": "grouped_unstructured", "amount": 0.5, **fields})
    return preview_tensor(resolve(spec, tensor), tensor)


def test_groups_are_boxes_where_they_are_large_enough_to_be_seen() -> None:
    weight = torch.arange(1.0, 48 * 64 + 1).view(48, 64)
    picture = PruningFigure()

    def boxes(bottom: float = 7.5, **fields: Any) -> NDArray[Any]:
        picture.update(preview_of(weight, **fields))
        picture.heatmap.set_xlim(7.5, 15.5)
        picture.heatmap.set_ylim(bottom, -0.5)
        picture.refresh()
        (found,) = (artist for artist in picture.animated if isinstance(artist, GroupBoxes))
        assert found.get_visible() == bool(len(found.corners))
        return found.corners

    assert len(boxes(dim=1, group=4)) == 8 * 2
    assert boxes(dim=1, group=4)[0].tolist() == [7.5, -0.5, 11.5, 0.5]
    assert boxes(dim=0, group=8)[0].tolist() == [7.5, -0.5, 8.5, 7.5]
    assert boxes(dim=1).tolist() == [[-0.5, row - 0.5, 63.5, row + 0.5] for row in range(8)]
    assert not len(boxes(dim=(1, 0), group=4))  # Entries of different rows are no rectangle.
    assert not len(boxes(47.5, dim=1, group=4))  # Rows of five pixels.
    assert not len(boxes(method="l1_unstructured"))


def test_the_histogram_of_groups_has_no_one_threshold() -> None:
    picture = PruningFigure()
    picture.update(preview_of(torch.arange(1.0, 9.0).view(2, 4), dim=1))
    artists = [artist for artist in picture.animated if artist.axes is picture.scores]
    kept, pruned = (artist for artist in artists if isinstance(artist, Columns))
    bins = len(pruned.high)
    gone = np.repeat(np.arange(bins) * 8 / bins, pruned.high.astype(int))
    assert gone.tolist() == [1, 2, 5, 6]
    assert (kept.high - kept.low).sum() == 4
    words = [artist.get_text() for artist in picture.animated if hasattr(artist, "get_text")]
    assert any("each group has its own threshold" in each for each in words)
    assert picture.score_at(picture.scores, 3.0, 1.0) is None
    assert "threshold" not in [each.get_text() for each in picture.figure.legends[0].get_texts()]
    picture.update(preview_of(torch.arange(1.0, 9.0).view(2, 4), method="l1_unstructured"))
    assert picture.score_at(picture.scores, 3.0, 1.0) == 3.0
