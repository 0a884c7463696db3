"""Base class of the widgets that bring their own script."""

from __future__ import annotations

from typing import Any

import anywidget


class Bridge(anywidget.AnyWidget):
    """A widget with a few lines of JavaScript, which are saved along with a page."""

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the state to send or to save, always including what a saved page needs to find the script.

        `ipywidgets.embed` drops values that equal the class's defaults, and a saved page has no such class.
        """
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        if drop_defaults:
            state |= super().get_state([name for name in self.keys if name.startswith(("_view", "_model"))])
        return state
