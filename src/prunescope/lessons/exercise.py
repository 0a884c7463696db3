"""An exercise: a question, something to answer it with, and buttons to check, to get a hint, to give up."""

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
"""Fresh tensors in a row that have to be right at the first try."""

ONCE_MORE = "*Another one?* Right at the first try twice in a row, and you have it."
LEARNED = "Twice in a row at the first try: *you have it.*"


class Body(Protocol):
    """Where the person answers; calls ``changed`` after each change of the answer."""

    widget: Any
    changed: Callable[[], object]
    here: bool
    """Whether it can be answered on this kind of page."""

    @property
    def answer(self) -> Any:
        """Return what is there now, as JSON has it."""

    def restore(self, answer: Any) -> None:
        """Put back what ``answer`` once returned; anything else is passed over."""

    def told(self) -> str:
        """Return what is there now, in words for a person."""

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

    The first wrong answer shows which parts of *it* are wrong; from a second, different one on, the picture
    also shows what was missed. The answer itself comes on request only. What was said about an answer that
    has changed since is marked as such: in the browser, a press of `Check` can overtake the change made just
    before it.

    Args:
        texts: What is asked, and the hints.
        body: Where the person answers.
        lock: Held while a message of the page is acted on.
        deal: Returns the same question about other numbers, by the number of the round, 1 or more; None if
            there are no others.

    Attributes:
        body: Where the person answers.
        feedback: The answer to the last check, or None.
        progress: What has been answered so far.
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
        """Grade what is there, say so below, and return it."""
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
        """Count an attempt; the same answer checked again is none."""
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
        """Tell who waits: whoever keeps the answers, and what is only shown after the bet."""
        self.progress.answer = self.body.answer
        self._moved()
        if answered:
            waiting, self._once = self._once, []
            for show in waiting:
                show()

    def hint(self) -> str:
        """Show one more hint, and return it; after the last one, the last one again."""
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
        """Show the answer and why, and return both."""
        with self._lock:
            text = f"{self.body.reveal()} {self._texts.why}".strip()
            self.progress.reveal()
            self._say("ps-revealed", text)
            self._settle()
            return text

    def another(self) -> None:
        """Ask the same about other numbers; nothing happens where there are none."""
        with self._lock:
            if self._deal:
                self.progress.begin(self.progress.round + 1)
                self._show_round(*self._deal(self.progress.round))
                self._settle(answered=False)

    def keep_in(self, lesson: Lesson, key: str) -> Self:
        """Have ``lesson`` keep the answers under ``key``, and put back those it has; return the exercise.

        Args:
            lesson: The lesson the exercise belongs to.
            key: Tells it from the others of the lesson, such as ``"2"``; a cell that is run again gives the
                same one again.
        """
        lesson.add(key, self)
        return self

    def keep(self, moved: Callable[[], object]) -> None:
        """Call ``moved`` after each change of `progress`."""
        self._moved = moved

    def once_answered(self, show: Callable[[], object]) -> None:
        """Call ``show`` when there has been an answer, right or wrong, or the answer has been shown."""
        if self.progress.attempts or self.progress.solved or self.progress.shown:
            show()
        else:
            self._once.append(show)

    def restore(self, progress: Progress) -> None:
        """Go on from ``progress``, if nothing has been answered yet."""
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
        """Return what was asked at first."""
        return self._first[0].question

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
