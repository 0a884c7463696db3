from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from torch import nn

from prunescope.figures.allocation import draw_allocation, draw_front, rules_figure
from prunescope.figures.sensitivity import SensitivityMap, row_edges, sensitivity_figure
from prunescope.figures.style import DARK, LIGHT
from prunescope.network import Cell, SensitivityTable, allocate


def table(**cells: Cell) -> SensitivityTable:
    known = {("a.weight", 0.3): Cell("measured", 0.01), ("a.weight", 0.6): Cell("measured", 0.2)}
    more = {("b.weight", {"low": 0.3, "high": 0.6}[name]): cell for name, cell in cells.items()}
    return SensitivityTable(("a.weight", "b.weight"), (0.3, 0.6), {**known, **more}, weights=(300, 100))


def drawn(shown: SensitivityTable, **given: object) -> SensitivityMap:
    found = SensitivityMap(Figure().add_subplot(), shown, LIGHT)
    found.show(shown, **given)
    return found


def test_rows_are_as_high_as_their_share_and_run_downwards() -> None:
    heights = np.diff(row_edges([300, 100]))
    assert heights[0] > heights[1] > 0.2
    assert heights.sum() == pytest.approx(1)
    bottom, top = drawn(table()).axes.get_ylim()
    assert bottom > top


def test_colours_are_drops_clipped_at_the_tolerance() -> None:
    shown = table(low=Cell("measured", -0.02))
    values = drawn(shown, tolerance=0.1).mesh.get_array()
    assert values[0].tolist() == pytest.approx([0.1, 1.0])
    assert values[1][0] == pytest.approx(-0.2)
    assert np.ma.getmaskarray(values)[1][1] or np.isnan(values[1][1])


def test_states_are_told_apart() -> None:
    shown = table(low=Cell("estimated", 0.01), high=Cell("cannot", why="no"))
    cannot, estimated = drawn(shown).axes.collections[1:]
    assert (len(cannot.get_paths()), len(estimated.get_paths())) == (1, 1)
    assert estimated.get_hatch()
    assert not cannot.get_hatch()


def test_showing_again_replaces_what_was_shown() -> None:
    first = table(low=Cell("estimated", 0.01), high=Cell("cannot"))
    found = drawn(first)
    for _ in range(3):
        found.show(table(low=Cell("sampled", 0.01), high=Cell("measured", 0.02)))
    assert len(found.axes.collections) == 3
    assert [len(each.get_paths()) for each in found.axes.collections[1:]] == [0, 0]


def test_the_allocation_is_a_line_of_steps() -> None:
    found = drawn(table(), shares={"a.weight": 0.2, "b.weight": 0.5})
    assert found.steps.get_xdata().tolist() == [0.2, 0.2, 0.5, 0.5]
    found.show(table())
    assert len(found.steps.get_xdata()) == 0


def test_a_point_is_a_cell() -> None:
    found = drawn(table())
    assert found.cell_at(0.31, 0.05) == ("a.weight", 0.3)
    assert found.cell_at(0.6, 0.95) == ("b.weight", 0.6)
    assert found.cell_at(0.99, 0.5) is None
    assert found.cell_at(0.3, 1.5) is None


def test_five_hundred_layers_are_named_where_there_is_room() -> None:
    layers = tuple(f"block{i}.conv.weight" for i in range(500))
    many = SensitivityTable(layers, (0.5,), {}, weights=(9,) * 500)
    axes = sensitivity_figure(many, theme=DARK).axes[0]
    assert 5 < len(axes.get_yticklabels()) < 60


def test_bars_are_what_goes_and_what_stays() -> None:
    net = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 2))
    found = allocate(net, 0.5, rule="uniform")
    axes = Figure().add_subplot()
    draw_allocation(axes, found, LIGHT)
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == pytest.approx([0.5, 0.5, 0.5, 0.5])
    assert "not measured" in found.figure().axes[0].get_title(loc="left")


def test_rules_stand_side_by_side() -> None:
    net = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 2))
    figure = rules_figure([allocate(net, 0.5, rule=rule) for rule in ("uniform", "lamp", "erk")])
    assert [axes.get_title().split("\n") for axes in figure.axes] == [
        ["uniform", "not measured"], ["lamp", "not measured"], ["erk", "not measured"],
    ]  # fmt: skip


def test_the_front_is_predicted_and_the_dots_are_measured() -> None:
    axes = Figure().add_subplot()
    shares, drops = np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.1, 0.9])
    draw_front(axes, shares, drops, LIGHT, measured=[(0.5, 0.2, "lamp")], at=0.5, at_most=0.05)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["predicted", "measured"]
    assert axes.lines[1].get_xydata().tolist() == [[0.5, 0.2]]
