"""An exercise: a question, something to answer it with, and buttons to check, to get a hint, to give up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, Generic, Protocol, TypeVar

import ipywidgets as widgets

from prunescope.core.errors import RequestError
from prunescope.lessons.feedback import Feedback
from prunescope.lessons.writing import as_html, shortened

_CSS = (Path(__file__).parent / "lessons.css").read_text(encoding="utf-8")


class Body(Protocol):
    """Where the person answers; calls ``changed`` after each change of the answer."""

    widget: Any
    changed: Callable[[], object]

    def grade(self) -> Feedback:
        """Return the answer to what is there now."""

    def show_difference(self, complete: bool) -> None:
        """Show in the picture what is right and wrong; all of it if ``complete``."""

    def reveal(self) -> str:
        """Show the answer, and return it in words."""


B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Texts:
    """What an exercise says; ``code`` in backticks.

    Attributes:
        question: What is asked.
        hints: Sentences given one by one, on request.
        why: What is said once it is solved or revealed.

    Raises:
        RequestError: One of them is no text.

    Example:
        >>> Texts("Which?", hints="By size.")
        Traceback (most recent call last):
        prunescope.core.errors.RequestError: `hints` must be a list of sentences, got 'By size.'.
    """

    question: str
    hints: Sequence[str] = ()
    why: str = ""

    def __post_init__(self) -> None:
        for name in ("question", "why"):
            if not isinstance(text := getattr(self, name), str):
                raise RequestError(name, f"`{name}` must be a text, got {shortened(text)}.")
        if not isinstance(self.hints, list | tuple) or not all(isinstance(hint, str) for hint in self.hints):
            raise RequestError("hints", f"`hints` must be a list of sentences, got {shortened(self.hints)}.")


class Exercise(widgets.VBox, Generic[B]):  # type: ignore[misc]
    """A question with a check that tells right from wrong and why; in a notebook it shows itself.

    The first wrong answer shows which parts of *it* are wrong; from the second on, the picture also shows
    what was missed. The answer itself comes on request only. What was said about an answer that has changed
    since is marked as such: in the browser, a press of `Check` can overtake the change made just before it.

    Args:
        texts: What is asked, and the hints.
        body: Where the person answers.
        lock: Held while a message of the page is acted on.

    Attributes:
        body: Where the person answers.
        feedback: The answer to the last check, or None.
    """

    def __init__(self, texts: Texts, body: B, lock: Any = None) -> None:
        super().__init__()
        self._lock = lock or RLock()
        self.body = body
        self.feedback: Feedback | None = None
        self._hints, self._hinted, self._why = tuple(texts.hints), 0, texts.why
        self._check = widgets.Button(description="Check", button_style="primary")
        self._hint = widgets.Button(description="Hint", disabled=not texts.hints)
        self._reveal = widgets.Button(description="Show the answer")
        self._said, self._hint_text = widgets.HTML(), widgets.HTML(layout={"display": "none"})
        self._check.on_click(lambda _: self.check())
        self._hint.on_click(lambda _: self.hint())
        self._reveal.on_click(lambda _: self.reveal())
        self._say("", "")
        body.changed = self._age
        asked = widgets.HTML(f"<style>{_CSS}</style><p class='ps-question'>{as_html(texts.question)}</p>")
        buttons = widgets.HBox([self._check, self._hint, self._reveal]).add_class("ps-buttons")
        self.children = [asked, body.widget, buttons, self._hint_text, self._said]
        self.add_class("ps-exercise")

    def check(self) -> Feedback:
        """Grade what is there, say so below, and return it."""
        with self._lock:
            again = self.feedback is not None and not self.feedback.right
            self.feedback = self.body.grade()
            self.body.show_difference(complete=again and not self.feedback.right)
            why = f" {self._why}" if self.feedback.right and self._why else ""
            self._say("ps-solved" if self.feedback.right else "ps-unsolved", self.feedback.text + why)
            return self.feedback

    def hint(self) -> str:
        """Show one more hint, and return it; after the last one, the last one again."""
        with self._lock:
            if not self._hints:
                return ""
            self._hinted = min(self._hinted + 1, len(self._hints))
            self._hint.disabled = self._hinted == len(self._hints)
            shown = "".join(f"<li>{as_html(hint)}</li>" for hint in self._hints[: self._hinted])
            self._hint_text.layout.display = None
            self._hint_text.value = f'<ul role="note" class="ps-hints">{shown}</ul>'
            return self._hints[self._hinted - 1]

    def reveal(self) -> str:
        """Show the answer and why, and return both."""
        with self._lock:
            text = f"{self.body.reveal()} {self._why}".strip()
            self._say("ps-revealed", text)
            return text

    def _age(self) -> None:
        """Mark what was said as being about an earlier answer."""
        with self._lock:
            if self._last:
                self._said.value = _said("ps-stale", f"Before your last change: {self._last}")

    def _say(self, kind: str, text: str) -> None:
        self._last = text
        self._said.value = _said(kind, text)


def _said(kind: str, text: str) -> str:
    return f'<div role="status" class="ps-said {kind}">{as_html(text)}</div>'
