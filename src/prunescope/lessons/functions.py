"""Functions that students write in a notebook cell, checked against the engine on hidden cases.

They run in the student's own kernel like any other cell, so an exercise gives them no access that a notebook
does not have. A web page, which has no cells, does not run them.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as widgets
import torch
from torch import Generator, Tensor

from prunescope.core.errors import RequestError
from prunescope.lessons.feedback import Feedback
from prunescope.lessons.store import on_web_page
from prunescope.lessons.writing import shortened, signed

CASES = 30
"""Number of cases that a function must get right."""

LONGEST = 200
"""Longest text of a value that is shown, in characters."""


@dataclass(frozen=True)
class FunctionQuestion:
    """A question whose answer is a function.

    Attributes:
        find: Returns the function as it is defined now.
        reference: Returns the right result.
        case: Returns the arguments of one case; small ones first, since the first failing case is shown.

    Raises:
        RequestError: One of them cannot be called.

    Example:
        >>> question = FunctionQuestion(lambda: abs, lambda x: x * x, lambda generator: (3,))
        >>> question.grade().text
        'Not yet. `abs(3)` should be 9; yours gives 3.'
    """

    find: Callable[[], Callable[..., Any]]
    reference: Callable[..., Any]
    case: Callable[[Generator], tuple[Any, ...]]

    def __post_init__(self) -> None:
        for name in ("find", "reference", "case"):
            if not callable(given := getattr(self, name)):
                raise RequestError(name, f"`{name}` must be a function, got {shortened(given)}.")

    def grade(self) -> Feedback:
        """Grade the function against the reference, reporting the first case that differs."""
        try:
            function = self.find()
        except NameError as error:
            return Feedback(False, f"{error}: run the cell above first.", counts=False)
        if not callable(function):
            return Feedback(False, f"That is no function but {shortened(function)}.", counts=False)
        for number in range(CASES):
            arguments = self.case(torch.Generator().manual_seed(number))
            if difference := self._difference(function, arguments):
                return Feedback(False, f"Not yet. {difference}")
        return Feedback(True, f"Right, in {CASES} of {CASES} cases.")

    def _difference(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
        """Describe how the results for ``arguments`` differ; "" if they agree."""
        expected = self.reference(*copy.deepcopy(arguments))
        call = f"`{getattr(function, '__name__', 'yours')}({', '.join(map(written, arguments))})`"
        try:
            with torch.random.fork_rng(devices=[]):
                got = function(*copy.deepcopy(arguments))
        except Exception as error:  # The student's function may raise anything.
            return f"{call} should be {written(expected)}; yours raises {type(error).__name__}: {error}"[:700]
        if agree(expected, got):
            return ""
        return f"{call} should be {written(expected)}; yours gives {_described(expected, got)}."


def agree(expected: Any, got: Any) -> bool:
    """Return whether ``got`` equals ``expected`` to float32 precision; never raises, whatever ``got`` is.

    Masks may be booleans or ones and zeros; lists, tuples and tensors of the same numbers are equal.

    Example:
        >>> agree(torch.tensor([True, False]), [1, 0]), agree(0.5, "half")
        (True, False)
    """
    if isinstance(expected, list | tuple) and expected and isinstance(expected[0], Tensor):
        return (
            isinstance(got, list | tuple)
            and len(got) == len(expected)
            and all(agree(*pair) for pair in zip(expected, got, strict=True))
        )
    try:
        ours, theirs = torch.as_tensor(expected).detach().double(), torch.as_tensor(got).detach().double()
    except (TypeError, ValueError, RuntimeError):
        return False
    return ours.shape == theirs.shape and bool(torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6))


def _described(expected: Any, got: Any) -> str:
    """Describe what is wrong with ``got``: its shape if that differs, else its value."""
    if isinstance(expected, list | tuple) and isinstance(got, list | tuple) and len(got) == len(expected):
        for place, (ours, theirs) in enumerate(zip(expected, got, strict=True)):
            if isinstance(ours, Tensor) and not agree(ours, theirs):
                return f"as number {place} {_described(ours, theirs)}"
    if isinstance(expected, Tensor) and isinstance(got, Tensor) and expected.shape != got.shape:
        return f"shape {tuple(got.shape)} instead of {tuple(expected.shape)}"
    return written(got)


def written(value: Any) -> str:
    """Return ``value`` as readable text.

    Example:
        >>> written((torch.tensor([0.5, -1.0]), [1, True]))
        '([0.5, −1], [1, True])'
    """
    return shortened_text(_written(value))


def shortened_text(text: str) -> str:
    """Return ``text``, cut off after `LONGEST` characters."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _written(value: Any) -> str:
    if isinstance(value, Tensor):
        return _written(value.detach().tolist())
    if isinstance(value, float):
        return signed(value)
    if isinstance(value, list | tuple):
        inside = ", ".join(map(_written, value))
        return f"({inside})" if isinstance(value, tuple) else f"[{inside}]"
    return repr(value)


class FunctionField:
    """The input of an exercise that is answered in a notebook cell."""

    def __init__(self, question: FunctionQuestion, solution: str) -> None:
        self.changed: Callable[[], object] = lambda: None
        self._question, self._solution = question, solution
        self.here = not on_web_page()
        told = (
            "Write it in the cell above, run that cell, then press <em>Check</em>."
            if self.here
            else "This one is written in code: open the lesson in JupyterLab to do it."
        )
        self.widget = widgets.HTML(f'<p class="ps-told">{told}</p>')

    @property
    def answer(self) -> str:
        """Return the current source of the function."""
        try:
            return inspect.getsource(self._question.find())
        except (NameError, OSError, TypeError):
            return ""

    def restore(self, answer: object) -> None:
        """Do nothing: the function is in the notebook."""

    def told(self) -> str:
        """Return the source, or a note that there is none."""
        return self.answer or "no source"

    def grade(self) -> Feedback:
        """Run the function on the cases."""
        return self._question.grade()

    def show_difference(self, complete: bool) -> None:
        """Do nothing: the feedback describes the first case that differs."""

    def reveal(self) -> str:
        """Show one solution, and return a sentence that says so."""
        self.widget.value = f'<pre class="ps-code">{escape(self._solution.strip())}</pre>'
        return "One way to write it is shown above; yours may look different."
