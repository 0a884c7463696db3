"""Every control of the page says what it is, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator

import ipywidgets as widgets
import pytest
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.glossary import GLOSSARY


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    explorer = explore(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 3)))
    yield explorer
    explorer.close()


def controls(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    """Yield what a person can turn or press, and that has a label, below ``widget``."""
    if getattr(widget, "description", "") and not isinstance(widget, widgets.HTML):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from controls(child)


def test_every_control_with_a_label_has_a_tooltip(explorer: Explorer) -> None:
    found = list(controls(explorer))
    labels = {control.description for control in found}
    assert labels >= {
        "Layer",
        "Amount",
        "Heatmap",
        "Prune %",
        "File",
        "As text",
        "Compare",
        "Kept plan",
        "Apply",
    }
    assert [control.description for control in found if not control.tooltip] == []


def test_every_entry_of_the_glossary_is_shown(explorer: Explorer) -> None:
    assert set(GLOSSARY.values()) - {control.tooltip for control in controls(explorer)} == set()


def test_an_entry_is_one_plain_sentence() -> None:
    for term, says in GLOSSARY.items():
        assert says[0].isupper(), term
        assert says.endswith("."), term
        assert ". " not in says, term
    assert len(set(GLOSSARY.values())) == len(GLOSSARY)


def test_the_tooltip_of_the_criterion_says_what_it_is() -> None:
    explorer = explore(nn.Linear(4, 3))
    try:
        assert explorer.screen.controls.criterion.tooltip == "The weights themselves, as torch does."
    finally:
        explorer.close()
