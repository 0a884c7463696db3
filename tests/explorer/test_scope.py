"""The scope: an amount of this layer, of a group, of all layers alike, or of all by one threshold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.utils.prune as oracle
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.errors import RequestError

WEIGHTS = ("stem.weight", "block.0.weight", "block.2.weight", "head.weight")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3)
        self.block = nn.Sequential(nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.stem(x)).mean((2, 3)))


def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def data() -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(120, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return inputs, net()(inputs).argmax(1)


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    explorer = explore(net(), data=data(), method="ln_structured", amount=0.5)
    yield explorer
    explorer.close()


def pruned(explorer: Explorer) -> dict[str, torch.Tensor]:
    return {name: mask for name, mask in explorer.preview.masks.items() if not mask.all()}


def by_torch(names: tuple[str, ...], method: str = "ln_structured", amount: float = 0.5) -> nn.Module:
    model = net()
    for name in names:
        module = model.get_submodule(name.removesuffix(".weight"))
        knobs = {"n": 2, "dim": 0} if method == "ln_structured" else {}
        getattr(oracle, method)(module, "weight", amount=amount, **knobs)
    return model


def same_as(model: nn.Module, masks: dict[str, torch.Tensor]) -> bool:
    found = {name: buffer for name, buffer in model.named_buffers() if name.endswith("_mask")}
    assert {name.removesuffix("_mask") for name in found} == set(masks)
    return all(torch.equal(masks[name.removesuffix("_mask")], mask.bool()) for name, mask in found.items())


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("layer", WEIGHTS[:1]),
        ("group:block", WEIGHTS[1:3]),
        ("group:Conv2d", WEIGHTS[:3]),
        ("group:stem.weight,head.weight", (WEIGHTS[0], WEIGHTS[3])),
        ("alike", WEIGHTS),
    ],
)
def test_all_layers_of_the_scope_are_pruned_as_torch_prunes_each(
    explorer: Explorer, scope: str, names: tuple[str, ...]
) -> None:
    explorer.scope = scope
    assert explorer.layer in names
    model = by_torch(names)
    assert same_as(model, pruned(explorer))
    inputs, targets = data()
    assert explorer.accuracy is not None
    assert explorer.accuracy[1].right == int((model(inputs).argmax(1) == targets).sum())
    bars = {bar["key"]: bar["pruned"] for bar in explorer.screen.strip.widget.bars}
    assert {name for name, share in bars.items() if share} == set(names)


def test_one_threshold_for_single_weights_is_torchs_global_unstructured() -> None:
    explorer = explore(net(), amount=0.5)
    try:
        explorer.scope = "global"
        assert explorer.method == "global_unstructured"
        model = net()
        places = [(model.get_submodule(name.removesuffix(".weight")), "weight") for name in WEIGHTS]
        oracle.global_unstructured(places, oracle.L1Unstructured, amount=0.5)
        assert same_as(model, pruned(explorer))
        explorer.scope = "layer"
        assert (explorer.method, explorer.scope) == ("l1_unstructured", "layer")
        explorer.method = "global_unstructured"
        assert explorer.scope == "global"
        explorer.method = "l1_unstructured"
        assert explorer.scope == "layer"
    finally:
        explorer.close()


def test_channels_of_all_layers_by_one_threshold(explorer: Explorer) -> None:
    explorer.scope = "global"
    preview = explorer.preview
    norms = {name: net().get_parameter(name).detach().flatten(1).pow(2).mean(1).sqrt() for name in WEIGHTS}
    lowest = torch.cat(list(norms.values())).sort().values
    assert (preview.units, preview.pruned_units) == (21, 10)
    assert preview.unit_name == "channels of the model"
    assert preview.threshold == pytest.approx(float(lowest[9]))
    gone = {
        name: (values <= lowest[9]).tolist() for name, values in norms.items() if (values <= lowest[9]).any()
    }
    assert {name: (~mask.flatten(1).any(1)).tolist() for name, mask in pruned(explorer).items()} == gone
    counts, edges = preview.scores.counts(100)
    assert counts.sum() == 21, "the histogram is of the pool"
    assert edges[-1] == pytest.approx(float(lowest[-1]))
    explorer.state.request(amount=3)
    assert sum(sum(~mask.flatten(1).any(1)) for mask in pruned(explorer).values()) == 3
    explorer.layer = "head.weight"
    assert (explorer.scope, explorer.amount) == ("global", 3)
    explorer.method = "random_structured"
    assert explorer.scope == "layer"
    assert "compares magnitudes" in explorer.snapshot.message("scope")


def test_a_threshold_that_is_dragged_counts_the_units_of_all_layers(explorer: Explorer) -> None:
    explorer.scope = "global"
    threshold = explorer.preview.threshold
    explorer.screen._ask_for_units(explorer.screen._units_up_to(explorer.preview, threshold))
    assert explorer.preview.pruned_units == 10


def test_a_step_of_a_scope_is_one_act_and_undo_asks_it_again(explorer: Explorer) -> None:
    explorer.scope = "group:block"
    explorer.apply()
    (step,) = explorer.history.done
    assert (step.where, step.title) == (
        "2 layers",
        "ln_structured(amount=0.5, n=2, dim=0) on block, 2 layers",
    )
    assert explorer.snapshot.step_measures[step].right == explorer.accuracy[1].right
    model = by_torch(WEIGHTS[1:3])
    assert same_as(model, explorer.history.masks())
    assert (explorer.amount, explorer.scope) == (0.0, "group:block")
    plan, code = explorer.plan(), explorer.code()
    names: dict[str, object] = {}
    exec(code, names)
    again = names["apply_pruning"](net())  # type: ignore[operator]
    assert same_as(again, explorer.history.masks())
    explorer.scope = "layer"
    explorer.undo()
    assert (explorer.amount, explorer.scope, explorer.layer) == (0.5, "group:block", "block.0.weight")
    explorer.scope = "alike"
    explorer.load_plan(plan)
    assert same_as(model, explorer.history.masks())
    explorer.reset()
    explorer.redo()
    assert explorer.scope == "group:block"


def test_undoing_a_step_of_one_layer_is_about_that_layer_again(explorer: Explorer) -> None:
    explorer.apply()
    explorer.scope = "alike"
    explorer.undo()
    assert (explorer.scope, explorer.amount) == ("layer", 0.5)
    explorer.request(method="global_unstructured", amount=0.3)
    explorer.apply()
    explorer.scope = "layer"
    explorer.undo()
    assert (explorer.scope, explorer.method, explorer.amount) == ("global", "global_unstructured", 0.3)


@pytest.mark.parametrize("scope", ["group:block", "alike", "global"])
def test_a_link_carries_the_scope(explorer: Explorer, scope: str) -> None:
    explorer.scope = scope
    explorer.apply()
    explorer.amount = 0.25
    other = explore(net(), data=data())
    try:
        assert other.open_link(explorer.query) is None
        assert other.scope == scope
        assert other.preview.masks.keys() == explorer.preview.masks.keys()
        for name, mask in other.preview.masks.items():
            assert torch.equal(mask, explorer.preview.masks[name])
        other.undo()
        assert (other.scope, other.amount) == (scope, 0.5)
    finally:
        other.close()


def test_links_and_plans_from_before_there_were_scopes_open(explorer: Explorer) -> None:
    assert explorer.open_link("method=global_unstructured&amount=0.4&layer=head.weight") is None
    assert (explorer.scope, explorer.preview.pruned_units) == ("global", round(0.4 * 530))
    steps = '[{"layer": "head.weight", "method": "global_unstructured", "amount": 0.4}]'
    assert explorer.open_link(f"steps={steps}&amount=0.0&layer=head.weight&method=l1_unstructured") is None
    assert (explorer.scope, explorer.history.done[0].where) == ("layer", "4 tensors")


def test_another_layer_outside_the_group_is_this_layer_again(explorer: Explorer) -> None:
    explorer.scope = "group:block"
    explorer.layer = "head.weight"
    assert explorer.scope == "layer"
    assert explorer.snapshot.message("scope") == (
        "`scope` is this layer again: head.weight is not of group:block."
    )


def test_layers_that_the_method_cannot_prune_are_named(explorer: Explorer) -> None:
    explorer.request(layer="stem.weight", dim=3)
    explorer.scope = "alike"
    assert set(pruned(explorer)) == set(WEIGHTS[:2])  # A kernel of one has nothing to go by half.
    assert explorer.snapshot.message("scope").startswith(
        "Left out of the scope: 1, such as head.weight: `dim` must be between"
    )


def test_what_cannot_be_is_said_and_nothing_is_lost(explorer: Explorer) -> None:
    with pytest.raises(RequestError, match="`scope` must be layer, group:NAME, alike or global"):
        explorer.scope = "some"
    with pytest.raises(RequestError, match="`scope` must name a group such as block"):
        explorer.scope = "group:nowhere"
    explorer.scope = "alike"
    with pytest.raises(RequestError, match="amount"):
        explorer.amount = 5  # The last layer has three.
    assert (explorer.scope, explorer.amount) == ("alike", 0.5)
    assert "scope" in str(explorer.open_link("scope=all"))


def test_bars_chosen_together_are_the_scope(explorer: Explorer) -> None:
    strip = explorer.screen.strip.widget
    strip.set_state({"together": ["block.0.weight", "head.weight", "nowhere"]})
    assert (explorer.scope, explorer.layer) == ("group:block.0.weight,head.weight", "block.0.weight")
    assert [bar["within"] for bar in strip.bars] == [False, True, False, True]
    scope = explorer.screen.controls.scope
    assert dict(scope.options)["2 layers chosen"] == scope.value == explorer.scope
    strip.set_state({"together": ["head.weight"]})
    assert (explorer.scope, explorer.layer) == ("layer", "head.weight")
    explorer.state.request(layer="block.0.weight")
    assert list(dict(scope.options)) == [
        "this layer", "all of block", "all Conv2d", "all layers alike", "all, one threshold",
    ]  # fmt: skip


def test_a_locked_scope_is_not_chosen_on_the_strip() -> None:
    explorer = explore(net(), lock=["scope"])
    try:
        explorer.screen.strip.widget.set_state({"together": ["stem.weight", "head.weight"]})
        assert explorer.scope == "layer"
        assert explorer.screen.controls.scope.disabled
    finally:
        explorer.close()


def test_one_layer_alone_has_a_scope_as_well() -> None:
    explorer = explore(nn.Linear(4, 3), method="global_unstructured", amount=0.5)
    try:
        assert (explorer.scope, explorer.preview.pruned_units) == ("global", 6)
        assert explorer.screen.controls.scope.value == "global"
        explorer.scope = "layer"
        assert explorer.method == "l1_unstructured"
    finally:
        explorer.close()
