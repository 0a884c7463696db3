"""The criterion as a control: chosen by hand it is computed in the background, in code it is waited for."""

import asyncio

import pytest
import torch
from torch import nn

from prunescope import explore
from prunescope.core.errors import RequestError


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(300, 6), torch.arange(300) % 3


def test_in_code_a_criterion_is_waited_for_and_named_in_all_that_is_shown() -> None:
    explorer = explore(model(), data=data())
    try:
        explorer.criterion = "taylor"
        preview = explorer.preview
        assert preview.scores is not None
        assert preview.scores.label == "Taylor |g·w|"
        assert explorer.screen.controls.criterion.value == "taylor"
        assert "criterion=taylor" in explorer.query
        seen = explorer.compare("weight")
        assert [seen.a.title, seen.b.title] == [
            "L1 unstructured, criterion='taylor'",
            "L1 unstructured, criterion='weight'",
        ]
    finally:
        explorer.close()


def test_chosen_by_hand_its_scores_are_computed_on_the_loop_and_then_it_is_shown() -> None:
    async def scene() -> None:
        explorer = explore(model(), data=data())
        said: list[str] = []
        shown = asyncio.Event()

        def follow(change) -> None:
            said.append(change.new.message("criterion"))
            if change.new.preview.spec.criterion == "fisher":
                shown.set()

        explorer.observe(follow, "snapshot")
        explorer.screen.controls.criterion.value = "fisher"
        assert explorer.criterion == "weight"
        await asyncio.wait_for(shown.wait(), 60)
        assert any("% of the batches" in words for words in said)
        assert explorer.screen.controls.criterion.value == "fisher"
        assert explorer.screen.controls.messages["criterion"].value.strip() == "" or said[-1] == ""
        explorer.close()
        await asyncio.sleep(0)

    asyncio.run(scene())


def test_what_cannot_be_chosen_says_why_and_leaves_all_as_it_was() -> None:
    explorer = explore(model())
    try:
        labels = dict(explorer.screen.controls.criterion.options)
        assert "Taylor (gradient × weight) (not here)" in labels
        explorer.screen.controls.criterion.value = "taylor"
        assert explorer.criterion == "weight"
        assert (
            "needs gradients: pass `data=(inputs, targets)`"
            in explorer.screen.controls.messages["criterion"].value
        )
        with pytest.raises(RequestError, match="needs scores of your own"):
            explorer.criterion = "given"
    finally:
        explorer.close()


def test_given_scores_set_the_criterion() -> None:
    scores = torch.arange(30.0).reshape(5, 6)
    explorer = explore(model(), importance_scores=scores, amount=2)
    try:
        assert explorer.criterion == "given"
        assert (~explorer.preview.mask).nonzero().tolist() == [[0, 0], [0, 1]]
        explorer.layer = "2.weight"
        assert explorer.criterion == "weight"
        assert "not among the scores given" in explorer.state.snapshot.message("criterion")
    finally:
        explorer.close()
