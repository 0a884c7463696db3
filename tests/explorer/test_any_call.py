"""Whatever is passed to what is public: it is done, or refused by `RequestError` or Python's `TypeError`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from torch import nn

from prunescope import Explorer, RequestError, allocate, explore, sensitivity

ANYTHING: list[Any] = [
    None,
    True,
    -1,
    10**30,
    1.5,
    math.nan,
    math.inf,
    "",
    "\x00\ud800",
    "x" * 5000,
    b"x",
    [],
    [None],
    ["weight"],
    {},
    {"a": 1},
    {1: {2}},
    object(),
    torch.ones(2),
    torch.ones(0, 3),
    np.ones(2),
    range(3),
    float,
    lambda *_: 1,
    Path("/nowhere/at/all"),
]
pytestmark = pytest.mark.slow

MODEL = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
REFUSED = (RequestError, TypeError)

FIELDS = (
    *("layer", "method", "amount", "n", "dim", "seed", "criterion", "keep_channels", "prune_channels"),
    *("view", "model", "comparing", "front", "exporting", "goal", "no_such_field"),
)
CALLS: dict[str, Callable[[Explorer, Any], object]] = {
    **{f"ask {name}": lambda e, it, name=name: e.ask(**{name: it}) for name in FIELDS},
    "apply": lambda e, it: e.apply(it),
    "jump": lambda e, it: e.jump(it),
    "keep_plan": lambda e, it: e.keep_plan(it),
    "rename_plan": lambda e, it: e.rename_plan(it, it),
    "rename_plan to": lambda e, it: e.rename_plan("kept", it),
    "remove_plan": lambda e, it: e.remove_plan(it),
    "apply_plan": lambda e, it: e.apply_plan(it),
    "compare": lambda e, it: e.compare(it),
    "compare with": lambda e, it: e.compare(None, it),
    "load_plan": lambda e, it: e.load_plan(it),
    "plan": lambda e, it: e.plan(it),
    "code": lambda e, it: e.code(it),
    "save what": lambda e, it: e.save(it, "/nowhere/at/all/x"),
    "save where": lambda e, it: e.save("plan", it),
    "open_link": lambda e, it: e.open_link(it),
    "allocate": lambda e, it: e.allocate(it),
    "pruned_model": lambda e, it: e.pruned_model(permanent=it),
    "sensitivity of": lambda e, it: sensitivity(it),
    "allocate of": lambda e, it: allocate(it, 0.5),
}


def done_or_refused(call: Callable[[], object]) -> str | None:
    """Return what else ``call`` raises, None if it does not."""
    try:
        call()
    except REFUSED:
        return None
    except BaseException as problem:
        return f"{type(problem).__name__}: {str(problem)[:100]}"
    return None


class NoScreen:
    """A screen of nothing; to draw it took all of the test's time."""

    def __init__(self, _state: object) -> None:
        self.widget = widgets.HTML()

    def close(self) -> None:
        pass


@pytest.fixture
def _no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunescope.explorer.explorer.Screen", NoScreen)


@pytest.mark.usefixtures("_no_screen")
@pytest.mark.parametrize("name", CALLS)
def test_of_an_explorer(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    explorer = explore(MODEL, amount=0.5)
    explorer.apply()
    explorer.keep_plan("kept")
    raised = {repr(it)[:50]: done_or_refused(lambda it=it: CALLS[name](explorer, it)) for it in ANYTHING}
    explorer.reset()
    explorer.layer, explorer.method, explorer.amount = "0.weight", "l1_unstructured", 0.25
    assert explorer.preview.pruned_weights == 3
    explorer.close()
    assert {it: what for it, what in raised.items() if what} == {}


@pytest.mark.usefixtures("_no_screen")
@pytest.mark.parametrize("name", list(inspect.signature(explore).parameters))
def test_of_explore(name: str) -> None:
    def call(it: Any) -> None:
        asked = {name: it} if name == "model" else {"model": MODEL, name: it}
        explore(**asked).close()

    raised = {repr(it)[:50]: done_or_refused(lambda it=it: call(it)) for it in ANYTHING}
    assert {it: what for it, what in raised.items() if what} == {}


@pytest.mark.parametrize("data", [[], [None], range(3)])
def test_data_that_cannot_be_read_leave_no_widget(data: Any) -> None:
    with pytest.raises(RequestError, match="`data`"):
        explore(MODEL, data=data)
