"""The criterion as a control: chosen by hand it is computed in the background, in code it is waited for."""

import asyncio

import pytest
import torch
from torch import nn

from prunescope import explore
from prunescope.core.criteria import CRITERIA
from prunescope.core.errors import RequestError
from prunescope.figures import View
from prunescope.figures.reading import channel_reading, sentence, weight_reading


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


def test_compared_by_hand_a_criterion_is_computed_on_the_loop_first() -> None:
    async def scene() -> None:
        explorer = explore(model(), data=data())
        explorer.request(front="compare")
        panel = explorer.screen.panels["compare"]
        said, shown = [], asyncio.Event()

        def follow(change) -> None:
            said.append(panel.message.value)
            seen = change.new.comparison
            if seen is not None and "taylor" in seen.b.title:
                shown.set()

        explorer.observe(follow, "snapshot")
        panel.b.value = dict(panel.b.options)["Criterion: Taylor (gradient × weight)"]
        await asyncio.wait_for(shown.wait(), 60)
        assert any("Computing Taylor" in words for words in said)
        seen = explorer.snapshot.comparison
        assert [seen.a.title, seen.b.title] == [
            "L1 unstructured, criterion='weight'",
            "L1 unstructured, criterion='taylor'",
        ]
        assert seen.a.mask.sum() == seen.b.mask.sum()
        explorer.close()
        await asyncio.sleep(0)

    asyncio.run(scene())


def test_how_far_criteria_agree_is_computed_on_the_loop_while_somebody_looks() -> None:
    async def scene() -> None:
        explorer = explore(model(), data=data(), amount=0.5)
        explorer.request(front="compare")
        panel = explorer.screen.panels["compare"]
        tables, changed = [], asyncio.Event()

        def follow(change) -> None:
            tables.append(change.new.agreeing.table)
            changed.set()

        async def until_done() -> None:
            while not (tables and tables[-1] and tables[-1].done):
                changed.clear()
                await asyncio.wait_for(changed.wait(), 60)

        explorer.observe(follow, "snapshot")
        assert panel.agreement.layout.display == "none"
        panel.criteria.value = True
        await until_done()
        first = tables[-1]
        assert len({id(table) for table in tables if table}) > 3  # It fills while it is looked at.
        overlap = first.between("weight", "taylor").overlap
        assert f"{first.between('taylor', 'weight').tau:.2f}".replace("-", "−") in panel.agreement.value
        assert f"{100 * overlap:.0f} %" in panel.agreement.value
        assert "Not compared here: batchnorm, given" in panel.agreement.value
        explorer.amount = 0.2
        tables.clear()
        await until_done()
        assert tables[-1].between("weight", "taylor").tau == first.between("weight", "taylor").tau
        assert tables[-1].between("weight", "fisher") is not first.between("weight", "fisher")
        explorer.method = "random_unstructured"
        await asyncio.sleep(0)
        assert "draws at random" in panel.agreement.value
        panel.criteria.value = False
        assert panel.agreement.layout.display == "none"
        explorer.close()
        await asyncio.sleep(0)

    asyncio.run(scene())


def test_without_a_loop_the_agreement_is_there_at_once() -> None:
    explorer = explore(model(), data=data(), method="grouped_unstructured", amount=0.5)
    try:
        explorer.request(front="compare")
        explorer.screen.panels["compare"].criteria.value = True
        table = explorer.snapshot.agreeing.table
        assert table.done
        mask = explorer.preview.mask
        explorer.criterion = "wanda"
        expected = float((~mask & ~explorer.preview.mask).sum() / (~mask).sum())
        assert table.between("weight", "wanda").overlap == pytest.approx(expected)
    finally:
        explorer.close()


@pytest.mark.parametrize("method", ["l1_unstructured", "ln_structured", "grouped_unstructured"])
@pytest.mark.parametrize("criterion", ["taylor", "wanda", "fisher", "activation"])
def test_pictures_and_words_name_the_criterion(method: str, criterion: str) -> None:
    explorer = explore(model(), data=data(), method=method, criterion=criterion)
    try:
        explorer.view = View(heatmap="scores", chart="auto")
        picture, preview, row = explorer.screen.canvas.picture, explorer.preview, CRITERIA[criterion]
        structured = method == "ln_structured"
        name = row.channel_label if structured else row.label
        assert name in picture.bars.get_ylabel()
        assert name in sentence(preview)
        assert name in channel_reading(preview, 0)
        assert name in weight_reading(preview, (0, 0))
        scale = [text.get_text() for text in picture.figure.legends[0].get_texts()][:2]
        symbol = "norm" if structured and not row.channel_scores else None
        symbol = symbol or (row.channel_symbol if structured else row.symbol)
        assert scale == [f"{symbol} 0", f"{float(preview.scores.limit()):.2g}"]
        if not structured:
            assert picture.scores.get_xlabel() == row.label
    finally:
        explorer.close()


def test_code_waits_for_scores_even_where_a_page_is_open() -> None:
    async def scene() -> None:
        explorer = explore(model(), data=data(), amount=0.4)
        explorer.request(criterion="taylor")
        assert explorer.criterion == "taylor"
        mask = explorer.preview.mask
        explorer.apply()
        assert "importance_scores=scores['step 1: 0.weight']" in explorer.code(engine="prunescope")
        again = explore(model(), data=data())
        assert again.open_link(explorer.query) is None
        assert torch.equal(again.state.session.history.masks()["0.weight"], mask)
        for each in (explorer, again):
            each.close()
        await asyncio.sleep(0)

    asyncio.run(scene())


def test_another_choice_gives_up_what_is_being_computed() -> None:
    async def scene() -> None:
        explorer = explore(model(), data=data())
        control = explorer.screen.controls.criterion
        said, started = [], asyncio.Event()

        def follow(change) -> None:
            said.append(change.new.message("criterion"))
            if "% of the batches" in said[-1]:
                started.set()

        explorer.observe(follow, "snapshot")
        control.value = "fisher"
        await asyncio.wait_for(started.wait(), 60)
        assert control.value == "fisher"
        control.value = "weight"
        assert (said[-1], control.value, explorer.criterion) == ("", "weight", "weight")
        await asyncio.sleep(0)  # The task is told now, and ends.
        await asyncio.sleep(0)
        assert explorer.state.session.criteria.known("fisher") is None
        explorer.close()
        await asyncio.sleep(0)

    asyncio.run(scene())
