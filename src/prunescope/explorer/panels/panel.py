"""Base class of panels: views of the snapshot that turn user input into requests.

A base class rather than a protocol: your own panel defines `name`, `title`, `widget` and `render`, and
inherits the rest. `prunescope.explorer.panels.PANELS` is the list of those that have a tab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import ipywidgets as widgets

from prunescope.explorer.state.snapshot import Snapshot
from prunescope.explorer.state.state import ExplorerState
from prunescope.figures import Theme


class Panel:
    """A view of the explorer's state, and the only writer of its own widgets.

    Args:
        state: The explorer's state, through which changes are requested.

    Attributes:
        name: Its name in ``hide=``, ``front=`` and links.
        title: The title of its tab.
        widget: Its root widget.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    widget: widgets.Widget

    def __init__(self, state: ExplorerState) -> None:
        self.state = state
        self._rendering = False

    # User input.

    def hear(self, widget: widgets.Widget, act: Callable[[Any], object], name: str = "value") -> None:
        """Call ``act`` with the new value whenever the user changes ``widget``; not while rendering."""

        def on_change(change: Any) -> None:
            with self.state.lock:
                if not self._rendering:
                    act(change["new"])

        widget.observe(on_change, names=name)

    def press(self, button: widgets.Button, act: Callable[[], object]) -> None:
        """Call ``act`` whenever the user presses ``button``."""

        def on_click(_button: widgets.Button) -> None:
            with self.state.lock:
                act()

        button.on_click(on_click)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Set widget values inside this context without causing requests."""
        before, self._rendering = self._rendering, True
        try:
            yield
        finally:
            self._rendering = before

    # Called by the explorer, with the lock held.

    def render(self, snapshot: Snapshot) -> None:
        """Show ``snapshot``, and nothing else."""
        raise NotImplementedError

    def offered(self, snapshot: Snapshot) -> bool:
        """Return whether the panel has anything to show for this model."""
        return True

    def look(self, in_front: bool) -> None:
        """Note whether the panel is visible: expensive drawing waits until then."""

    def set_page(self, width: int, theme: Theme) -> None:
        """Set the width of the panel in CSS pixels, and the colours of the page."""

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Hide some controls and lock others, by their names in links; `render` follows."""

    def close(self) -> None:
        """Stop the panel's work; its widgets are closed with their tree."""
