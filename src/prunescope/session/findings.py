"""Cache of findings about a model and its states, emptied when the model changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from prunescope.core.preview import Preview

MOST_PREVIEWS = 3
"""Most previews with cached findings: the displayed one, and two that may be compared with it."""


class Findings:
    """A cache of findings; whoever computes them writes them here.

    Args:
        state: Returns a value that changes whenever the model does.

    Example:
        >>> findings = Findings(lambda: "as it is")
        >>> findings.keep((), 0.97)
        >>> findings.of_states
        {(): 0.97}
    """

    def __init__(self, state: Callable[[], object]) -> None:
        self.state = state
        self._of: object = None
        self._of_model: dict[Hashable, Any] = {}
        self._of_states: dict[object, Any] = {}

    @property
    def of_model(self) -> dict[Hashable, Any]:
        """Return the findings about the model, a dict to read and write; empty once the model has changed."""
        self._forget_old()
        return self._of_model

    @property
    def of_states(self) -> dict[object, Any]:
        """Return the measures of each state of the model, by the key of its variant; write with `keep`."""
        self._forget_old()
        return self._of_states

    def keep(self, key: object, worth: Any) -> None:
        """Cache the measure of a state: for all states made of steps, but only for the latest previews.

        Previews hold their masks, which are as large as the layer.

        Args:
            key: Identifies the state; contains the preview if there is one.
            worth: What was measured.
        """
        states = self.of_states
        for other in [other for other in states if _is_preview(other)][: 1 - MOST_PREVIEWS]:
            del states[other]
        states[key] = worth

    def _forget_old(self) -> None:
        state = self.state()
        if self._of != state:
            self._of, self._of_model, self._of_states = state, {}, {}


def _is_preview(key: object) -> bool:
    return isinstance(key, tuple) and any(isinstance(part, Preview) for part in key)
