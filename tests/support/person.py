"""What a person does at the page, as the page tells the kernel: by messages that carry a widget's state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunescope import Explorer

PATIENCE_S = 60.0
"""How long something that must come is waited for: far longer than a busy machine takes."""


def type_into(field: Any, value: object) -> None:
    """Give a field, a slider or a switch a value."""
    field.set_state({"value": value})


def choose(dropdown: Any, label: str) -> None:
    """Choose the option of a dropdown that reads ``label``."""
    dropdown.set_state({"index": list(dropdown._options_labels).index(label)})


def press(button: Any) -> None:
    """Press a button."""
    button._handle_button_msg(button, {"event": "click"}, [])


def open_tab(tabs: Any, title: str) -> None:
    """Open the tab of that title."""
    tabs.set_state({"selected_index": tabs.titles.index(title)})


async def settled(explorer: Explorer, ready: Callable[[Any], object]) -> Any:
    """Return the first snapshot of ``explorer`` of which ``ready`` holds."""
    changed = asyncio.Event()

    def tell(_: object) -> None:
        changed.set()

    explorer.observe(tell, names="snapshot")
    try:
        while not ready(explorer.snapshot):
            changed.clear()
            await asyncio.wait_for(changed.wait(), PATIENCE_S)
    finally:
        explorer.unobserve(tell, names="snapshot")
    return explorer.snapshot
