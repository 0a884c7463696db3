"""A person's own `evaluate`: numbers by name, beside the slider, whatever the function does."""

import asyncio
import math
import random
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.utils.prune as oracle
from torch import nn

from prunescope import explore
from prunescope.core.errors import RequestError
from prunescope.explorer.live import runner
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.measure import Metrics
from prunescope.measure.compare import Choice, Comparing
from prunescope.measure.states import question
from prunescope.session import Session
from prunescope.sources import module_source
from tests.support.person import settled


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.5), nn.Linear(4, 2)).train()


def zeros(model: nn.Module) -> float:
    return float(sum((parameter == 0).sum() for parameter in model.parameters()))


def answered(snapshot: Snapshot) -> object:
    return snapshot.metric.after or snapshot.metric.problem


class Gate:
    """An `evaluate` that does not answer before it is let go; counts its calls."""

    def __init__(self) -> None:
        self.entered, self.let_go, self._beside = (threading.Event() for _ in range(3))
        self.calls: list[int] = []
        self.most = self._inside = 0

    def __call__(self, model: nn.Module) -> float:
        self._inside += 1
        if self._inside > 1:
            self._beside.set()
        self.most = max(self.most, self._inside)
        self.calls.append(int(zeros(model)))
        self.entered.set()
        self.let_go.wait(30)
        found = zeros(model)
        self._beside.wait(0.01)  # Another call, if one may be made.
        self._inside -= 1
        return found


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.let_go.set()


def test_it_is_called_with_a_pruned_copy_in_eval_mode() -> None:
    model = network()
    seen: list[nn.Module] = []

    def measure(given: nn.Module) -> dict[str, float]:
        seen.append(given)
        nn.init.zeros_(given[0].weight)
        return {"zeros": zeros(given), "grad": float(torch.is_grad_enabled())}

    explorer = explore(model, evaluate=measure, layer="2", amount=3)
    try:
        snapshot = explorer.snapshot
        assert snapshot.metric.before == Metrics({"zeros": 32, "grad": 1})
        assert snapshot.metric.after == Metrics({"zeros": 35, "grad": 1})
        assert "zeros" in explorer.screen.readout.numbers.value
        assert "32 → 35" in explorer.screen.readout.numbers.value
        assert all(given is not model and not given.training for given in seen)
        assert isinstance(seen[1][2].weight, nn.Parameter)
        assert model.training
        assert zeros(model) == 0
        explorer.apply()
        assert "zeros 35, grad 1" in explorer.screen.steps.table.value
        explorer.amount = 1
        assert explorer.snapshot.metric.after.values["zeros"] == 36
        assert explorer.snapshot.metric.before.values["zeros"] == 32
    finally:
        explorer.close()


def test_a_single_number_goes_by_the_functions_name() -> None:
    explorer = explore(network(), evaluate=zeros, amount=0)
    try:
        assert explorer.snapshot.metric.after == Metrics({"zeros": 0})
        assert explorer.accuracy is None
        assert explorer.effect is None
        assert "Held-out" not in explorer.screen.readout.numbers.value
    finally:
        explorer.close()


def outputs(model: nn.Module) -> float:
    with torch.no_grad():
        return float(model(torch.linspace(-1, 1, 4 * 3).reshape(3, 4)).square().sum())


def test_the_copy_answers_as_torch_would_tied_and_pruned_before() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    oracle.l1_unstructured(model[2], "bias", 2)
    explorer = explore(model, evaluate=outputs, layer="0", amount=0.5)
    try:
        found = explorer.snapshot.metric.after.values["outputs"]
        oracle.l1_unstructured(model[0], "weight", 0.5)
        assert found == pytest.approx(outputs(model))
    finally:
        explorer.close()


def test_an_lstm_is_pruned_where_it_reads_its_weights() -> None:
    def sum_of(model: nn.Module) -> float:
        with torch.no_grad():
            return float(model(torch.ones(2, 3, 4))[0].abs().sum())

    model = nn.LSTM(4, 3, batch_first=True)
    explorer = explore(model, evaluate=sum_of, layer="weight_ih_l0", amount=1.0)
    try:
        found = explorer.snapshot.metric.after.values["sum_of"]
        nn.init.zeros_(model.weight_ih_l0)
        assert found == pytest.approx(sum_of(model))
    finally:
        explorer.close()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (math.nan, "must return a number or a dict of numbers by name, got NaN."),
        ({}, "got an empty dict."),
        ("good", "got str."),
        (ZeroDivisionError("by nothing"), "`evaluate` raised ZeroDivisionError: by nothing"),
        (SystemExit(1), "`evaluate` raised SystemExit: 1"),
    ],
)
def test_a_bad_answer_is_one_sentence_and_the_picture_stays(answer: object, sentence: str) -> None:
    good = True

    def evaluate(model: nn.Module) -> object:
        if good:
            return 1.0
        if isinstance(answer, BaseException):
            raise type(answer)(*answer.args)  # One that is raised has a traceback, and all that is in it.
        return answer

    explorer = explore(network(), evaluate=evaluate, amount=2)
    try:
        good = False
        explorer.amount = 5
        assert explorer.preview.pruned_units == 5
        assert sentence in explorer.snapshot.metric.problem
        assert sentence in explorer.screen.readout.problem.value
        assert "1 → not measured" in explorer.screen.readout.numbers.value
        good = True
        explorer.amount = 6
        assert explorer.snapshot.metric.problem == ""
        assert explorer.snapshot.metric.after == Metrics({"evaluate": 1.0})
    finally:
        explorer.close()


def test_the_picture_comes_first_and_only_the_last_of_a_drag_is_asked(gate: Gate) -> None:
    async def scene() -> None:
        explorer = explore(network(), evaluate=gate, amount=0)
        await asyncio.to_thread(gate.entered.wait, 10)
        for count in (1, 2, 3, 4):
            explorer.amount = count
            assert explorer.preview.pruned_units == count
            await asyncio.sleep(0)
        assert "… → …" in explorer.screen.readout.numbers.value
        assert gate.calls == [0]
        gate.let_go.set()
        snapshot = await settled(explorer, answered)
        assert (snapshot.metric.before, snapshot.metric.after) == (
            Metrics({"evaluate": 0}),
            Metrics({"evaluate": 4}),
        )
        assert gate.calls == [0, 4]
        explorer.close()

    asyncio.run(scene())


def test_one_that_hangs_is_reported_not_called_again_and_heard_when_it_answers(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PATIENCE_SECONDS", 0.2)

    async def scene() -> None:
        explorer = explore(network(), evaluate=gate, amount=1)
        snapshot = await settled(explorer, answered)
        sentence = "`evaluate` has been running for over 0.2 s. Python cannot interrupt it"
        assert sentence in snapshot.metric.problem
        explorer.amount = 3
        assert explorer.snapshot.metric.problem == ""
        assert explorer.preview.pruned_units == 3
        assert sentence in (await settled(explorer, answered)).metric.problem
        assert gate.calls == [0]
        gate.let_go.set()
        snapshot = await settled(explorer, lambda snapshot: snapshot.metric.after)
        assert snapshot.metric.problem == ""
        assert snapshot.metric.after == Metrics({"evaluate": 3})
        assert gate.calls == [0, 3]
        explorer.close()

    asyncio.run(scene())


def test_one_that_hangs_without_an_event_loop(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PATIENCE_SECONDS", 0.1)
    explorer = explore(network(), evaluate=gate, amount=1)
    try:
        explorer.amount = 2
        assert "has been running for over 0.1 s" in explorer.snapshot.metric.problem
        assert gate.entered.wait(20)
        assert gate.calls == [0]
    finally:
        explorer.close()


def drawing(model: nn.Module) -> float:
    random.random()
    np.random.rand()  # noqa: NPY002
    return float(torch.rand(1))


def states() -> list[object]:
    return [random.getstate(), np.random.get_state()[2], torch.get_rng_state().tolist()]  # noqa: NPY002


@pytest.mark.parametrize("loop", [True, False])
def test_the_global_random_states_are_left_alone(loop: bool) -> None:
    async def scene() -> None:
        model = network()
        before = states()
        explorer = explore(model, evaluate=drawing, amount=1)
        snapshot = await settled(explorer, answered) if loop else explorer.snapshot
        assert snapshot.metric.before == snapshot.metric.after
        assert states() == before
        explorer.close()

    if loop:
        asyncio.run(scene())
    else:
        with pytest.raises(StopIteration):
            scene().send(None)


def test_what_a_cell_draws_meanwhile_is_not_taken_back(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = iter(range(100))
    monkeypatch.setattr(runner, "_cells_run", lambda: next(cells))

    async def scene() -> None:
        explorer = explore(network(), evaluate=gate, amount=1)
        await asyncio.to_thread(gate.entered.wait, 10)
        torch.rand(1)
        after_the_cell = states()
        gate.let_go.set()
        await settled(explorer, answered)
        assert states() == after_the_cell
        explorer.close()

    asyncio.run(scene())


def test_a_model_trained_meanwhile_is_not_mistaken(gate: Gate) -> None:
    async def scene() -> None:
        model = network()
        explorer = explore(model, evaluate=gate, amount=1)
        await asyncio.to_thread(gate.entered.wait, 10)
        with torch.no_grad():
            model[0].weight.mul_(2)
        gate.let_go.set()
        snapshot = await settled(explorer, answered)
        assert "`evaluate` was not evaluated: the model has changed since" in snapshot.metric.problem
        explorer.amount = 2
        assert (await settled(explorer, answered)).metric.after == Metrics({"evaluate": 2})
        explorer.close()

    asyncio.run(scene())


def test_a_model_that_cannot_be_copied() -> None:
    model = network()
    model.lock = threading.Lock()
    explorer = explore(model, evaluate=zeros)
    try:
        assert "`evaluate` cannot be called: `model` cannot be copied" in explorer.snapshot.metric.problem
        assert explorer.preview.pruned_units > 0
    finally:
        explorer.close()


DATA = torch.zeros(4, 8), torch.tensor([0, 1, 1, 0])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"evaluate": 0.5}, "`evaluate` must be a function .* got float"),
        ({"evaluate": zeros, "data": DATA}, "`evaluate` replaces `data`: give one of them"),
        ({"classes": ["a", "b"]}, "`classes` names the targets in `data`: give both"),
        ({"classes": ["a"], "data": DATA}, "`classes` must name all classes 0 to 1, got 1 names"),
        ({"classes": "ab", "data": DATA}, "`classes` must be a list of names, got 'ab'"),
        ({"classes": [1, 2], "data": DATA}, "`classes` must be a list of names"),
    ],
)
def test_measures_that_cannot_be(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        explore(network(), **given)
    with pytest.raises(RequestError, match="needs your own model"):
        explore(**given)
    with pytest.raises(RequestError, match="a checkpoint only has weights and cannot be run"):
        explore("no.safetensors", **given)


def test_a_comparison_asks_it_of_both_sides() -> None:
    explorer = explore(network(), evaluate=lambda model: {"zeros": zeros(model)}, layer="0", amount=0.3)
    try:
        rows = {row.name: row for row in explorer.compare({"method": "ln_structured"}).rows}
        assert rows["zeros"][1:] == ("10", "8"), "10 of 32 weights; 1 of 4 outputs has 8"
        assert "Held-out accuracy (95 %)" not in rows
    finally:
        explorer.close()


def test_the_comparison_on_the_screen_asks_it_after_what_is_shown_and_never_two_at_a_time(gate: Gate) -> None:
    async def compared() -> None:
        explorer = explore(network(), evaluate=gate, layer="0", amount=4)
        try:
            explorer.request(comparing=Comparing(b=Choice(seed=1), shown=True))
            shown = await settled(explorer, lambda snapshot: snapshot.comparison)
            assert ("evaluate", "…", "…") in shown.comparison.rows
            await asyncio.to_thread(gate.entered.wait, 20)
            explorer.request(comparing=Comparing(b=Choice(method="random_unstructured"), shown=True))
            gate.let_go.set()
            found = await settled(explorer, lambda now: now.comparison and now.comparison.b.measure)
            assert ("evaluate", "4", "4") in found.comparison.rows
            assert gate.most == 1
        finally:
            explorer.close()

    asyncio.run(compared())


def test_of_two_that_wait_for_the_end_of_a_call_one_waits_for_the_other(gate: Gate) -> None:
    async def both() -> None:
        calls, session = runner.MetricRunner(), Session(module_source(network(), evaluate=gate))

        async def ask() -> None:
            await calls.end(print)
            await calls.ask(question(session), print)

        asked = [asyncio.ensure_future(ask()) for _ in range(3)]
        await asyncio.to_thread(gate.entered.wait, 20)
        gate.let_go.set()
        await asyncio.gather(*asked)
        assert (len(gate.calls), gate.most) == (3, 1)

    asyncio.run(both())


def test_a_comparison_says_why_it_has_no_answer() -> None:
    async def compared() -> None:
        explorer = explore(network(), evaluate=failing, layer="0", amount=4)
        try:
            explorer.request(comparing=Comparing(shown=True))
            shown = await settled(
                explorer, lambda snapshot: snapshot.comparison and snapshot.comparison.problems
            )
            assert ("failing", "not measured", "not measured") in shown.comparison.rows
            assert (
                "`evaluate` raised ValueError: no such file"
                in explorer.screen.panels["compare"].message.value
            )
        finally:
            explorer.close()

    asyncio.run(compared())
    explorer = explore(network(), evaluate=failing, layer="0")
    try:
        assert "no such file" in explorer.compare().problems["metric"]
    finally:
        explorer.close()


def failing(model: nn.Module) -> float:
    raise ValueError("no such file")


def test_code_reads_the_metric_before_and_after_what_is_shown() -> None:
    asked: list[float] = []

    def measure(model: nn.Module) -> dict[str, float]:
        asked.append(zeros(model))
        return {"zeros": asked[-1]}

    explorer = explore(network(), evaluate=measure, layer="0", method="l1_unstructured", amount=8)
    try:
        for _ in range(2):
            before, after = explorer.numbers
            assert (before.values, after.values) == ({"zeros": 0.0}, {"zeros": 8.0})
        assert asked == [0.0, 8.0]  # Once each.
        explorer.amount = 9
        assert explorer.numbers[1].values == {"zeros": 9.0}
        assert explorer.accuracy is None
    finally:
        explorer.close()


def test_code_that_reads_numbers_is_told_why_there_are_none() -> None:
    explorer = explore(network(), evaluate=lambda model: math.nan)
    try:
        with pytest.raises(RequestError, match="`evaluate`"):
            assert explorer.numbers
    finally:
        explorer.close()
    without = explore(network())
    assert without.numbers is None
    without.close()
