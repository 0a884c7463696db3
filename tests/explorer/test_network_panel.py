"""The network's strip and its page: a click leads to a layer, a table fills, a goal is one step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.errors import RequestError
from prunescope.explorer.panels.network import NetworkPanel
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.network import RULES, GoalSpec, Survey, sensitivity
from tests.support import person


def trained() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """Return a network of three layers that tells four corners apart, and what it is measured on."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(240, 2, generator=generator) * 2 - 1
    targets = (inputs[:, 0] > 0).long() * 2 + (inputs[:, 1] > 0).long()
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return model, (inputs, targets)


MODEL, DATA = trained()


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    explorer = explore(MODEL, data=DATA)
    yield explorer
    explorer.close()


def panel(explorer: Explorer) -> NetworkPanel:
    found = explorer.screen.panels["network"]
    assert isinstance(found, NetworkPanel)
    return found


async def until(explorer: Explorer, known: Callable[[Snapshot], bool]) -> Snapshot:
    """Return the first snapshot of which ``known`` is true."""
    changed = asyncio.Event()
    explorer.state.observe(lambda _: changed.set(), names="snapshot")
    async with asyncio.timeout(60):
        while not known(explorer.snapshot):
            changed.clear()
            await changed.wait()
    return explorer.snapshot


def found(snapshot: Snapshot) -> bool:
    network = snapshot.network
    return network.table is not None and network.table.complete and network.met


def test_the_strip_has_a_bar_a_layer_and_a_click_leads_to_it(explorer: Explorer) -> None:
    strip = explorer.screen.strip.widget
    assert [(bar["label"], bar["weights"], bar["here"]) for bar in strip.bars] == [
        ("0", 32, True), ("2", 256, False), ("4", 64, False),
    ]  # fmt: skip
    strip.set_state({"chosen": "2.weight"})
    assert explorer.layer == "2.weight"
    assert [bar["here"] for bar in strip.bars] == [False, True, False]
    explorer.amount = 0.5
    assert [bar["pruned"] for bar in strip.bars] == [0.0, 0.5, 0.0]
    assert strip.bars[1]["says"] == "2: 256 weights, 50.0 % pruned"
    strip.set_state({"chosen": "2.weight"})
    strip.set_state({"chosen": "nowhere"})
    assert explorer.layer == "2.weight"


def test_global_pruning_is_seen_on_the_strip(explorer: Explorer) -> None:
    explorer.request(method="global_unstructured", amount=0.5)
    pruned = [bar["pruned"] * bar["weights"] for bar in explorer.screen.strip.widget.bars]
    assert sum(pruned) == pytest.approx(176, abs=0.1)
    assert all(pruned)


def test_a_locked_layer_stays_and_a_hidden_one_takes_the_strip_along() -> None:
    locked = explore(MODEL, lock=["layer"])
    try:
        locked.screen.strip.widget.set_state({"chosen": "2.weight"})
        assert locked.layer == "0.weight"
        assert locked.open_link("hide=layer") is None
        assert "ps-hidden" in locked.screen.strip.widget._dom_classes
    finally:
        locked.close()


def block() -> nn.ModuleDict:
    return nn.ModuleDict({"up": nn.Linear(3, 3), "down": nn.Linear(3, 3)})


def test_many_layers_are_bars_of_blocks() -> None:
    explorer = explore(nn.ModuleDict({"layers": nn.ModuleList(block() for _ in range(40))}))
    try:
        bars = explorer.screen.strip.widget.bars
        assert len(bars) == 40
        seventh = [bars[7][name] for name in ("label", "key", "weights")]
        assert seventh == ["layers.7", "layers.7.up.weight", 18]
    finally:
        explorer.close()


def test_the_table_fills_and_is_what_code_measures() -> None:
    async def scene() -> None:
        explorer = explore(MODEL, data=DATA)
        try:
            person.open_tab(explorer.screen.tabs, "Network")
            shown = await until(explorer, found)
            table, asked = shown.network.table, sensitivity(MODEL, data=DATA, progress=False)
            assert table is not None
            assert {key: cell.drop for key, cell in table.cells.items()} == {
                key: cell.drop for key, cell in asked.cells.items()
            }
            rows = panel(explorer).grid.table["rows"]
            assert [row["label"] for row in rows] == ["0", "2", "4"]
            drop = table.cells["2.weight", 0.9].drop
            assert drop is not None
            assert f"loses {100 * drop:.1f} points" in rows[1]["cells"][8]["says"]
            panel(explorer).grid.set_state({"chosen": ["2.weight", 8]})
            assert (explorer.layer, explorer.amount) == ("2.weight", 0.9)
        finally:
            explorer.close()

    asyncio.run(scene())


def test_a_goal_is_met_applied_as_one_step_and_undone_as_a_whole() -> None:
    async def scene() -> None:
        explorer = explore(MODEL, data=DATA)
        try:
            person.open_tab(explorer.screen.tabs, "Network")
            await until(explorer, found)
            goal = panel(explorer)
            person.choose(goal.rule, "LAMP: one threshold, none emptied")
            shown = await until(explorer, lambda snapshot: found(snapshot) and _rule(snapshot) == "lamp")
            allocation = shown.network.allocation
            assert allocation is not None
            assert allocation.measured is not None
            assert allocation.reached == pytest.approx(0.5, abs=0.005)
            assert f"{100 * allocation.measured.value:.1f} %" in goal.says.value
            person.press(goal.apply)
            assert [step.where for step in explorer.history.done] == ["3 layers"]
            assert sum((mask == 0).sum() for mask in explorer.history.masks().values()) == 176
            explorer.undo()
            assert explorer.history.done == ()
            assert explorer.layer == "0.weight"
        finally:
            explorer.close()

    asyncio.run(scene())


def test_a_pinned_layer_stays_and_the_others_are_solved_again() -> None:
    async def scene() -> None:
        explorer = explore(MODEL, data=DATA)
        try:
            explorer.request(front="network", goal=GoalSpec(0.5, rule="lamp"))
            before = (await until(explorer, found)).network.allocation
            goal = panel(explorer)
            goal.grid.set_state({"pinned": ["4.weight", 0.25]})
            shown = await until(explorer, lambda snapshot: found(snapshot) and snapshot.network.goal.pins)
            after = shown.network.allocation
            assert before is not None
            assert after is not None
            assert after.amounts["4.weight"] == 16
            assert after.reached == pytest.approx(0.5, abs=0.005)
            assert after.amounts["2.weight"] != before.amounts["2.weight"]
            rows = {row["name"]: row for row in goal.grid.table["rows"]}
            assert [rows[name]["pinned"] for name in rows] == [False, False, True]
            assert rows["4.weight"]["share"] == 0.25
            goal.grid.set_state({"pinned": ["4.weight", None]})
            goal.grid.set_state({"pinned": ["nowhere", 0.5]})
            shown = await until(explorer, lambda snapshot: found(snapshot) and not snapshot.network.goal.pins)
            assert shown.network.allocation is not None
            assert shown.network.allocation.amounts == before.amounts
            goal.grid.set_state({"pinned": ["2.weight", 1.0]})
            await until(explorer, lambda snapshot: bool(snapshot.network.goal_problem))
            assert "`pins` alone prune" in goal.message.value
        finally:
            explorer.close()

    asyncio.run(scene())


def test_what_is_left_alone_and_every_rule_side_by_side() -> None:
    async def scene() -> None:
        explorer = explore(MODEL, data=DATA, method="ln_structured")
        try:
            explorer.request(front="network", goal=GoalSpec(0.4, rule="uniform"))
            await until(explorer, found)
            goal = panel(explorer)
            person.type_into(goal.limits, True)
            person.type_into(goal.exclude, "4, 0.weight")
            person.type_into(goal.min_keep, "25 %")
            goal.round_to.set_state({"index": 1})
            asked = explorer.snapshot.network.goal
            assert (asked.exclude, asked.min_keep, asked.round_to) == (("4", "0.weight"), 0.25, 4)
            shown = await until(
                explorer, lambda snapshot: found(snapshot) and len(snapshot.network.rules) == len(RULES)
            )
            for allocation in shown.network.rules.values():
                assert allocation.measured is not None
                assert allocation.amounts == {"0.weight": 0, "2.weight": 12, "4.weight": 0}
                assert f"<b>{100 * allocation.measured.value:.1f} %</b>" in goal.rules.value
            assert [row["fixed"] for row in goal.grid.table["rows"]] == [True, False, True]
            assert goal.front.front["line"]
            assert {dot["rule"] for dot in goal.front.front["dots"]} >= set(RULES)
            other = explore(MODEL, data=DATA)
            assert other.open_link(explorer.query) is None
            assert other.snapshot.network.goal.exclude == ("4", "0.weight")
            other.close()
            person.type_into(goal.exclude, "nowhere")
            await until(explorer, lambda snapshot: bool(snapshot.network.goal_problem))
            assert "`exclude` must name layers such as 0.weight" in goal.message.value
            person.type_into(goal.min_keep, "much")
            assert "`keep at least` must be a number of percent" in goal.message.value
        finally:
            explorer.close()

    asyncio.run(scene())


def test_what_cannot_be_says_the_best_and_takes_it() -> None:
    async def scene() -> None:
        explorer = explore(MODEL, data=DATA)
        try:
            explorer.request(front="network", goal=GoalSpec(0.95, at_most=0.02))
            shown = await until(explorer, lambda snapshot: bool(snapshot.network.goal_problem))
            goal = panel(explorer)
            assert goal.message.value.count("Cannot: ") == 1
            assert "the best is" in goal.message.value
            assert shown.network.allocation is not None
            best = shown.network.allocation.best
            assert best is not None
            person.press(goal.best)
            shown = await until(
                explorer,
                lambda snapshot: found(snapshot) and snapshot.network.goal.target == round(best.reached, 4),
            )
            assert shown.network.goal_problem == ""
            assert shown.network.allocation is not None
            assert shown.network.allocation.measured is not None
            assert shown.network.allocation.measured.choosing <= 0.02
        finally:
            explorer.close()

    asyncio.run(scene())


def test_a_table_that_was_kept_is_offered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sensitivity(MODEL, data=DATA, progress=False, kept=tmp_path)
    monkeypatch.setattr("prunescope.explorer.live.network.user_folder", lambda: tmp_path)
    monkeypatch.setattr(Survey, "tables", lambda self: pytest.fail("measured again"))

    async def scene() -> None:
        explorer = explore(MODEL, data=DATA)
        try:
            person.open_tab(explorer.screen.tabs, "Network")
            table = (await until(explorer, found)).network.table
            assert table is not None
            assert table.count("measured") == 27
        finally:
            explorer.close()

    asyncio.run(scene())


def test_the_criterion_that_is_shown_is_the_tables(explorer: Explorer) -> None:
    explorer.criterion = "taylor"
    table = explorer.sensitivity(amounts=[0.5], progress=False)
    found = explorer.allocate(0.5, rule="lamp", progress=False)
    assert (table.criterion, {spec.criterion for spec in found.specs}) == ("taylor", {"taylor"})
    explorer.apply(found)
    assert sum(int((~mask).sum()) for mask in explorer.history.masks().values()) == 176


def test_measuring_is_paused_and_goes_on_where_it_was() -> None:
    async def scene() -> None:
        explorer = explore(MODEL, data=DATA)
        try:
            person.open_tab(explorer.screen.tabs, "Network")
            await until(explorer, lambda snapshot: snapshot.network.table is not None)
            goal = panel(explorer)
            person.type_into(goal.pause, True)
            shown = await until(explorer, lambda snapshot: not snapshot.network.finding)
            assert shown.network.table is not None
            assert shown.network.paused
            far = shown.network.table.done
            person.type_into(goal.pause, False)
            shown = await until(explorer, found)
            assert shown.network.table is not None
            assert shown.network.table.done == 1.0 >= far
        finally:
            explorer.close()

    asyncio.run(scene())


def test_by_a_function_alone_the_table_is_offered_and_says_what_it_takes() -> None:
    calls: list[int] = []

    def accuracy(model: nn.Module) -> float:
        calls.append(1)
        with torch.no_grad():
            return float((model(DATA[0]).argmax(1) == DATA[1]).double().mean())

    async def scene() -> None:
        explorer = explore(MODEL, evaluate=accuracy)
        try:
            person.open_tab(explorer.screen.tabs, "Network")
            shown = await until(
                explorer, lambda snapshot: bool(snapshot.network.offer) and not snapshot.network.finding
            )
            assert shown.network.offer.startswith("at most 13 calls of `evaluate`")
            assert shown.network.allocation is not None
            assert shown.network.allocation.rule == "lamp"
            assert shown.network.allocation.measured is not None
            goal, before = panel(explorer), len(calls)
            assert goal.measure.description.startswith("Measure: at most 13 calls")
            person.press(goal.measure)
            shown = await until(explorer, found)
            table = shown.network.table
            assert table is not None
            assert (table.examples, table.metric) == (0, "accuracy")
            assert table.count("measured") <= 12
            assert len(calls) > before
            assert goal.grid.table["rows"][1]["cells"][4]["text"] != ""
        finally:
            explorer.close()

    asyncio.run(scene())


def _rule(snapshot: Snapshot) -> str:
    return "" if snapshot.network.allocation is None else snapshot.network.allocation.rule


def test_another_layer_amount_or_tab_keeps_what_was_measured() -> None:
    async def scene() -> None:
        explorer = explore(MODEL, data=DATA)
        try:
            person.open_tab(explorer.screen.tabs, "Network")
            table = (await until(explorer, found)).network.table
            explorer.amount = 0.7
            explorer.layer = "4.weight"
            person.open_tab(explorer.screen.tabs, "Steps")
            person.open_tab(explorer.screen.tabs, "Network")
            assert explorer.snapshot.network.table is table
            explorer.method = "ln_structured"
            other = await until(
                explorer, lambda snapshot: found(snapshot) and _method(snapshot) == "ln_structured"
            )
            assert other.network.table is not table
        finally:
            explorer.close()

    asyncio.run(scene())


def _method(snapshot: Snapshot) -> str:
    return "" if snapshot.network.table is None else snapshot.network.table.method


def test_without_data_there_is_an_allocation_and_a_sentence() -> None:
    async def scene() -> None:
        explorer = explore(MODEL)
        try:
            person.open_tab(explorer.screen.tabs, "Network")
            shown = await until(
                explorer,
                lambda snapshot: snapshot.network.allocation is not None and not snapshot.network.finding,
            )
            assert shown.network.problem.startswith("`data` must be given to measure")
            assert shown.network.allocation is not None
            assert (shown.network.allocation.rule, shown.network.allocation.measured) == ("lamp", None)
            assert "not measured" in panel(explorer).says.value
        finally:
            explorer.close()

    asyncio.run(scene())


def test_what_is_no_number_of_points_is_a_sentence(explorer: Explorer) -> None:
    explorer.request(front="network")
    panel(explorer).at_most.value = "few"
    assert (
        "`lose at most` must be a number of points, such as 1, got &#x27;few&#x27;"
        in panel(explorer).message.value
    )
    panel(explorer).at_most.value = "1.5"
    assert explorer.snapshot.network.goal.at_most == pytest.approx(0.015)


def test_a_link_carries_the_goal(explorer: Explorer) -> None:
    explorer.request(front="network", goal=explorer.snapshot.network.goal.of({"target": 0.8, "rule": "erk"}))
    query = explorer.query
    other = explore(MODEL, data=DATA)
    try:
        assert other.open_link(query) is None
        assert other.snapshot.front == "network"
        assert (other.snapshot.network.goal.target, other.snapshot.network.goal.rule) == (0.8, "erk")
        assert str(other.open_link("goal=[]")).startswith(
            "The link could not be opened: `goal` must be a JSON"
        )
    finally:
        other.close()


def test_an_allocation_in_code_is_one_step_that_plans_and_code_carry(explorer: Explorer) -> None:
    explorer.apply(explorer.allocate(0.5, rule="uniform", progress=False))
    masks, plan = explorer.history.masks(), explorer.plan()
    names: dict[str, object] = {}
    exec(explorer.code(), names)
    pruned = names["apply_pruning"](nn.Sequential(*map(_fresh, MODEL)))  # type: ignore[operator]
    for name, mask in masks.items():
        assert torch.equal(pruned.get_buffer(f"{name}_mask").bool(), mask)
    explorer.reset()
    explorer.load_plan(plan)
    assert [step.where for step in explorer.history.done] == ["3 layers"]
    assert all(torch.equal(mask, masks[name]) for name, mask in explorer.history.masks().items())
    with pytest.raises(RequestError, match="^`target` must be a share"):
        explorer.allocate(1.5)


def _fresh(module: nn.Module) -> nn.Module:
    if not isinstance(module, nn.Linear):
        return nn.ReLU()
    fresh = nn.Linear(module.in_features, module.out_features)
    fresh.load_state_dict(module.state_dict())
    return fresh
