"""Feedback on an attempt, and the questions without a picture: a number, a choice."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Real

from prunescope.core.errors import RequestError
from prunescope.lessons.writing import shortened, signed

LONGEST_ANSWER = 40
"""Longest typed answer that is read, in characters; a page may send any length."""


@dataclass(frozen=True)
class Feedback:
    """The feedback on one attempt.

    Attributes:
        right: Whether the answer is right.
        text: The explanation.
        counts: Whether it counts as an attempt. It does not if nothing is marked, there is no number, or the
            number is right but in another unit.
    """

    right: bool
    text: str
    counts: bool = True


@dataclass(frozen=True)
class NumberQuestion:
    """A question whose answer is a number.

    Attributes:
        answer: The right number, computed by whoever asks.
        mistakes: Plausible wrong numbers, each with the sentence that names the misconception. One that
            happens to be the right number is ignored.
        tolerance: How far from ``answer`` still counts as right, ``>= 0``.
        decimals: Decimals that the question asks for: what rounds to the same as ``answer``, or is
            ``answer`` rounded either way, is right too. None if it asks for none.

    Raises:
        RequestError: One of them is not a finite number, or the tolerance is negative.

    Example:
        >>> question = NumberQuestion(2, {3: "Half is rounded to the even number."})
        >>> question.grade("2").right, question.grade("3").text
        (True, 'Not yet. Half is rounded to the even number.')
        >>> NumberQuestion(5.344, decimals=1).grade("5.3").right
        True
        >>> question.grade("a few").text
        'Please answer with a number, such as 12, 0.75, 75 % or 3/4.'
    """

    answer: float
    mistakes: Mapping[float, str] = field(default_factory=dict)
    tolerance: float = 1e-9
    decimals: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.mistakes, Mapping):
            given = shortened(self.mistakes)
            raise RequestError("mistakes", f"`mistakes` must map wrong numbers to sentences, got {given}.")
        _check_number("answer", self.answer)
        _check_number("tolerance", self.tolerance, least=0.0)
        for mistake in self.mistakes:
            _check_number("mistakes", mistake)

    def grade(self, answer: object) -> Feedback:
        """Grade ``answer``, a number or text that contains one."""
        number = read_number(answer)
        if number is None:
            said = "Please answer with a number, such as 12, 0.75, 75 % or 3/4."
            return Feedback(False, said, counts=False)
        if self._near(number, self.answer):
            return Feedback(True, "Right.")
        for mistake, hint in self.mistakes.items():
            if self._near(number, mistake):
                return Feedback(False, f"Not yet. {hint}")
        if unit := self._other_unit(number):
            return Feedback(False, unit, counts=False)
        return Feedback(False, f"Not yet: that is too {'small' if number < self.answer else 'large'}.")

    def written(self) -> str:
        """Return the answer in the form the question asks for.

        Example:
            >>> NumberQuestion(13856).written(), NumberQuestion(5.344, decimals=1).written()
            ('13,856', '5.3')
        """
        if self.decimals is not None:
            return signed(round(self.answer, self.decimals))
        return f"{self.answer:,.0f}" if self.answer >= 1000 else signed(self.answer)

    def _near(self, number: float, other: float) -> bool:
        """Return whether they are the same to the precision the question asks for.

        Half a step of rounding is allowed either way, and a little more, because neither 0.06 nor 5.3 is
        exact in binary.
        """
        allowed = self.tolerance if self.decimals is None else max(self.tolerance, 0.5 * 10**-self.decimals)
        return abs(number - other) <= allowed * (1 + 1e-6) + 1e-12

    def _other_unit(self, number: float) -> str:
        """Return the message for the right number in another unit; "" for any other number."""
        if 0 < abs(self.answer) <= 1 and self._near(number / 100, self.answer):
            return f"In percent? Then write {number:g} %."
        if abs(self.answer) >= 1000 and self._near(1000 * number, self.answer):
            return f"Use a point for decimals. For thousands write {self.answer:,.0f}."
        return ""


def _check_number(name: str, value: object, least: float = -sys.float_info.max) -> None:
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not (real and least <= value <= sys.float_info.max):  # type: ignore[operator]
        bound = "" if least < 0 else ", 0 or more"
        raise RequestError(name, f"`{name}` must be a finite number{bound}, got {shortened(value)}.")


_SPACED = re.compile(r"[+-]?[1-9]\d{0,2}([ \u00a0\u2009\u202f]\d{3})+([.,]\d*)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")


def read_number(answer: object) -> float | None:
    """Parse a typed number; None unless it is finite. ``%`` and ``/`` are understood.

    A comma separates thousands where it can (1,024), else decimals (0,75); so does a space thousands (1 024).

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
    plain = re.sub(r"\s", "", plain) if _SPACED.fullmatch(plain) else plain
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
        """Grade ``chosen``; None means no choice yet."""
        if not self.offers(chosen):
            return Feedback(False, "Please choose one of the answers.", counts=False)
        if chosen == self.answer:
            return Feedback(True, "Right.")
        hint = self.mistakes.get(str(chosen), "")
        return Feedback(False, f"Not yet. {hint}" if hint else "Not yet.")
