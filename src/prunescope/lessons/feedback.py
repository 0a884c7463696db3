"""What an exercise answers to an attempt, and the questions that have no picture: a number, a choice."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Real

from prunescope.core.errors import RequestError
from prunescope.lessons.writing import shortened

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

    Raises:
        RequestError: One of them is no finite number, or the tolerance is negative.

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

    def __post_init__(self) -> None:
        if not isinstance(self.mistakes, Mapping):
            given = shortened(self.mistakes)
            raise RequestError("mistakes", f"`mistakes` must map wrong numbers to sentences, got {given}.")
        _check_number("answer", self.answer)
        _check_number("tolerance", self.tolerance, least=0.0)
        for mistake in self.mistakes:
            _check_number("mistakes", mistake)

    def grade(self, answer: object) -> Feedback:
        """Return whether ``answer``, a number or a text that spells one, is right."""
        number = read_number(answer)
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


def _check_number(name: str, value: object, least: float = -sys.float_info.max) -> None:
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not (real and least <= value <= sys.float_info.max):  # type: ignore[operator]
        bound = "" if least < 0 else ", 0 or more"
        raise RequestError(name, f"`{name}` must be a finite number{bound}, got {shortened(value)}.")


_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")


def read_number(answer: object) -> float | None:
    """Return the number that a person typed, or None; a finite one, with ``%`` and ``/`` understood.

    A comma parts thousands where it can (1,024), else it is a decimal comma (0,75).

    Example:
        >>> read_number("1,024"), read_number("0,75"), read_number(" 75 % "), read_number("3/4")
        (1024.0, 0.75, 0.75, 0.75)
        >>> read_number("nan"), read_number(None)
        (None, None)
    """
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return None
    plain = str(answer)[: 2 * LONGEST_ANSWER].strip().replace("−", "-")
    share = plain.endswith("%")
    plain = plain.removesuffix("%").strip()
    plain = plain.replace(",", "" if _THOUSANDS.fullmatch(plain) else ".")
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
        RequestError: The choices are not two different texts or more, or ``answer`` is not among them.

    Example:
        >>> question = ChoiceQuestion(("rows", "columns"), "rows", {"columns": "Dim 0 runs down."})
        >>> question.grade("columns").text
        'Not yet. Dim 0 runs down.'
    """

    choices: Sequence[str]
    answer: str
    mistakes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        listed = isinstance(self.choices, list | tuple)
        texts = {each for each in self.choices if isinstance(each, str)} if listed else set()
        if len(texts) < 2 or len(texts) != len(self.choices):
            given = shortened(self.choices)
            raise RequestError("choices", f"`choices` must list two different texts or more, got {given}.")
        for name, each in (("answer", self.answer), *(("mistakes", wrong) for wrong in self.mistakes)):
            if not self.offers(each):
                allowed = ", ".join(map(repr, self.choices))
                raise RequestError(
                    name, f"`{name}` must be among the choices {allowed}, got {shortened(each)}."
                )

    def offers(self, chosen: object) -> bool:
        """Return whether ``chosen`` is one of the choices."""
        return isinstance(chosen, str) and chosen in self.choices

    def grade(self, chosen: object) -> Feedback:
        """Return whether ``chosen`` is the answer; None is no choice yet."""
        if not self.offers(chosen):
            return Feedback(False, "Please choose one of the answers.")
        if chosen == self.answer:
            return Feedback(True, "Right.")
        hint = self.mistakes.get(str(chosen), "")
        return Feedback(False, f"Not yet. {hint}" if hint else "Not yet.")
