"""What a panel is: a view of the snapshot that turns a person's hand into requests.

A base class rather than a protocol: a panel of somebody's own writes `name`, `title`, `widget` and `render`,
and leaves the rest as it is here. `prunescope.explorer.panels.PANELS` is the list of those that have a tab.
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
        state: What is explored and shown, and the door to change it.

    Attributes:
        name: What the panel is called in ``hide=``, in ``front=`` and in links.
        title: What its tab says.
        widget: The panel.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    widget: widgets.Widget

    def __init__(self, state: ExplorerState) -> None:
        self.state = state
        self._rendering = False

    # A person's hand.

    def hear(self, widget: widgets.Widget, act: Callable[[Any], object], name: str = "value") -> None:
        """Call ``act`` with the new value whenever a person changes ``widget``; not while it is rendered."""

        def on_change(change: Any) -> None:
            with self.state.lock:
                if not self._rendering:
                    act(change["new"])

        widget.observe(on_change, names=name)

    def press(self, button: widgets.Button, act: Callable[[], object]) -> None:
        """Call ``act`` whenever a person presses ``button``."""

        def on_click(_button: widgets.Button) -> None:
            with self.state.lock:
                act()

        button.on_click(on_click)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Set values of widgets that are not a person's: nothing that is heard meanwhile is a request."""
        before, self._rendering = self._rendering, True
        try:
            yield
        finally:
            self._rendering = before

    # What the explorer tells it; each is called with the lock held.

    def render(self, snapshot: Snapshot) -> None:
        """Show ``snapshot``; it is all that is shown."""
        raise NotImplementedError

    def offered(self, snapshot: Snapshot) -> bool:
        """Return whether the panel has anything to say of this model."""
        return True

    def look(self, in_front: bool) -> None:
        """Take note of whether a person can see the panel: what is costly to draw waits until then."""

    def set_page(self, width: int, theme: Theme) -> None:
        """Take the CSS pixels that the panel has in width, and the colours of the page."""

    def restrict(self, hide: frozenset[str], lock: frozenset[str]) -> None:
        """Hide some controls, and lock others, by the names that links use; `render` follows."""

    def close(self) -> None:
        """Stop what the panel has started; its widgets are closed with the tree they stand in."""
