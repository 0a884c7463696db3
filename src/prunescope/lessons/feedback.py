"""What an exercise answers to an attempt, and the questions that have no picture: a number, a choice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

LONGEST_ANSWER = 40
"""Characters of a typed answer that are read; a page may send any number of them."""


@dataclass(frozen=True)
class Feedback:
    """The answer to one attempt: whether it is ``right``, and one ``text`` that says why or why not."""

    right: bool
    text: str


@dataclass(frozen=True)
class NumberQuestion:
    """A question whose answer is a number.

    Attributes:
        answer: The right number, computed by whoever asks.
        mistakes: Plausible wrong numbers, each with the sentence that names the misconception. One that
            happens to be the right number is passed over.
        tolerance: How far from ``answer`` still counts as right, ``>= 0``.

    Example:
        >>> question = NumberQuestion(2, {3: "Half is rounded to the even number."})
        >>> question.grade("2").right, question.grade("3").text
        (True, 'Not yet. Half is rounded to the even number.')
        >>> question.grade("a few").text
        'Please answer with a number, such as 12, 0.75, 75 % or 3/4.'
    """

    answer: float
    mistakes: Mapping[float, str] = field(default_factory=dict)
    tolerance: float = 1e-9

    def grade(self, text: str) -> Feedback:
        """Return whether the number that ``text`` spells is the answer."""
        number = read_number(text)
        if number is None:
            return Feedback(False, "Please answer with a number, such as 12, 0.75, 75 % or 3/4.")
        if self._near(number, self.answer):
            return Feedback(True, "Right.")
        for mistake, hint in self.mistakes.items():
            if self._near(number, mistake):
                return Feedback(False, f"Not yet. {hint}")
        return Feedback(False, f"Not yet: that is too {'small' if number < self.answer else 'large'}.")

    def _near(self, number: float, other: float) -> bool:
        return abs(number - other) <= self.tolerance


def read_number(text: str) -> float | None:
    """Return the number that a person typed, or None; a finite one, with ``%``, ``/`` or ``,`` understood.

    Example:
        >>> read_number("1,024"), read_number(" 75 % "), read_number("3/4"), read_number("nan")
        (1024.0, 0.75, 0.75, None)
    """
    plain = text.strip().replace(",", "").replace("−", "-")
    share = plain.endswith("%")
    plain = plain.removesuffix("%").strip()
    if not plain or len(plain) > LONGEST_ANSWER:
        return None
    try:
        number = float(Fraction(plain)) if "/" in plain else float(plain)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return number / 100 if share else number


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question whose answer is one of several.

    Attributes:
        choices: What can be chosen, as people read it.
        answer: The right one of ``choices``, computed by whoever asks.
        mistakes: For the wrong ones, the sentence that names the misconception.

    Raises:
        ValueError: ``answer`` is not among ``choices``.

    Example:
        >>> question = ChoiceQuestion(("rows", "columns"), "rows", {"columns": "Dim 0 runs down."})
        >>> question.grade("columns").text
        'Not yet. Dim 0 runs down.'
    """

    choices: Sequence[str]
    answer: str
    mistakes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, each in (("answer", self.answer), *(("mistakes", wrong) for wrong in self.mistakes)):
            if each not in self.choices:
                allowed = ", ".join(map(repr, self.choices))
                raise ValueError(f"`{name}` must be among the choices {allowed}, got {each!r}")

    def grade(self, chosen: str | None) -> Feedback:
        """Return whether ``chosen`` is the answer; None is no choice yet."""
        if chosen is None:
            return Feedback(False, "Please choose one of the answers.")
        if chosen == self.answer:
            return Feedback(True, "Right.")
        hint = self.mistakes.get(chosen, "")
        return Feedback(False, f"Not yet. {hint}" if hint else "Not yet.")
