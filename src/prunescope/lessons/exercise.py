"""An exercise: a question, an input for the answer, and buttons to check it, get a hint or see the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import ipywidgets as widgets

from prunescope.core.errors import RequestError
from prunescope.lessons.feedback import Feedback
from prunescope.lessons.progress import Progress
from prunescope.lessons.writing import as_html, shortened

if TYPE_CHECKING:
    from prunescope.lessons.lesson import Lesson

_CSS = (Path(__file__).parent / "lessons.css").read_text(encoding="utf-8")

STREAK = 2
"""Rounds in a row that must be right at the first try."""

ONCE_MORE = "*Another one?* Right at the first try twice in a row, and you have it."
LEARNED = "Twice in a row at the first try: *you have it.*"


class Body(Protocol):
    """The input of an exercise; calls ``changed`` after each change of the answer."""

    widget: Any
    changed: Callable[[], object]
    here: bool
    """Whether it can be answered on this kind of page."""

    @property
    def answer(self) -> Any:
        """Return the current answer as JSON values."""

    def restore(self, answer: Any) -> None:
        """Restore what ``answer`` returned; ignore anything else."""

    def told(self) -> str:
        """Return the current answer in words."""

    def grade(self) -> Feedback:
        """Grade the current answer."""

    def show_difference(self, complete: bool) -> None:
        """Mark what is right and wrong in the picture; if ``complete``, also what is missing."""

    def reveal(self) -> str:
        """Show the answer, and return it in words."""


B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Texts:
    """The texts of an exercise; ``code`` in backticks.

    Attributes:
        question: The question.
        hints: Sentences shown one by one, on request.
        why: The explanation shown once it is solved or revealed.

    Raises:
        RequestError: One of them is not text.

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
    """A question whose answer is checked and explained; a widget that a notebook displays.

    The first wrong answer shows which parts of it are wrong; from a second, different one on, the picture
    also shows what was missed. The solution is shown only on request. Feedback on an answer that has changed
    since is marked as such: in the browser, a press of `Check` can overtake the change made just before it.

    Args:
        texts: The question, the hints and the explanation.
        body: The input for the answer.
        lock: Held while a message from the page is handled.
        deal: Returns the same question with other numbers, for a round number of 1 or more; None if there
            are no others.

    Attributes:
        body: The input for the answer.
        feedback: The feedback of the last check, or None.
        progress: The progress so far.
    """

    def __init__(
        self, texts: Texts, body: B, lock: Any = None, deal: Callable[[int], tuple[Texts, B]] | None = None
    ) -> None:
        super().__init__()
        self._lock = lock or RLock()
        self._first, self._deal = (texts, body), deal
        self._moved: Callable[[], object] = lambda: None
        self._once: list[Callable[[], object]] = []
        self.progress = Progress()
        self._asked = widgets.HTML()
        self._check = widgets.Button(description="Check", button_style="primary", disabled=not body.here)
        self._hint = widgets.Button(description="Hint")
        self._reveal = widgets.Button(description="Show the answer", disabled=not body.here)
        self._again = widgets.Button(description="Another one", tooltip="The same question, other numbers")
        self._said, self._hint_text = widgets.HTML(), widgets.HTML()
        self._check.on_click(lambda _: self.check())
        self._hint.on_click(lambda _: self.hint())
        self._reveal.on_click(lambda _: self.reveal())
        self._again.on_click(lambda _: self.another())
        self._buttons = widgets.HBox(
            [self._check, self._hint, self._reveal, *([self._again] if deal else [])]
        ).add_class("ps-buttons")
        self._show_round(texts, body)
        self.add_class("ps-exercise")

    def _show_round(self, texts: Texts, body: B) -> None:
        self.body, self._texts = body, texts
        self._wrong: list[Any] = []
        self.feedback: Feedback | None = None
        self._hinted = 0
        self._hint.disabled = not texts.hints
        self._hint_text.value, self._hint_text.layout.display = "", "none"
        self._asked.value = f"<style>{_CSS}</style><p class='ps-question'>{as_html(texts.question)}</p>"
        self._say("", "")
        body.changed = self._age
        self.children = [self._asked, body.widget, self._buttons, self._hint_text, self._said]

    def check(self) -> Feedback:
        """Grade the current answer, show the feedback, and return it."""
        with self._lock:
            feedback = self.feedback = self.body.grade()
            if feedback.counts:
                self._count(feedback.right)
                self.body.show_difference(complete=len(self._wrong) > 1 and not feedback.right)
            more = [self._texts.why, self._praise()] if feedback.right else []
            self._say(
                "ps-solved" if feedback.right else "ps-unsolved",
                " ".join([feedback.text, *filter(None, more)]),
            )
            self._settle(answered=feedback.counts)
            return feedback

    def _count(self, right: bool) -> None:
        """Count an attempt, unless the same answer was checked before."""
        answer, progress = self.body.answer, self.progress
        if right and not progress.solved_now:
            first = not self._wrong and not progress.shown_now
            progress.right(self.body.told(), streak=first)
        elif not right and answer not in self._wrong:
            self._wrong.append(answer)
            progress.wrong(self.body.told())

    def _praise(self) -> str:
        if self._deal is None:
            return ""
        return LEARNED if self.progress.streak >= STREAK else ONCE_MORE

    def _settle(self, answered: bool = True) -> None:
        """Notify the store of the answers, and what is shown only after an answer."""
        self.progress.answer = self.body.answer
        self._moved()
        if answered:
            waiting, self._once = self._once, []
            for show in waiting:
                show()

    def hint(self) -> str:
        """Show the next hint and return it; after the last one, return the last one again."""
        with self._lock:
            hints = self._texts.hints
            if not hints:
                return ""
            self._hinted = min(self._hinted + 1, len(hints))
            self._hint.disabled = self._hinted == len(hints)
            self.progress.hints = max(self.progress.hints, self._hinted)
            shown = "".join(f"<li>{as_html(hint)}</li>" for hint in hints[: self._hinted])
            self._hint_text.layout.display = None
            self._hint_text.value = f'<ul role="note" class="ps-hints">{shown}</ul>'
            self._settle(answered=False)
            return hints[self._hinted - 1]

    def reveal(self) -> str:
        """Show the answer with its explanation, and return both."""
        with self._lock:
            text = f"{self.body.reveal()} {self._texts.why}".strip()
            self.progress.reveal()
            self._say("ps-revealed", text)
            self._settle()
            return text

    def another(self) -> None:
        """Ask the same question with other numbers; do nothing if there are none."""
        with self._lock:
            if self._deal:
                self.progress.begin(self.progress.round + 1)
                self._show_round(*self._deal(self.progress.round))
                self._settle(answered=False)

    def keep_in(self, lesson: Lesson, key: str) -> Self:
        """Save the answers in ``lesson`` under ``key``, and restore saved ones; return the exercise.

        Args:
            lesson: The lesson the exercise belongs to.
            key: Identifies it within the lesson, such as ``"2"``; the same each time its cell is run.
        """
        lesson.add(key, self)
        return self

    def keep(self, moved: Callable[[], object]) -> None:
        """Call ``moved`` after each change of `progress`."""
        self._moved = moved

    def once_answered(self, show: Callable[[], object]) -> None:
        """Call ``show`` once there has been an answer, right or wrong, or the answer has been shown."""
        if self.progress.attempts or self.progress.solved or self.progress.shown:
            show()
        else:
            self._once.append(show)

    def restore(self, progress: Progress) -> None:
        """Resume from ``progress``, if nothing has been answered yet."""
        with self._lock:
            if self.progress != Progress():
                return
            self.progress = progress
            if progress.round and self._deal:
                self._show_round(*self._deal(progress.round))
            self.body.restore(progress.answer)
            if progress.solved_now:
                self.body.show_difference(complete=False)
                self._say("ps-solved", f"Right, as you answered before. {self._texts.why}")
            if progress.attempts or progress.solved or progress.shown:
                self._settle()

    def question(self) -> str:
        """Return the question of the first round."""
        return self._first[0].question

    def _age(self) -> None:
        """Mark the feedback as being about an earlier answer."""
        with self._lock:
            if self._last:
                self._said.value = _said("ps-stale", f"Before your last change: {self._last}")

    def _say(self, kind: str, text: str) -> None:
        self._last = text
        self._said.value = _said(kind, text)


def _said(kind: str, text: str) -> str:
    return f'<div role="status" class="ps-said {kind}">{as_html(text)}</div>'
