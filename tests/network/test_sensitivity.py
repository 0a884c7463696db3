from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune as oracle
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.core.spec import PruneSpec
from prunescope.measure.states import accuracy
from prunescope.network.asked import SensitivitySpec
from prunescope.network.bisecting import Bisection
from prunescope.network.entry import sensitivity
from prunescope.network.intervals import is_clear, paired_interval
from prunescope.network.replay import Replay
from prunescope.network.survey import Survey
from prunescope.network.table import SensitivityTable
from prunescope.session import Session
from prunescope.sources import demo_source, module_source


class Written(nn.Module):
    """Writes into what its layers return, adds around them, calls one twice, and reads one without a call."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 4)
        self.early = nn.Linear(1, 1, bias=False)
        self.scale = nn.Parameter(torch.linspace(0.6, 1.4, 8)[None])

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.early.weight.sum()  # Read before, and besides, its own call.
        x = self.relu(self.norm(self.stem(x)))
        out = self.block(x)
        out += x
        out = self.relu(self.block(self.relu(out)))
        features = out.mean((2, 3)) * self.scale
        return self.head(features) + self.early(features[:, :1])


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = Written().eval()
    with torch.no_grad():  # Every class is answered now and then.
        model.early.weight.fill_(2.0)
        model.head.weight *= 8
        model.head.bias -= model(torch.randn(500, 1, 6, 6, generator=torch.Generator().manual_seed(1))).mean(
            0
        )
    return model


def data(examples: int = 150) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(examples, 1, 6, 6, generator=generator)
    return inputs, network()(inputs).argmax(1).where(torch.arange(examples) % 5 > 0, torch.tensor(0))


def right_after(model: nn.Module, name: str, method: str, amount: float, data: tuple[Tensor, Tensor]) -> int:
    """Return the right answers of a fresh copy that torch has pruned."""
    copied = copy.deepcopy(model)
    path, _, own = name.rpartition(".")
    module = copied.get_submodule(path)
    if method == "ln_structured":
        oracle.ln_structured(module, own, amount, n=2, dim=0)
    else:
        getattr(oracle, method)(module, own, amount)
    with torch.no_grad():
        return int((copied(data[0]).argmax(1) == data[1]).sum())


@pytest.mark.parametrize("method", ["l1_unstructured", "ln_structured"])
def test_every_cell_has_the_right_answers_of_a_fresh_copy_that_torch_pruned(method: str) -> None:
    model, held_out = network(), data()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    table = sensitivity(model, data=held_out, method=method, amounts=[0.3, 0.6, 0.9], progress=False)
    dense = right_after(model, "stem.weight", "l1_unstructured", 0, held_out)
    assert table.dense == dense / 150
    for (name, amount), cell in table.cells.items():
        if cell.state == "cannot":
            continue
        right = right_after(model, name, method, amount, held_out)
        assert (cell.state, round(150 * cell.drop)) == ("measured", dense - right), (name, amount)
        assert cell.low <= cell.drop <= cell.high
        assert cell.examples == 150
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_prunes_nothing_never_reads_as_no_loss() -> None:
    table = sensitivity(network(), data=data(), method="ln_structured", amounts=[0.1, 0.9], progress=False)
    nothing = table.cells["early.weight", 0.1]  # 10 % of its one row is none.
    assert (nothing.state, nothing.drop, nothing.pruned_units) == ("cannot", None, 0)
    assert "none" in nothing.why
    assert table.cells["early.weight", 0.9].pruned_units == 1


def test_nan_and_an_axis_that_is_not_there_are_cannot_with_a_reason() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 6), nn.Linear(6, 3))
    inputs, targets = data()
    with torch.no_grad():
        model[2].weight[0, 0] = torch.nan
    table = sensitivity(model, data=(inputs, targets % 3), amounts=[0.5], progress=False)
    assert table.cells["2.weight", 0.5].state == "cannot"
    assert "NaN" in table.cells["2.weight", 0.5].why
    by_axis = sensitivity(
        network(), data=data(), method="ln_structured", dim=3, amounts=[0.5], progress=False
    )
    assert "`dim`" in by_axis.cells["head.weight", 0.5].why
    assert by_axis.cells["stem.weight", 0.5].state == "measured"


def test_steps_that_were_carried_out_count() -> None:
    session = Session(module_source(network(), data()))
    session.apply(session.preview(session.resolve(PruneSpec("stem.weight", amount=0.5))))
    table = sensitivity(session, amounts=[0.5], progress=False)
    assert table.dense == accuracy(session, session.applied).fraction
    again = session.preview(session.resolve(PruneSpec("block.0.weight", amount=0.5)))
    expected = table.dense - accuracy(session, again).fraction
    assert table.cells["block.0.weight", 0.5].drop == pytest.approx(expected)
    assert table.cells["stem.weight", 0.5].pruned_units == session.tensor("stem.weight").units(None) // 2


@pytest.mark.parametrize(
    ("method", "criterion"),
    [("l1_unstructured", "taylor"), ("ln_structured", "taylor"), ("ln_structured", "activation")],
)
def test_a_table_is_of_the_criterion_that_is_asked(method: str, criterion: str) -> None:
    session = Session(module_source(network(), data()))
    table = sensitivity(session, method=method, criterion=criterion, amounts=[0.4, 0.8], progress=False)
    assert table.criterion == criterion
    assert SensitivityTable.from_json(table.to_json()).criterion == criterion
    for (name, amount), cell in table.cells.items():
        if cell.state == "cannot":
            continue
        spec = PruneSpec(name, method, amount, criterion=criterion)
        preview = session.preview(session.resolve(spec))
        assert preview.spec.criterion == criterion
        drop = table.dense - accuracy(session, preview).fraction
        assert (cell.drop, cell.pruned_units) == (pytest.approx(drop), preview.pruned_units)
    states = {name: cell.state for (name, amount), cell in table.cells.items() if amount == 0.8}
    assert states["block.0.weight"] == "measured"
    assert (states["scale"] == "cannot") == (criterion == "activation")


def test_a_model_pruned_by_torch_is_surveyed_and_left_as_it_is() -> None:
    model = network()
    oracle.l1_unstructured(model.stem, "weight", 0.5)
    table = sensitivity(model, data=data(), layers=["stem.weight"], amounts=[0.5], progress=False)
    copied = network()
    oracle.l1_unstructured(copied.stem, "weight", 0.5)
    oracle.l1_unstructured(copied.stem, "weight", 0.5)
    right = int((copied(data()[0]).argmax(1) == data()[1]).sum())
    assert round(150 * (table.dense - table.cells["stem.weight", 0.5].drop)) == right


def test_half_of_the_examples_is_told_apart() -> None:
    table = sensitivity(network(), data=data(), amounts=[0.9], progress=False)
    drops = [cell.choosing for cell in table.cells.values() if cell.state == "measured"]
    assert all(drop is not None and round(75 * drop, 6) == round(75 * drop) for drop in drops)


def test_it_comes_little_by_little_and_can_be_stopped() -> None:
    session = Session(demo_source("cnn"))
    survey = Survey(session, SensitivitySpec(amounts=(0.3, 0.9)))
    tables = survey.tables()
    early = next(tables)
    tables.close()
    assert early.done < 1
    assert not early.complete
    assert survey.table().done < 1


def test_stops_where_the_interval_is_clear_of_the_tolerance() -> None:
    session = Session(demo_source("mlp"))
    *_, table = Survey(session, SensitivitySpec(amounts=(0.1, 0.9)), tolerance=0.05).tables()
    sampled = [cell for cell in table.cells.values() if cell.state == "sampled"]
    assert sampled
    for cell in sampled:
        assert cell.examples < 599
        assert cell.low > 0.05 or cell.high < 0.05
    assert table.complete


def test_the_layer_on_screen_comes_first() -> None:
    survey = Survey(Session(demo_source("vit")), SensitivitySpec(amounts=(0.5,)), first="head.weight")
    for table in survey.tables():
        known = [name for (name, _), cell in table.cells.items() if cell.state == "sampled"]
        if known:
            break
    assert known[0] == "head.weight"


def test_replay_gives_what_the_whole_network_gives() -> None:
    model, (inputs, _) = network(), data(8)
    from prunescope.measure import EvalCopy

    replay = Replay(EvalCopy(model))
    for _ in range(2):
        assert torch.equal(replay.record((inputs,)), model(inputs))
        for name, parameter in model.named_parameters():
            weight = torch.zeros_like(parameter)
            expected = torch.func.functional_call(model, {name: weight}, (inputs,))
            replay.check((inputs,), name, weight)
            assert torch.allclose(replay.run((inputs,), name, weight), expected, atol=1e-6), name
            assert torch.allclose(replay.run((inputs,), name, weight), expected, atol=1e-6), name


def test_random_states_are_left_as_they_were() -> None:
    model, held_out = network(), data()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    sensitivity(model, data=held_out, method="random_unstructured", amounts=[0.5], progress=False)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_table_goes_through_json_and_into_rows() -> None:
    table = sensitivity(network(), data=data(), amounts=[0.5, 0.9], n=float("inf"), progress=False)
    again = SensitivityTable.from_json(table.to_json())
    assert again.cells == table.cells
    assert again.rows() == table.rows()
    assert again.n == float("inf")
    assert {row["layer"] for row in table.rows()} == set(table.layers)
    with pytest.raises(RequestError, match="`table`"):
        SensitivityTable.from_json('{"format": "other"}')


def test_ctrl_c_gives_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def run(replay: Replay, *args: object) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise KeyboardInterrupt
        return original(replay, *args)

    original = Replay.run
    monkeypatch.setattr(Replay, "run", run)
    monkeypatch.setattr("prunescope.network.survey.REST", 0.0)
    table = sensitivity(network(), data=data(), amounts=[0.5, 0.9], progress=False)
    assert 0 < len(table.cells) < len(table.layers) * 2
    assert "Ctrl-C" in table.problem


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amounts": []}, "amounts"),
        ({"amounts": [1.5]}, "amounts"),
        ({"amounts": 0.5}, "amounts"),
        ({"method": "global_unstructured"}, "method"),
        ({"method": "none"}, "method"),
        ({"layers": ["nowhere"]}, "layer"),
        ({"data": None}, "data"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_value_that_cannot_be_met_is_named(changes: dict[str, object], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        sensitivity(network(), **{"data": data(), "progress": False, **changes})
    assert caught.value.parameter == field


def test_data_of_one_class_tells_nothing() -> None:
    inputs, targets = data()
    with pytest.raises(RequestError, match="2 classes"):
        sensitivity(network(), data=(inputs, torch.zeros_like(targets)), progress=False)


# A person's own measure.


def test_bisection_finds_the_knee_in_few_calls() -> None:
    inputs, targets = data()
    calls = 0

    def accuracy(model: nn.Module) -> float:
        nonlocal calls
        calls += 1
        with torch.no_grad():
            return float((model(inputs).argmax(1) == targets).float().mean())

    session = Session(module_source(network(), evaluate=accuracy))
    bisection = Bisection(session, tolerance=0.1)
    tables = bisection.tables()
    assert next(tables).seconds_left > 0
    *_, table = tables
    assert calls <= bisection.most_calls == 1 + 5 * 4
    assert table.metric == "accuracy"
    full = sensitivity(network(), data=data(), progress=False)
    for (layer, amount), cell in table.cells.items():
        if cell.state != "cannot":
            assert cell.drop == pytest.approx(full.cells[layer, amount].drop, abs=1e-6)


def test_of_a_loss_less_is_better() -> None:
    inputs, targets = data()

    def loss(model: nn.Module) -> float:
        with torch.no_grad():
            return float(F.cross_entropy(model(inputs), targets))

    table = sensitivity(network(), evaluate=loss, amounts=[0.99], layers=["head.weight"], progress=False)
    pruned = table.cells["head.weight", 0.99]
    assert not table.higher_is_better
    assert pruned.drop > 0


def test_an_evaluate_that_raises_keeps_what_was_measured() -> None:
    calls = 0

    def score(model: nn.Module) -> float:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise OSError("disk gone")
        return 1.0

    table = sensitivity(network(), evaluate=score, progress=False)
    assert len(table.cells) == 2
    assert "disk gone" in table.problem


# Intervals.


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 500))
def test_intervals_hold_the_drop_and_shrink_with_more_examples(worse: int, better: int, same: int) -> None:
    n = worse + better + same
    low, high = paired_interval(worse, better, n)
    if n:
        assert low <= (worse - better) / (n + 2) <= high
        more = paired_interval(4 * worse, 4 * better, 4 * n)
        assert more[1] - more[0] <= high - low
    assert -1 <= low <= high <= 1


def test_a_clear_cell() -> None:
    assert is_clear(60, 0, 64, 0.01)
    assert not is_clear(1, 0, 64, 0.01)
    assert is_clear(0, 0, 10_000, 0.01)
