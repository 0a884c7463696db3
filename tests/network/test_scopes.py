from __future__ import annotations

import pytest
import torch
import torch.nn.utils.prune as oracle
from torch import nn

from prunescope.core.errors import RequestError
from prunescope.core.spec import PruneSpec
from prunescope.network import Scope, groups, scope_specs
from prunescope.network.layers import layers_of, masks_of
from prunescope.session import Session
from prunescope.sources import demo_source, module_source


def network() -> nn.Module:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
    return nn.Sequential(block, nn.Linear(8, 6), nn.Linear(6, 2))


def test_groups_are_modules_of_several_layers_and_kinds() -> None:
    found = groups(Session(demo_source("vit")).tensors)
    assert found["blocks.0"] == tuple(
        f"blocks.0.{name}.weight" for name in ("attention.qkv", "attention.proj", "fc1", "fc2")
    )
    assert len(found["blocks"]) == 12
    assert len(found["Linear"]) == 13
    assert "patches" not in found


@pytest.mark.parametrize(
    ("scope", "layers"),
    [
        ("layer", ["1.weight"]),
        ("group:0", ["0.0.weight", "0.1.weight"]),
        ("group:Conv2d", ["0.0.weight", "0.1.weight"]),
        ("group:0.0.weight, 2", ["0.0.weight", "2.weight"]),
        ("alike", ["0.0.weight", "0.1.weight", "1.weight", "2.weight"]),
    ],
)
def test_each_layer_of_the_scope_gets_the_amount(scope: str, layers: list[str]) -> None:
    asked = PruneSpec("1", "ln_structured", 0.5, n=1)
    found = scope_specs(Session(module_source(network())), asked, scope)
    assert [spec.layer for spec in found.specs] == layers
    assert {(spec.method, spec.amount, spec.n) for spec in found.specs} == {("ln_structured", 0.5, 1)}
    assert found.scope.text == scope


@pytest.mark.parametrize("amount", [0.4, 100])
def test_one_threshold_is_that_of_torch(amount: int | float) -> None:
    session = Session(module_source(network()))
    found = scope_specs(session, PruneSpec("1.weight", amount=amount), "global")
    layers = layers_of(session, PruneSpec(""))
    counts = {spec.layer: spec.amount for spec in found.specs}
    masks = masks_of(layers, [counts.get(layer.name, 0) for layer in layers])
    model = network()
    modules = [(module, "weight") for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    oracle.global_unstructured(modules, oracle.L1Unstructured, amount=amount)
    for name, module in model.named_modules():
        if hasattr(module, "weight_mask"):
            kept = masks.get(f"{name}.weight", torch.ones_like(module.weight_mask))
            assert torch.equal(kept.bool(), module.weight_mask.bool()), name


def test_one_threshold_for_channels_of_different_widths() -> None:
    model = nn.Sequential(nn.Linear(100, 4, bias=False), nn.Linear(4, 4, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None].expand(4, 100))
        model[1].weight.copy_(torch.tensor([1.5, 2.5, 3.5, 4.5])[:, None].expand(4, 4))
    found = scope_specs(Session(module_source(model)), PruneSpec("0", "ln_structured", 3), "global")
    assert [(spec.layer, spec.amount) for spec in found.specs] == [("0.weight", 2), ("1.weight", 1)]


def test_what_the_method_cannot_prune_is_left_out_with_a_reason() -> None:
    found = scope_specs(
        Session(module_source(network())), PruneSpec("0.0", "ln_structured", 0.5, dim=3), "alike"
    )
    assert [spec.layer for spec in found.specs] == ["0.0.weight", "0.1.weight"]
    assert set(found.left_out) == {"1.weight", "2.weight"}


@pytest.mark.parametrize(
    ("scope", "spec", "field"),
    [
        ("group:nowhere", PruneSpec("1"), "scope"),
        ("group:", PruneSpec("1"), "scope"),
        (3, PruneSpec("1"), "scope"),
        ("alike", PruneSpec("1", amount=10_000), "amount"),
        ("global", PruneSpec("1", amount=10_000), "amount"),
        ("alike", PruneSpec("1", "global_unstructured"), "method"),
        ("group:Linear", PruneSpec("1", "ln_structured", dim=3), "scope"),
        ("global", PruneSpec("1", "random_unstructured"), "scope"),
    ],
)
def test_what_cannot_be_is_named(scope: object, spec: PruneSpec, field: str) -> None:
    with pytest.raises(RequestError) as caught:
        scope_specs(Session(module_source(network())), spec, scope)
    assert caught.value.parameter == field


def test_a_scope_goes_through_its_text() -> None:
    for text in ("layer", "alike", "global", "group:layer1"):
        assert Scope.of(Scope.of(text).text) == Scope.of(text)
