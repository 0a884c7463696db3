"""Every control, number and option of the page says what it is, in a sentence of one glossary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import ipywidgets as widgets
import pytest
import torch
from torch import nn

from prunescope import Explorer, explore
from prunescope.core.criteria import CRITERIA
from prunescope.core.glossary import GLOSSARY, LABELS, WORDS, on_page
from prunescope.core.methods import METHODS
from prunescope.explorer.panels.controls import NORMS
from prunescope.explorer.panels.steps import StepsPanel
from prunescope.export import FILES
from prunescope.network import RULES, UNITS

HERE = Path(__file__).resolve().parents[2]


@pytest.fixture
def explorer() -> Iterator[Explorer]:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    data = torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])
    explorer = explore(model, data=data, method="ln_structured", amount=1)
    yield explorer
    explorer.close()


def controls(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    """Yield what a person can turn or press below ``widget``."""
    if isinstance(getattr(widget, "description", None), str) and not isinstance(widget, widgets.HTML):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from controls(child)


def entry(control: widgets.Widget) -> str:
    """Return the tooltip without the reason why the control is disabled."""
    return str(control.tooltip).partition(" Disabled: ")[0]


def test_every_control_has_an_entry_of_the_glossary_as_its_tooltip(explorer: Explorer) -> None:
    found = list(controls(explorer))
    labels = {control.description for control in found}
    assert labels >= {"Layer", "Amount", "Heatmap", "Prune %", "File", "As text", "Compare", "Apply", "Seed"}
    assert [each.description for each in found if entry(each) not in GLOSSARY.values()] == []


def test_a_disabled_control_says_why(explorer: Explorer) -> None:
    explorer.request(front="recover")
    explorer.amount = 0
    off = {each.description: each.tooltip for each in controls(explorer) if each.disabled}
    assert {"Apply", "Undo", "Redo", "Reset", "Download", "Keep these steps", "Colours"} <= set(off)
    assert [label for label, says in off.items() if " Disabled: " not in says] == []
    steps = explorer.screen.panels["steps"]
    assert isinstance(steps, StepsPanel)
    assert steps.buttons["apply"].tooltip.endswith("Disabled: the amount prunes nothing.")
    explorer.amount = 1
    assert steps.buttons["apply"].tooltip == GLOSSARY["apply"]


def test_a_locked_control_says_so() -> None:
    explorer = explore(nn.Linear(4, 3), lock=["amount"])
    try:
        assert explorer.screen.controls.amount.tooltip == f"{GLOSSARY['amount']} Disabled: locked here."
    finally:
        explorer.close()


def test_every_number_has_an_entry_as_its_title(explorer: Explorer) -> None:
    explorer.prune_channels = [2]
    html = explorer.screen.readout.numbers.value + explorer.screen.costs.line.value
    titles = dict(re.findall(r'<abbr class="ps-name" title="([^"]*)">([^<]*)</abbr>', html))
    named = {name.partition(" (")[0] for name in titles.values()}
    assert named >= {"Requested", "Pruned", "Layer sparsity", "Model sparsity", "Custom mask"}
    assert named >= {"Held-out accuracy", "Parameters not zero", "FLOPs, masked or not"}
    assert [unescape(title) for title in titles if unescape(title) not in GLOSSARY.values()] == []


def test_every_option_has_an_entry() -> None:
    options = {f"norm {n}" for _, n in NORMS}
    options |= {f"method {key}" for key in METHODS} | {f"criterion {key}" for key in CRITERIA}
    options |= {f"rule {key}" for key in RULES} | {f"unit {key}" for key in UNITS}
    options |= {f"file {key}" for key in FILES}
    assert options - set(GLOSSARY) == set()


def test_the_tooltip_of_a_list_is_the_entry_of_what_is_chosen(explorer: Explorer) -> None:
    turned = explorer.screen.controls
    explorer.n = float("inf")
    assert turned.n.tooltip == GLOSSARY["norm inf"]
    explorer.method = "l1_unstructured"
    assert turned.method.tooltip == GLOSSARY["method l1_unstructured"]
    assert turned.criterion.tooltip == CRITERIA["weight"].says


def test_an_entry_is_one_plain_sentence() -> None:
    for term, says in GLOSSARY.items():
        assert not says[0].islower(), term
        assert says.endswith("."), term
        assert ". " not in says, term
    assert len(set(GLOSSARY.values())) == len(GLOSSARY)


def test_a_sentence_on_the_page_names_the_control(explorer: Explorer) -> None:
    problem = explorer.request(keep_channels="one")
    assert "`keep_channels` must list channels" in str(problem)
    assert "“Keep” must list channels" in explorer.screen.controls.messages["keep_channels"].value
    assert on_page("`data` is not a control, `amount` is.") == "`data` is not a control, “Amount” is."
    labels = {control.description for control in controls(explorer)}
    shown = {label for name, label in LABELS.items() if name not in ("steps", "plans", "plan", "compare")}
    assert shown - labels == set()


@pytest.mark.parametrize("place", ["README.md", "notebooks/index.ipynb"])
def test_the_readme_and_the_lessons_quote_the_glossary(place: str) -> None:
    text = (HERE / place).read_text("utf-8").replace('\\"', '"')
    assert [word for word, says in WORDS.items() if f"**{word}**" not in text or says not in text] == []
