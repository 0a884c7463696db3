"""What was found out about a model and about its states, kept for as long as the model stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from prunescope.core.preview import Preview

MOST_PREVIEWS = 3
"""Previews whose findings are kept: what is shown, and the two that may be compared beside it."""


class Findings:
    """What was found out, by whoever looked for it: the session keeps it and never computes it.

    Args:
        state: Returns what changes whenever the model does.

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
        """Return what is known of the model, by name, to read and to write; empty once it has changed."""
        self._forget_old()
        return self._of_model

    @property
    def of_states(self) -> dict[object, Any]:
        """Return what each state of the model is worth, by the key of its variant; write with `keep`."""
        self._forget_old()
        return self._of_states

    def keep(self, key: object, worth: Any) -> None:
        """Keep what a state is worth: for every state made of steps, but for the latest previews only.

        A preview holds its masks, which are as large as the layer.

        Args:
            key: What tells the state from any other; a preview is among its parts if it is one of a preview.
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
