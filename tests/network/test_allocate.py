from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.utils.prune as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.measure.costs.cutting import cut_out
from prunescope.measure.costs.flops import count_flops
from prunescope.measure.states import eval_copy
from prunescope.network.budget import Forecast, least_errors
from prunescope.network.entry import allocate, sensitivity
from prunescope.network.files import file_size
from prunescope.network.goal import RULES, GoalSpec
from prunescope.network.layers import masks_of
from prunescope.network.network import Network
from prunescope.network.table import SensitivityTable
from prunescope.session import Session
from prunescope.sources import demo_source, module_source
from prunescope.sources.demos import load_demo

FREE = [rule for rule in RULES if rule != "sensitivity"]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3),
        nn.Flatten(),
        nn.Linear(96, 40),
        nn.Linear(40, 10),
    )


def data(examples: int = 120) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(examples, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    return inputs, network()(inputs).argmax(1)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in model.named_parameters() if p.ndim > 1}


# Rules against independent calculations.


@pytest.mark.parametrize("target", [0.1, 0.5, 0.83, 0.99])
def test_global_is_what_torch_prunes(target: float) -> None:
    model = network()
    found = allocate(model, target, rule="global")
    modules = [(module, "weight") for module in model if hasattr(module, "weight")]
    oracle.global_unstructured(modules, oracle.L1Unstructured, amount=target)
    zeros = [int((module.weight_mask == 0).sum()) for module, _ in modules]
    assert list(found.amounts.values()) == pytest.approx(zeros, abs=1)


@pytest.mark.parametrize("target", [0.1, 0.5, 0.83, 0.99])
def test_lamp_equals_an_independent_calculation(target: float) -> None:
    scores = {}
    for name, weight in weights(network()).items():
        squares = (weight.double() ** 2).flatten()
        scores[name] = torch.stack([w / squares[squares >= w].sum() for w in squares])
    together = torch.cat(list(scores.values())).sort().values
    at = together[round(target * len(together)) - 1]
    expected = {name: int((each <= at).sum()) for name, each in scores.items()}
    found = allocate(network(), target, rule="lamp").amounts
    assert {name: pytest.approx(count, abs=1) for name, count in expected.items()} == found


@pytest.mark.parametrize("target", [0.1, 0.5, 0.83, 0.99])
def test_erk_equals_an_independent_calculation(target: float) -> None:
    shapes = {name: tuple(weight.shape) for name, weight in weights(network()).items()}
    dense: set[str] = set()
    while True:  # As RigL's own code does it.
        kept = (1 - target) * sum(map(math.prod, shapes.values())) - sum(math.prod(shapes[n]) for n in dense)
        factor = kept / sum(sum(shape) for name, shape in shapes.items() if name not in dense)
        over = {n for n, s in shapes.items() if n not in dense and factor * sum(s) / math.prod(s) > 1}
        if not over:
            break
        dense |= over
    expected = {
        name: 0 if name in dense else math.prod(shape) - round(factor * sum(shape))
        for name, shape in shapes.items()
    }
    found = allocate(network(), target, rule="erk").amounts
    assert {name: pytest.approx(count, abs=1) for name, count in expected.items()} == found


def test_uniform_plus_leaves_the_first_convolution_and_a_fifth_of_the_last_layer() -> None:
    found = allocate(network(), 0.9, rule="uniform_plus")
    assert found.amounts["0.weight"] == 0
    assert found.amounts["5.weight"] <= 0.8 * 400
    assert found.reached == pytest.approx(0.9, abs=0.005)


def test_lamp_empties_no_layer_where_one_threshold_does() -> None:
    model = network()
    with torch.no_grad():
        model[5].weight *= 1e-3
    emptied = allocate(model, 0.8, rule="global")
    assert "Nothing is kept of 5.weight" in emptied.note
    assert allocate(model, 0.8, rule="lamp").note == ""


# Targets are met.


@pytest.mark.parametrize("unit", ["weights", "parameters"])
@pytest.mark.parametrize("rule", FREE)
def test_an_unstructured_goal_is_met_to_half_a_percent(rule: str, unit: str) -> None:
    model = network()
    whole = sum(p.numel() for p in model.parameters() if unit == "parameters" or p.ndim > 1)
    for target in (0.05, 0.3, 0.777, 0.9):
        found = allocate(model, target, rule=rule, unit=unit)
        assert sum(found.amounts.values()) / whole == pytest.approx(target, abs=0.005)
        assert found.reached == found.sparsity == sum(found.amounts.values()) / whole
        assert found.reached >= target - 1e-9


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(FREE), st.floats(0.05, 0.9), st.sampled_from(["weights", "parameters", "flops"]))
def test_a_structured_goal_is_met_by_at_most_one_channel_more(rule: str, target: float, unit: str) -> None:
    session = Session(module_source(network(), example=data(2)[0]))
    goal = GoalSpec(target, unit, rule, method="ln_structured")
    net = Network.of(session, goal)
    counts = net.counts(goal, target)
    assert net.tally.share(counts) >= target - 1e-9
    fewer = [
        net.tally.share([*counts[:i], count - 1, *counts[i + 1 :]]) for i, count in enumerate(counts) if count
    ]
    assert not fewer or min(fewer) < target
    assert max(fewer, default=0) < target


def test_zeros_are_really_that_many() -> None:
    session = Session(module_source(network(), data()))
    goal = GoalSpec(0.6, "parameters", "lamp")
    found = allocate(session, 0.6, unit="parameters", rule="lamp")
    for spec in found.specs:
        session.apply(session.preview(session.resolve(spec)))
    assert session.model_sparsity(session.applied) == pytest.approx(found.sparsity)
    masks = Network.of(Session(module_source(network())), goal).masks(found)
    assert {name: int((~mask).sum()) for name, mask in masks.items()} == found.amounts


def test_operations_are_counted_as_the_costs_panel_counts_them() -> None:
    session = Session(module_source(network(), example=data(2)[0]))
    found = allocate(session, 0.4, unit="flops", rule="uniform", method="ln_structured")
    net = Network.of(session, found.goal)
    flops = count_flops(eval_copy(session), session.source.inputs)
    cut = cut_out(session.source.module, net.masks(found), flops)
    assert cut.flops / flops.total == pytest.approx(found.reached, abs=1e-3)
    assert found.reached >= 0.4


def test_a_goal_in_bytes_is_met_by_the_file() -> None:
    session = Session(demo_source("mlp"))
    found = allocate(session, 0.5, unit="file", rule="lamp")
    masks = Network.of(session, found.goal).masks(found)
    smaller = 1 - file_size(session, masks) / file_size(session, None)
    assert smaller == pytest.approx(found.reached)
    assert 0.5 <= smaller <= 0.51


def test_earlier_steps_count() -> None:
    session = Session(module_source(network()))
    session.apply(session.preview(session.resolve(allocate(session, 0.9, rule="uniform").specs[2])))
    found = allocate(session, 0.5, rule="uniform")
    assert found.reached == pytest.approx(0.5, abs=0.005)
    for spec in found.specs:
        session.apply(session.preview(session.resolve(spec)))
    pruned = sum(int((~mask).sum()) for mask in session.history.masks().values())
    assert pruned / sum(w.numel() for w in weights(network()).values()) == pytest.approx(0.5, abs=0.005)
    assert allocate(session, 0.1, rule="lamp").specs == ()


# Limits.


@pytest.mark.parametrize("rule", FREE)
def test_exclude_pins_and_min_keep_hold(rule: str) -> None:
    found = allocate(network(), 0.6, rule=rule, exclude=["5"], pins={"0.weight": 0.5}, min_keep=0.2)
    assert found.amounts["5.weight"] == 0
    assert found.amounts["0.weight"] == 144
    assert all(share <= 0.8 for share in found.shares.values())
    assert found.reached == pytest.approx(0.6, abs=0.005)


@pytest.mark.parametrize("rule", FREE)
def test_kept_channels_come_in_multiples(rule: str) -> None:
    found = allocate(network(), 0.4, rule=rule, method="ln_structured", round_to=8)
    for name, count in found.amounts.items():
        kept = found.units[name] - count
        assert kept % 8 == 0 or count == 0, name
    assert found.reached >= 0.4


# Dynamic programming.


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 30), min_size=5, max_size=5), min_size=3, max_size=3),
    st.lists(st.lists(st.floats(0, 1), min_size=5, max_size=5), min_size=3, max_size=3),
)
def test_the_program_equals_trying_all(costs: list[list[int]], errors: list[list[float]]) -> None:
    costs = [sorted([0, *each[1:]]) for each in costs]
    most = sum(each[-1] for each in costs)
    best, options = least_errors([np.array(c) for c in costs], [np.array(e) for e in errors], most)
    for budget in range(most + 1):
        choices = itertools.product(range(5), repeat=3)
        tried = [
            sum(errors[i][o] for i, o in enumerate(choice))
            for choice in choices
            if sum(costs[i][o] for i, o in enumerate(choice)) >= budget
        ]
        assert best[budget] == pytest.approx(min(tried))
        left, cost, error = budget, 0, 0.0
        for place in (2, 1, 0):
            option = int(options[place, left])
            cost, error = cost + costs[place][option], error + errors[place][option]
            left = max(0, left - costs[place][option])
        assert (cost >= budget, error) == (True, pytest.approx(min(tried)))


@pytest.fixture(scope="module")
def vit() -> tuple[Session, SensitivityTable]:
    session = Session(demo_source("vit"))
    names = ["patches.weight", "blocks.0.fc1.weight", "blocks.1.attention.qkv.weight", "head.weight"]
    return session, sensitivity(session, layers=names, amounts=[0.3, 0.6, 0.9], progress=False)


@pytest.mark.parametrize("target", [0.05, 0.1, 0.15])
def test_the_budget_meets_its_target_and_predicts(
    vit: tuple[Session, SensitivityTable], target: float
) -> None:
    session, table = vit
    others = [
        name for name in session.tensors if len(session.tensors[name].shape) > 1 and name not in table.layers
    ]
    goal = GoalSpec(target, exclude=tuple(others))
    net = Network.of(session, goal, table)
    budget = net.budget(goal)
    counts = budget.at(target)
    assert net.tally.share(counts) == pytest.approx(target, abs=1e-4)
    shares, drops = budget.front()
    assert (np.diff(drops) >= 0).all()
    assert (np.diff(shares) > 0).all()
    assert np.interp(target, shares, drops) == pytest.approx(
        Forecast(table, net.layers).predicted(counts), abs=0.05
    )


def test_sensitivity_is_at_least_as_good_as_what_it_is_compared_with() -> None:
    model, held_out = load_demo("mlp")
    found = allocate(model, 0.7, data=held_out, progress=False)
    assert set(found.candidates) == set(RULES)
    assert found.rule in found.candidates
    assert found.measured.choosing == min(each.measured.choosing for each in found.candidates.values())
    assert found.measured.split
    assert found.measured.examples == 300
    assert found.predicted is not None
    assert "not used for choosing" in found.in_words


def test_what_is_measured_is_the_pruned_network_on_the_other_half() -> None:
    model, (inputs, targets) = load_demo("mlp")
    found = allocate(model, 0.6, rule="lamp", data=(inputs, targets))
    for spec in found.specs:
        path, _, name = spec.layer.rpartition(".")
        oracle.l1_unstructured(model.get_submodule(path), name, spec.amount)
    order = torch.randperm(599, generator=torch.Generator().manual_seed(0))[299:]
    with torch.no_grad():
        right = (model(inputs).argmax(1) == targets)[order]
    assert found.measured.value == pytest.approx(float(right.double().mean()))


def test_few_examples_are_not_split_and_it_says_so() -> None:
    found = allocate(network(), 0.3, rule="uniform", data=data(60))
    assert not found.measured.split
    assert found.measured.examples == 60
    assert "not split" in found.in_words


def test_nothing_to_measure_by_is_not_measured() -> None:
    found = allocate(network(), 0.3)
    assert (found.measured, found.rule) == (None, "lamp")
    assert "not measured" in found.in_words


def test_a_function_of_ones_own_measures() -> None:
    model, (inputs, targets) = load_demo("mlp")

    def loss(model: nn.Module) -> float:
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model(inputs), targets))

    found = allocate(model, 0.5, evaluate=loss, progress=False)
    assert found.measured.metric == "loss"
    assert found.measured.drop == found.measured.value - found.measured.dense > 0


def test_cannot_says_what_is_the_best() -> None:
    model, held_out = load_demo("mlp")
    found = allocate(model, 0.9, at_most=0.02, rule="lamp", data=held_out)
    assert found.problem.startswith("Cannot: 90.0 % of weights loses")
    assert "the best is" in found.problem
    assert 0.2 < found.best.reached < 0.9
    assert found.best.measured.choosing <= 0.02


def test_as_much_as_may_be_lost() -> None:
    model, held_out = load_demo("mlp")
    found = allocate(model, at_most=0.02, rule="erk", data=held_out)
    assert found.problem == ""
    assert found.measured.choosing <= 0.02
    assert found.reached > 0.3


# Checkpoints without code.


@pytest.mark.parametrize("rule", FREE)
def test_rules_work_on_a_checkpoint(rule: str, tmp_path: Path) -> None:
    model = network()
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    found = allocate(tmp_path / "net.safetensors", 0.5, rule=rule)
    assert found.reached == pytest.approx(0.5, abs=0.005)
    if rule != "uniform_plus":
        assert dict(found.amounts) == allocate(model, 0.5, rule=rule).amounts


def test_sensitivity_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    save_file(network().state_dict(), tmp_path / "net.safetensors")
    with pytest.raises(RequestError, match="needs `data`"):
        allocate(tmp_path / "net.safetensors", 0.5, rule="sensitivity")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"target": 0}, "target"),
        ({"target": 1.2}, "target"),
        ({"target": None}, "target"),
        ({"target": True}, "target"),
        ({"unit": "bytes"}, "unit"),
        ({"rule": "best"}, "rule"),
        ({"method": "global_unstructured"}, "method"),
        ({"unit": "flops"}, "unit"),
        ({"unit": "flops", "method": "ln_structured"}, "unit"),
        ({"round_to": 8}, "round_to"),
        ({"round_to": 0, "method": "ln_structured"}, "round_to"),
        ({"min_keep": 1.5}, "min_keep"),
        ({"min_keep": 0.7}, "target"),
        ({"exclude": ["nowhere"]}, "exclude"),
        ({"pins": {"nowhere": 0.5}}, "pins"),
        ({"pins": {"0": 2.5}}, "pins"),
        ({"pins": {"0": 10_000}}, "pins"),
        ({"pins": {"0": 1.0, "2": 1.0, "4": 1.0}}, "pins"),
        ({"at_most": -1}, "at_most"),
        ({"at_most": 0.1, "target": None}, "at_most"),
        ({"rule": "lamp", "method": "random_unstructured"}, "rule"),
        ({"rule": "sensitivity"}, "rule"),
    ],
)
def test_a_value_that_cannot_be_met_is_named(changes: dict[str, object], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        allocate(network(), **{"target": 0.5, "rule": "uniform", **changes})
    assert caught.value.parameter == field
    assert f"`{field}`" in str(caught.value)


def test_a_table_of_another_method_is_refused() -> None:
    model, held_out = load_demo("mlp")
    table = sensitivity(model, data=held_out, amounts=[0.5], progress=False)
    with pytest.raises(RequestError, match="`table`"):
        allocate(model, 0.5, data=held_out, table=table, method="ln_structured")


def test_a_goal_goes_through_its_values() -> None:
    goal = GoalSpec(0.3, "flops", "erk", 0.01, ("head",), 2, 8, {"a": 3}, "ln_structured", math.inf, 1)
    assert GoalSpec.of(goal.values()) == goal
    assert hash(GoalSpec.of(goal.values())) == hash(goal)
    with pytest.raises(RequestError, match="`goal`"):
        GoalSpec.of({"aim": 1})


def test_allocating_yields_before_it_is_measured() -> None:
    session = Session(demo_source("cnn"))
    steps = list(Network.of(session, GoalSpec(0.5, rule="lamp")).allocating(GoalSpec(0.5, rule="lamp")))
    assert steps[0].measured is None
    assert steps[-1].measured is not None
    assert steps[0].amounts == steps[-1].amounts
    assert len(steps) > 3


def test_masks_and_specs_agree() -> None:
    session = Session(module_source(network()))
    found = allocate(session, 0.5, rule="erk", method="ln_structured", n=1)
    net = Network.of(session, found.goal)
    masks = masks_of(net.layers, list(found.amounts.values()))
    for spec in found.specs:
        assert torch.equal(session.preview(session.resolve(spec)).mask, masks[spec.layer])
