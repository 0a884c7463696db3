"""Pruning within groups in the explorer: where groups run, one click for N:M, links, plans, code, save."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import prunescope
from prunescope import RequestError, explore, prune
from prunescope.core.patterns import PATTERNS
from prunescope.explorer.explorer import Explorer
from prunescope.figures.reading import sentence
from prunescope.measure.compare import Choice, Comparing


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 6), nn.Linear(6, 8, bias=False)
    )


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    made = explore(network(), method="grouped_unstructured", amount=0.5, layer="3")
    yield made
    made.close()


def test_groups_run_along_a_row_until_told_otherwise(explorer: Explorer) -> None:
    assert (explorer.dim, explorer.group) == (1, None)
    assert explorer.preview.mask.sum(1).tolist() == [16] * 6
    explorer.layer = "0.weight"
    assert explorer.dim == (1, 2, 3)
    assert explorer.preview.mask.flatten(1).sum(1).tolist() == [18] * 8
    explorer.dim = 1
    explorer.amount = 0.25
    assert explorer.dim == 1
    assert explorer.preview.mask.sum(1).eq(3).all()
    explorer.layer = "3.weight"
    explorer.method = "ln_structured"
    assert (explorer.dim, explorer.preview.dim) == (0, 0)
    explorer.dim = 1
    explorer.method = "grouped_unstructured"
    assert explorer.dim == 1
    assert explorer.preview.dim == 0


def test_the_amount_is_of_each_group(explorer: Explorer) -> None:
    explorer.request(group=8, amount=3)
    mask = explorer.preview.mask
    weight = explorer.preview.tensor.weight
    expected = prune.GroupedUnstructured(3, group=8).selected(weight, None)
    assert torch.equal(mask, expected.bool())
    assert explorer.preview.threshold is None
    assert (explorer.preview.pruned_units, explorer.preview.units) == (72, 192)
    assert "3 of 8 weights of each group" in explorer.screen.readout.numbers.value
    assert "within groups of 8 along input features" in sentence(explorer.preview)
    problem = explorer.request(amount=9)
    assert str(problem) == (
        "`amount` must be a float in [0, 1] or a count from 0 to 8 (weights of each group), got 9."
    )
    assert explorer.amount == 3
    assert explorer.snapshot.amount_as_fraction == 0.38


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"group": 5},
            "`group` must divide the 32 elements along `dim` 1 of a tensor of shape (6, 32), got 5.",
        ),
        ({"group": 0}, "`group` must be a number of elements ≥ 1, or None for the whole of `dim`, got 0."),
        ({"group": "a"}, "`group` must be a whole number, got 'a'."),
        ({"dim": 2}, "`dim` must be between -2 and 1 for a tensor of shape (6, 32), got 2."),
        ({"dim": (1, 1)}, "`dim` must name one or several different axes, got (1, 1)."),
        ({"method": "ln_structured", "dim": (0, 1)}, "`dim` must be an integer, got (0, 1)."),
    ],
)
def test_what_cannot_be_is_one_sentence(explorer: Explorer, changes: dict, says: str) -> None:
    before = explorer.query
    assert str(explorer.request(**changes)) == says
    assert explorer.query == before


def test_a_group_that_does_not_divide_the_next_layer_is_given_up_with_a_note(explorer: Explorer) -> None:
    explorer.group = 4
    explorer.layer = "4.weight"
    assert explorer.group is None
    assert explorer.snapshot.message("group").startswith("`group` is all along `dim` again.")


def test_links_plans_undo_and_save_bring_it_back(explorer: Explorer, tmp_path) -> None:
    explorer.request(layer="0.weight", amount=2, group=4, dim=(1, 2, 3))
    link, before = explorer.query, explorer.preview.mask
    assert "dim=1%2C2%2C3" in link
    assert link.endswith("group=4")
    explorer.apply()
    explorer.request(layer="3", dim=1, group=None, amount=0.25)
    explorer.apply()
    explorer.undo()
    assert (explorer.dim, explorer.group, explorer.amount) == (1, None, 0.25)
    explorer.redo()
    again = explore(network())
    try:
        assert again.open_link(explorer.query) is None
        masks = explorer.state.session.masks(explorer.state.session.applied)
        assert list(masks) == ["0.weight", "3.weight"]
        plan = explorer.save("plan", tmp_path / "plan.json").read_text()
        for bring in (lambda: None, lambda: again.load_plan(plan)):
            bring()
            done = again.state.session.masks(again.state.session.applied)
            assert done.keys() == masks.keys()
            assert all(torch.equal(done[name], mask) for name, mask in masks.items())
            again.reset()
        assert again.open_link(link) is None
        assert torch.equal(again.preview.mask, before)
        assert again.open_link("layer=3.weight&method=l1_unstructured&amount=0.3&n=2&dim=0&seed=0") is None
    finally:
        again.close()
    saved = load_file(explorer.save("state_dict", tmp_path / "pruned.safetensors"))
    assert int((saved["0.weight"] == 0).sum()) == 144


@pytest.mark.parametrize("engine", ["torch", "prunescope"])
def test_code_is_the_mask_for_torch_and_the_call_for_ours(explorer: Explorer, engine: str) -> None:
    explorer.request(layer="0.weight", amount=0.5, group=4)
    explorer.apply()
    text = explorer.code(engine=engine)
    call = (
        "prune.grouped_unstructured(model.get_submodule('0'), 'weight', amount=0.5, group=4, dim=(1, 2, 3))"
    )
    assert (call in text) == (engine == "prunescope")
    assert ("torch has no such function, so this is the mask itself." in text) == (engine == "torch")
    names: dict = {}
    exec(text, names)
    model = names["apply_pruning"](network())
    assert torch.equal(model[0].weight_mask.bool(), explorer.history.done[0].masks["0.weight"])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_one_click_from_any_method(explorer: Explorer, pattern) -> None:
    explorer.method = "l1_unstructured"
    controls = explorer.screen.controls
    assert controls.groups.patterns.value is None
    assert "breaks 2:4 in" in controls.groups.fits.value
    controls.groups.patterns.value = pattern
    assert explorer.method == "grouped_unstructured"
    assert prune.pattern_breaks(explorer.preview.mask, pattern.keep, pattern.of) == 0
    assert f"fits {pattern.name} in all" in controls.groups.fits.value
    assert controls.group.value == pattern.of
    explorer.amount = 0.25
    assert controls.groups.patterns.value is None
    broken = prune.pattern_breaks(explorer.preview.mask, 2, 4)
    groups = explorer.preview.mask.numel() // 4
    assert f"The mask breaks 2:4 in {broken:,} of {groups:,} groups." in controls.groups.fits.value


def test_where_no_pattern_can_be_it_says_so_and_leaves_all_as_it_was(explorer: Explorer) -> None:
    explorer.request(layer="4.weight", method="l1_unstructured")
    controls = explorer.screen.controls
    assert controls.groups.fits.layout.display == "none"
    controls.groups.patterns.value = PATTERNS[0]
    assert "“Group m” must divide the 6 elements" in controls.messages["group"].value
    assert explorer.method == "l1_unstructured"
    assert controls.groups.patterns.value is None


def test_a_locked_method_locks_the_patterns_and_a_hidden_one_hides_them(explorer: Explorer) -> None:
    patterns = explorer.screen.controls.groups.patterns
    assert explorer.open_link("lock=method") is None
    assert patterns.disabled
    assert explorer.open_link("hide=method") is None
    assert "ps-hidden" in patterns._dom_classes
    assert explorer.open_link("") is None
    assert not patterns.disabled
    assert "ps-hidden" not in patterns._dom_classes


def test_the_axes_are_chosen_in_a_list(explorer: Explorer) -> None:
    explorer.layer = "0.weight"
    dim = explorer.screen.controls.dim
    assert dim.value == (1, 2, 3)
    assert dim.options[0][0] == "1, 2, 3 · input channels × kernel (36)"
    dim.value = (0,)
    assert explorer.preview.mask.sum(0).eq(4).all()
    explorer.dim = (3, 2)
    assert dim.options[-1][0] == "3, 2 · kernel (9)"


def test_it_is_compared_and_the_network_says_why_it_has_no_table(explorer: Explorer) -> None:
    explorer.request(group=4, front="network")
    assert "ranks within groups, not a layer as a whole" in explorer.screen.panels["network"].message.value
    explorer.request(front="compare")
    assert explorer.snapshot.comparison is not None
    assert explorer.request(comparing=Comparing(b=Choice(group=8), shown=True)) is None
    other = explorer.snapshot.comparison
    assert other is not None
    assert prune.pattern_breaks(other.b.mask, 4, 8) == 0
    assert other.b.title.endswith("group=8")
    data = torch.randn(8, 4, 4, 4), torch.arange(8)
    with pytest.raises(RequestError, match="`method` must be one that ranks a layer as a whole"):
        prunescope.sensitivity(network(), data=data, method="grouped_unstructured")
    with pytest.raises(RequestError, match="`method`"):
        prunescope.allocate(explorer.state.session, 0.5, method="grouped_unstructured")


def test_channels_by_hand_are_numbered_by_the_axis_that_groups_do_not_run_along(explorer: Explorer) -> None:
    explorer.request(group=4, prune_channels=[2], keep_channels="0")
    assert explorer.preview.mask.sum(1).tolist() == [32, 16, 0, 16, 16, 16]
    explorer.method = "l1_unstructured"
    assert explorer.spec.by_hand == ""


def test_what_an_earlier_step_pruned_takes_no_part(explorer: Explorer) -> None:
    explorer.request(method="l1_unstructured", amount=0.5)
    explorer.apply()
    left = explorer.preview.tensor.default_mask
    explorer.request(method="grouped_unstructured", group=8, amount=0.5)
    expected = prune.GroupedUnstructured(0.5, group=8).selected(explorer.preview.tensor.weight, left)
    assert torch.equal(explorer.preview.mask, expected.bool())
    assert explorer.preview.most == int(left.view(-1, 8).sum(1).min())


def test_wanda_is_compared_within_a_row() -> None:
    data = torch.randn(100, 4, 4, 4), torch.randint(0, 8, (100,))
    explorer = explore(
        network(), data=data, layer="3", method="grouped_unstructured", amount=0.5, criterion="wanda"
    )
    try:
        with torch.no_grad():
            inputs = explorer.state.session.source.module[:3](data[0])
        scores = explorer.preview.tensor.weight.abs() * inputs.norm(dim=0)
        lowest = scores.argsort(1)[:, :16]
        assert torch.equal(explorer.preview.mask, torch.ones(6, 32).scatter(1, lowest, 0).bool())
        assert "Wanda" in explorer.screen.canvas.picture.scores.get_xlabel()
    finally:
        explorer.close()
