"""How long an explorer lives: as long as a notebook shows it or code refers to it, and no longer.

ipywidgets keeps every widget until it is closed, and nobody closes what the next run of a cell replaces. So
ipywidgets knows an explorer by a weak reference, and an output that shows one holds it until its cell runs
again. What nobody holds any more closes itself, as any widget does that is deleted.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakMethod, proxy

import ipywidgets.widgets.widget as registry
from IPython import get_ipython
from ipywidgets import Widget

LATEST = ("_", "__", "___")
"""What IPython calls the latest results."""

_shown: dict[str, list[Widget]] = {}
_kept: list[Widget] = []


def do_not_keep(widget: Widget) -> None:
    """Have ipywidgets, and the line to the page, know ``widget`` without keeping it."""
    handler = WeakMethod(widget._handle_msg)

    def pass_on(message: dict[str, Any]) -> None:
        handle = handler()
        if handle is not None:
            handle(message)

    widget.comm.on_msg(pass_on)
    registry._instances[widget.model_id] = proxy(widget)


def keep_while_shown(widget: Widget) -> None:
    """Keep ``widget``, which the cell that is running shows, until that cell is run again.

    A front end that does not say which of its cells runs may show it for ever; without one nobody sees it.
    """
    shell: Any = get_ipython()
    if shell is None:
        return
    cell = _cell(shell)
    shown = _kept if cell is None else _shown.setdefault(cell, [])
    if not _is_in(shown, widget):
        shown.append(widget)
    shell.events.register("pre_run_cell", _let_go)


def let_go(widget: Widget) -> None:
    """Keep ``widget`` no longer: it was closed, and its output is empty."""
    for shown in (_kept, *_shown.values()):
        shown[:] = [each for each in shown if each is not widget]


def _let_go(_info: object) -> None:
    """Let go of what the cell that is about to run has shown: its output is gone from the page."""
    shell: Any = get_ipython()
    for widget in _shown.pop(_cell(shell) or "", []):
        if not any(_is_in(shown, widget) for shown in (_kept, *_shown.values())):
            _forget_results(shell, widget)


def _cell(shell: Any) -> str | None:
    """Return what the front end calls the cell that runs; None if it does not say."""
    asked: dict[str, Any] = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = asked.get("metadata", {}).get("cellId")
    return cell if isinstance(cell, str) else None


def _is_in(widgets: list[Widget], widget: Widget) -> bool:
    return any(each is widget for each in widgets)


def _forget_results(shell: Any, widget: Widget) -> None:
    """Have IPython not keep ``widget`` as the result of a cell; names that a person has given it stay."""
    numbers = [number for number, result in shell.user_ns["_oh"].items() if result is widget]
    for number in numbers:
        del shell.user_ns["_oh"][number]
    for names in (vars(shell.displayhook), shell.user_ns, shell.user_ns_hidden):
        names |= {name: None for name in LATEST if names.get(name) is widget}
        for name in [f"_{number}" for number in numbers if names.get(f"_{number}") is widget]:
            del names[name]
    last = shell.last_execution_result
    if last is not None and last.result is widget:
        last.result = None
