from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from prunescope.core.spec import PruneSpec
from prunescope.network import SensitivitySpec, Survey, sensitivity
from prunescope.network.demos import SHIPPED_METHODS
from prunescope.network.estimates import Estimates
from prunescope.network.keep import SHIPPED, find, fingerprint, keep
from prunescope.network.layers import layers_of
from prunescope.network.table import Cell
from prunescope.session import Session
from prunescope.sources import demo_source, module_source
from prunescope.sources.demos import DEMOS


def session(scale: float = 1.0, examples: int = 40) -> Session:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    with torch.no_grad():
        model[0].weight *= scale
    return Session(module_source(model, (torch.randn(examples, 6), torch.arange(examples) % 3)))


def test_a_table_is_read_again_and_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sensitivity(session(), amounts=[0.5], progress=False, kept=tmp_path)
    monkeypatch.setattr(Survey, "tables", lambda self: pytest.fail("measured again"))
    assert sensitivity(session(), amounts=[0.5], progress=False, kept=tmp_path).cells == first.cells


def test_fingerprints_tell_what_matters_apart() -> None:
    stepped = session()
    stepped.apply(stepped.preview(stepped.resolve(PruneSpec("0.weight", amount=0.5))))
    marks = [
        fingerprint(session()),
        fingerprint(session(scale=1.001)),
        fingerprint(session(examples=41)),
        fingerprint(session(), SensitivitySpec(method="ln_structured")),
        fingerprint(session(), SensitivitySpec(method="ln_structured", n=1)),
        fingerprint(session(), SensitivitySpec(amounts=[0.5])),
        fingerprint(session(), SensitivitySpec(layers=["0.weight"])),
        fingerprint(stepped),
    ]
    assert len(set(marks)) == len(marks)
    assert (
        fingerprint(session()) == fingerprint(session(), SensitivitySpec(n=1)) == marks[0]
    )  # L1 reads no norm.


def test_what_is_damaged_or_not_complete_is_not_kept(tmp_path: Path) -> None:
    table = sensitivity(session(), amounts=[0.5], progress=False)
    assert not keep("a", table.with_problem("stopped"), tmp_path)
    assert find("a", [tmp_path]) is None
    (tmp_path / "b.json").write_text("{")
    assert find("b", [tmp_path, tmp_path / "nowhere"]) is None
    assert not keep("c", table, tmp_path / "b.json" / "inside")


def test_the_demos_tables_ship() -> None:
    for key in DEMOS:
        for method in SHIPPED_METHODS:
            found = find(fingerprint(Session(demo_source(key)), SensitivitySpec(method=method)))
            assert found is not None, (key, method)
            assert found.complete
            assert found.examples == 599
    assert len(list(SHIPPED.glob("*.json"))) == len(DEMOS) * len(SHIPPED_METHODS)


def test_a_shipped_table_is_what_is_measured() -> None:
    exploration = Session(demo_source("mlp"))
    found = find(fingerprint(exploration))
    assert found is not None
    measured = sensitivity(exploration, progress=False)
    for key, cell in measured.cells.items():
        assert abs(cell.drop - found.cells[key].drop) <= 1 / 599 + 1e-9, key  # A tie may fall otherwise.


def test_estimates_are_shown_where_they_have_earned_it() -> None:
    layers = layers_of(session(), PruneSpec(""))
    amounts = [i / 20 for i in range(1, 20)]
    asked = [(layer, a, round(a * layer.units)) for layer in layers for a in amounts]
    estimates = Estimates(asked)
    known = {
        (layer.name, a): Cell("sampled", estimates.energy((layer.name, a)) / 2) for layer, a, _ in asked[::2]
    }
    found = estimates.cells(known)
    assert set(found) == {(layer.name, a) for layer, a, _ in asked[1::2]}
    for key, cell in found.items():
        assert cell.state == "estimated"
        assert cell.drop == pytest.approx(estimates.energy(key) / 2, abs=0.05)
    against = {key: Cell("sampled", -(cell.drop or 0)) for key, cell in known.items()}
    assert estimates.cells(against) == {}
    assert estimates.cells(dict(list(known.items())[:4])) == {}
