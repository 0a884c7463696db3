"""What the explorer keeps alive: little more than the layer it shows, however long it is used."""

import gc

import pytest
import torch
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.preview import Preview
from prunescope.explorer.state import state
from prunescope.figures import View

SIDE = 256
LAYER = SIDE * SIDE * 4


def held() -> tuple[int, int]:
    """Return the bytes that live tensors hold, and how many previews live."""
    gc.collect()
    alive = gc.get_objects()
    tensors = (each.untyped_storage() for each in alive if type(each) in (torch.Tensor, nn.Parameter))
    sizes = {storage.data_ptr(): storage.nbytes() for storage in tensors}
    return sum(sizes.values()), sum(type(each) is Preview for each in alive)


def use(explorer: Explorer, times: int) -> None:
    for time in range(times):
        explorer.request(layer=str(time % 3), method=("l1_unstructured", "ln_structured")[time % 2])
        explorer.view = View(heatmap=("mask", "weights", "scores")[time % 3])
        for amount in (0.2, 0.4, 0.6):
            explorer.amount = amount


@pytest.mark.slow
def test_it_holds_at_most_four_layers_and_no_more_with_time() -> None:
    model = nn.Sequential(*(nn.Linear(SIDE, SIDE, bias=False) for _ in range(3)))
    before, previews = held()
    explorer = explore(model)
    use(explorer, 6)
    first, shown = held()
    assert first - before <= 4 * LAYER
    assert shown - previews <= 2
    use(explorer, 12)
    assert held() == (first, shown)
    explorer.close()
    del explorer
    after, left = held()
    assert after - before <= LAYER / 4
    assert left <= previews


def test_masks_of_a_large_layer_are_given_back_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[int] = []
    monkeypatch.setattr(state, "give_back", lambda: times.append(1))
    explorer = explore(nn.Sequential(nn.Linear(SIDE, SIDE), nn.Linear(1024, 1024)))
    explorer.amount = 0.5
    assert not times
    explorer.layer = "1"
    explorer.amount = 0.6
    explorer.close()
    assert len(times) == 2
