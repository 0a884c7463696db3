"""A student's progress in one exercise, as it is saved and handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

MOST_TRIES = 50
"""Most answers saved per exercise; further ones are only counted."""

LONGEST = 4000
"""Longest saved answer, in characters."""


@dataclass
class Progress:
    """A student's progress in one exercise.

    Attributes:
        round: Number of the current round; 0 asks about the tensor in the notebook.
        answer: The current answer, as JSON values.
        attempts: Different answers that were checked, over all rounds.
        tries: Those answers in words, the right ones marked with ✓.
        solved: Whether one was right without having been shown.
        shown: Whether the answer has been shown, in any round.
        hints: How many hints were shown.
        streak: Rounds in a row that were right at the first try.
        solved_now: Whether the current round is solved.
        shown_now: Whether the answer to the current round has been shown.

    Example:
        >>> progress = Progress()
        >>> progress.wrong("3")
        >>> progress.right("2", streak=False)
        >>> progress.attempts, progress.tries, progress.solved
        (2, ['3', '2 ✓'], True)
    """

    round: int = 0
    answer: Any = None
    attempts: int = 0
    tries: list[str] = field(default_factory=list)
    solved: bool = False
    shown: bool = False
    hints: int = 0
    streak: int = 0
    solved_now: bool = False
    shown_now: bool = False

    def wrong(self, told: str) -> None:
        """Count a wrong answer."""
        self._try(told)
        self.streak = 0

    def right(self, told: str, *, streak: bool) -> None:
        """Count a right answer; ``streak`` says whether it was the first try, with no answer shown before."""
        self._try(f"{told[:LONGEST]} ✓")
        self.streak = self.streak + 1 if streak else 0
        self.solved = self.solved or not self.shown_now
        self.solved_now = True

    def reveal(self) -> None:
        """Record that the answer was shown; a solved round stays solved."""
        if not self.solved_now:
            self.shown = self.shown_now = True
            self.streak = 0

    def begin(self, number: int) -> None:
        """Begin round ``number``; leaving a round unsolved ends the streak."""
        self.streak = self.streak if self.solved_now else 0
        self.round, self.answer, self.solved_now, self.shown_now = number, None, False, False

    def _try(self, told: str) -> None:
        self.attempts += 1
        if len(self.tries) < MOST_TRIES:
            self.tries.append(told[: LONGEST + 2])

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def read(cls, kept: object) -> Self:
        """Restore what `as_json` returned, ignoring values of the wrong type.

        The data comes from a file or a browser, so it cannot be trusted.

        Example:
            >>> Progress.read({"attempts": 3, "solved": "yes", "round": -1}) == Progress(attempts=3)
            True
        """
        progress = cls()
        values = kept if isinstance(kept, Mapping) else {}
        for name, usual in asdict(progress).items():
            value = values.get(name, usual)
            if name == "answer" or (type(value) is type(usual) and _sensible(value)):
                setattr(progress, name, value)
        return progress


def _sensible(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= MOST_TRIES and all(isinstance(each, str) for each in value)
    return not isinstance(value, int) or 0 <= value < 10**6
