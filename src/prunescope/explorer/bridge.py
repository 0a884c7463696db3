"""What our widgets with a script of their own have in common."""

from __future__ import annotations

from typing import Any

import anywidget


class Bridge(anywidget.AnyWidget):
    """A widget of a few lines of JavaScript, which comes along when a page is saved."""

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the state to send or to save; what a saved page needs to find the script is always in it.

        `ipywidgets.embed` drops what is as in the class, and its page has no such class to take it from.
        """
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        if drop_defaults:
            state |= super().get_state([name for name in self.keys if name.startswith(("_view", "_model"))])
        return state
