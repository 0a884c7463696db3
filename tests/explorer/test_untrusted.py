"""What a page sets is untrusted: any trait of any widget, to anything; the state stays valid."""

import logging
from typing import Any

import pytest
import torch
from torch import nn

from prunescope import Explorer, explore

WRONG: list[Any] = [
    None,
    True,
    -1,
    10**30,
    1e308,
    "",
    "<img src=x onerror=alert(1)>",
    "x" * 10_000,
    [],
    [None, [1]],
    {"a": {"b": None}},
    "IPY_MODEL_nobody",
]


MEANT = ("value", "index", "children", "options", "_options_labels", "disabled", "min", "max", "step")
"""Traits that say something, each of which hears every wrong value; what is looks only, every fourth."""


def tree(explorer: Explorer) -> list[Any]:
    """Return every widget that the page of ``explorer`` has, itself included."""
    found, waiting = [], [explorer]
    while waiting:
        widget = waiting.pop()
        found.append(widget)
        waiting.extend(getattr(widget, "children", ()))
    return found


def say(widget: Any, state: dict[str, Any]) -> None:
    """Let ``widget`` hear what a page says; what it raises, a kernel writes into its log."""
    message = {"content": {"data": {"method": "update", "state": state, "buffer_paths": []}}}
    try:
        widget._handle_msg({**message, "buffers": []})
    except Exception as problem:
        logging.getLogger(__name__).debug("refused: %s", problem)


def assert_valid(explorer: Explorer, witness: Explorer) -> None:
    """Assert that what is shown can be asked for: ``witness`` shows it when told by a link."""
    witness.open_link(explorer.query)
    assert witness.snapshot.problem is None
    assert witness.spec == explorer.spec
    assert type(witness.spec.amount) is type(explorer.spec.amount) in (int, float)
    assert torch.equal(witness.preview.mask, explorer.preview.mask)
    assert witness.snapshot.view == explorer.snapshot.view
    assert witness.snapshot.history.done == explorer.snapshot.history.done
    assert int((~explorer.preview.mask).sum()) == explorer.preview.pruned_units


@pytest.mark.slow
def test_every_trait_of_every_widget(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    model = nn.Linear(16, 8)
    explorer, witness = explore(model, amount=0.5, method="l1_unstructured"), explore(model)
    said = 0
    widgets = tree(explorer)
    for widget in widgets:
        names = [name for name in widget.keys if not name.startswith("_")]
        for name in names:
            kept = widget.get_state(name)
            for value in WRONG if name in MEANT else WRONG[::4]:
                say(widget, {name: value})
                said += 1
            if name not in ("value", "index"):  # Its looks are the page's own affair.
                say(widget, kept)
        assert_valid(explorer, witness)
    with capsys.disabled():
        print(f" {said} values said to {len(widgets)} widgets", end="")
    assert said > 5000
    explorer.request(layer="weight", method="l1_unstructured", amount=0.25)
    assert explorer.preview.pruned_units == 32
    explorer.close()
    witness.close()
    caplog.clear()  # What was logged holds on to its frames, and they to the explorer.
