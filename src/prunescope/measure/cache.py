"""A cache of measurements of one model, valid until the model changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import nn

from prunescope.core.preview import Preview
from prunescope.measure.evaluation import Accuracy, Twin
from prunescope.measure.metric import Numbers

Measure = TypeVar("Measure", Accuracy, Numbers)

MOST_PREVIEWS = 3
"""Previews whose measurements are cached: the one shown, and two that may be compared."""


class Known:
    """The measurements of a model's states, and the copy they are taken on.

    Args:
        model: Returns the model; called when a twin is needed.
        state: Returns what changes whenever the model does.
    """

    def __init__(self, model: Callable[[], nn.Module], state: Callable[[], object]) -> None:
        self.state = state
        self._model = model
        self._twin: tuple[object, Twin] | None = None
        self._measures: dict[object, Accuracy | Numbers] = {}
        self._of: object = None

    @property
    def current(self) -> Mapping[object, Accuracy | Numbers]:
        """Return all measurements by state; empty if the model has changed since."""
        return self._measures if self._of == self.state() else {}

    def get(self, key: object, kind: type[Measure]) -> Measure | None:
        """Return the measurement of the state ``key``; None if there is none."""
        measure = self.current.get(key)
        return measure if isinstance(measure, kind) else None

    def remember(self, key: object, state: object, measure: Accuracy | Numbers) -> None:
        """Cache a measurement; of previews, which are large, only the latest are kept.

        Args:
            key: What tells the state from any other; a preview is among its parts if it is one of a preview.
            state: What `state` returned when it was measured.
            measure: What was measured.
        """
        if self._of != state:
            self._measures, self._of = {}, state
        for other in [other for other in self._measures if _is_preview(other)][: 1 - MOST_PREVIEWS]:
            del self._measures[other]
        self._measures[key] = measure

    def twin(self) -> Twin:
        """Return a twin of the model as it is now.

        Raises:
            RequestError: The model cannot be copied.
        """
        key = self.state()
        if self._twin is None or self._twin[0] != key:
            self._twin = None  # Free the old one before the new one takes memory.
            self._twin = (key, Twin(self._model()))
        return self._twin[1]


def _is_preview(key: object) -> bool:
    return isinstance(key, tuple) and any(isinstance(part, Preview) for part in key)
