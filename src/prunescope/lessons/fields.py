"""The inputs of exercises without a picture: a field for a number, and a list of choices."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from prunescope.core.errors import RequestError
from prunescope.lessons.feedback import LONGEST_ANSWER, ChoiceQuestion, Feedback, NumberQuestion
from prunescope.lessons.writing import shortened


class NumberField:
    """A field for a number; a text field, so that anything else gets a clear message."""

    here = True

    def __init__(self, question: NumberQuestion) -> None:
        self.changed: Callable[[], object] = lambda: None
        self._question = question
        self.widget = widgets.Text(description="Your answer", placeholder="a number").add_class("ps-number")
        self.widget.observe(lambda _: self.changed(), names="value")

    @property
    def answer(self) -> str:
        """Return what was typed."""
        return str(self.widget.value)

    def restore(self, answer: object) -> None:
        """Fill in a saved answer."""
        if isinstance(answer, str):
            self.widget.value = answer[: 2 * LONGEST_ANSWER]

    def told(self) -> str:
        """Return what was typed."""
        return self.answer

    def predict(self, answer: object) -> None:
        """Fill in ``answer``."""
        self.widget.value = str(answer)

    def grade(self) -> Feedback:
        """Grade what was typed."""
        return self._question.grade(self.widget.value)

    def show_difference(self, complete: bool) -> None:
        """Do nothing: a number has no picture."""

    def reveal(self) -> str:
        """Return the answer in words."""
        return f"The answer is {self._question.written()}."


class ChoiceField:
    """A list of choices, with none selected at first."""

    here = True

    def __init__(self, question: ChoiceQuestion) -> None:
        self.changed: Callable[[], object] = lambda: None
        self._question = question
        self.widget = widgets.RadioButtons(
            options=list(question.choices), value=None, layout=widgets.Layout(width="auto")
        ).add_class("ps-choice")
        self.widget.observe(lambda _: self.changed(), names="value")

    @property
    def answer(self) -> str | None:
        """Return what was chosen."""
        chosen = self.widget.value
        return None if chosen is None else str(chosen)

    def restore(self, answer: object) -> None:
        """Select a saved answer, if it is still among the choices."""
        if self._question.offers(answer):
            self.widget.value = answer

    def told(self) -> str:
        """Return what was chosen."""
        return self.answer or "nothing"

    def predict(self, choice: object) -> None:
        """Select ``choice``; None clears the selection.

        Raises:
            RequestError: ``choice`` is not among the choices.
        """
        if choice is not None and not self._question.offers(choice):
            offered = ", ".join(map(repr, self._question.choices))
            raise RequestError("choice", f"`choice` must be one of {offered}, got {shortened(choice)}.")
        self.widget.value = choice

    def grade(self) -> Feedback:
        """Grade what was chosen."""
        return self._question.grade(self.widget.value)

    def show_difference(self, complete: bool) -> None:
        """Do nothing: a choice has no picture."""

    def reveal(self) -> str:
        """Return the answer in words."""
        return f"The answer is “{self._question.answer}”."
