"""What somebody else may add from outside the package: a method and a panel, in page, links and code.

A format from outside is opened, shown, linked and saved in ``tests/sources/test_formats.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

import ipywidgets as widgets
import pytest
import torch
from torch import Tensor, nn

from prunescope import explore, prune
from prunescope.core.methods import METHODS, Context, Method, register
from prunescope.core.scores import Scores
from prunescope.core.tensor import PrunableTensor
from prunescope.explorer.panels import PANELS, Panel
from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState


class Largest(prune.L1Unstructured):
    """Prunes the weights of the largest magnitude, which no one should."""

    def rank(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> prune.Ranking:
        return super().rank(t, default_mask, t.abs().max() - t.abs())


def largest_unstructured(module: nn.Module, name: str, amount: int | float) -> nn.Module:
    """Prune the largest weights of a parameter."""
    weight = getattr(module, name).detach().abs()
    return prune.l1_unstructured(module, name, amount, importance_scores=weight.max() - weight)


def closeness(tensor: PrunableTensor, context: Context) -> Scores:
    """Return how near each weight is to the largest."""
    return METHODS["l1_unstructured"].scores(tensor, context)  # type: ignore[misc, return-value]


class Notes(Panel):
    """Counts what is pruned, in words of its own."""

    name = "notes"
    title = "Notes"

    def __init__(self, state: ExplorerState) -> None:
        super().__init__(state)
        self.more = widgets.Button(description="One more")
        self.said = widgets.HTML()
        self.press(self.more, lambda: state.request(amount=state.preview.asked_units + 1))
        self.widget = widgets.VBox([self.more, self.said])

    def render(self, snapshot: Snapshot) -> None:
        self.said.value = f"{snapshot.preview.pruned_units} by {snapshot.preview.spec.method}"


@pytest.fixture
def added() -> Iterator[None]:
    register(
        Method("largest_unstructured", "Largest first", _build, closeness, function=largest_unstructured)
    )
    PANELS.append(Notes)
    yield
    PANELS.remove(Notes)
    del METHODS["largest_unstructured"]


def _build(spec: object) -> prune.BasePruningMethod:
    return Largest(spec.amount)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("added")
def test_a_method_and_a_panel_from_outside_are_as_good_as_ours() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3))
    explorer, other = explore(model), explore(model)
    try:
        controls = explorer.screen.controls
        assert ("Largest first", "largest_unstructured") in controls.method.options
        controls.method.value = "largest_unstructured"
        explorer.amount = 2
        weight = model[0].weight.detach().abs()
        assert sorted(weight[~explorer.preview.mask]) == sorted(weight.flatten())[-2:]

        explorer.request(front="notes")
        notes = explorer.screen.panels["notes"]
        assert explorer.screen.in_front == "notes"
        assert notes.said.value == "2 by largest_unstructured"
        notes.more.click()
        assert (explorer.amount, notes.said.value) == (3, "3 by largest_unstructured")

        assert other.open_link(explorer.query + "&hide=notes") is None
        assert (other.method, other.amount) == ("largest_unstructured", 3)
        assert "Notes" not in other.screen.tabs.titles

        explorer.apply()
        names: dict[str, object] = {}
        code = explorer.code()
        assert "tests.test_seams.largest_unstructured(" in code
        exec(code, names)
        fresh = nn.Sequential(nn.Linear(4, 3))
        fresh.load_state_dict(model.state_dict())
        pruned = names["apply_pruning"](fresh)  # type: ignore[operator]
        assert torch.equal(pruned[0].weight_mask.bool(), explorer.history.masks()["0.weight"])
    finally:
        explorer.close()
        other.close()
