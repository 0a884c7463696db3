"""The five kinds of exercise, each made by one call; the answer comes from the engine or the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import Any

import torch
from torch import Generator, nn

from prunescope.lessons.bands import Bands
from prunescope.lessons.cells import Cells
from prunescope.lessons.exercise import Exercise, Texts
from prunescope.lessons.feedback import ChoiceQuestion, NumberQuestion
from prunescope.lessons.fields import ChoiceField, NumberField
from prunescope.lessons.fresh import Maker, fresh_layer
from prunescope.lessons.functions import FunctionField, FunctionQuestion
from prunescope.lessons.prediction import ChannelQuestion, MaskQuestion, preview_layer

Sentence = str | Callable[[nn.Module], str]
"""A sentence, or a function that makes it from the layer in question."""


def predict_mask(
    question: str,
    layer: nn.Module,
    *,
    hints: Sequence[Sentence] = (),
    why: Sentence = "",
    another: Maker | None = None,
    **spec: Any,
) -> Exercise[Cells]:
    """Return an exercise: mark the weights of ``layer`` that a method will prune.

    Args:
        question: What is asked.
        layer: A layer of at most 144 weights; weights that are already pruned cannot be marked.
        hints: Sentences given one by one, on request.
        why: What is said once it is solved.
        another: Makes another layer to ask the same about, from a generator; None offers no other.
        **spec: Fields of `prunescope.core.spec.PruneSpec` but ``layer``: method, amount, n, dim, seed.

    Raises:
        TypeError: An unknown keyword.
        RequestError: There is no weight, a value cannot be met by it, or a text is empty.
        ValueError: The layer has too many weights to show.

    Example:
        >>> exercise = predict_mask("Which go?", nn.Linear(3, 2), amount=2)
        >>> exercise.check().text
        'Nothing is marked yet: mark what will be pruned, then check.'
    """
    lock, first = RLock(), preview_layer(layer, **spec)
    texts = _texts(question, hints, why, layer)

    def deal(number: int) -> tuple[Texts, Cells]:
        assert another is not None
        fresh, preview = fresh_layer(another, first, number, **spec)
        return _texts(question, hints, why, fresh), Cells(MaskQuestion(preview), lock)

    return Exercise(texts, Cells(MaskQuestion(first), lock), lock, deal if another else None)


def predict_channels(
    question: str,
    layer: nn.Module,
    *,
    dims: tuple[int, ...] = (0, 1),
    hints: Sequence[Sentence] = (),
    why: Sentence = "",
    another: Maker | None = None,
    **spec: Any,
) -> Exercise[Bands]:
    """Return an exercise: mark the channels of ``layer`` that a structured method will prune.

    Args:
        question: What is asked.
        layer: A layer of at most 144 weights and at least 2 axes.
        dims: The dims to choose from; the right one among them.
        hints: Sentences given one by one, on request.
        why: What is said once it is solved.
        another: Makes another layer to ask the same about, from a generator; None offers no other.
        **spec: Fields of `prunescope.core.spec.PruneSpec` but ``layer``: method, amount, n, dim, seed.

    Raises:
        TypeError: An unknown keyword.
        RequestError: There is no weight, a value cannot be met by it, or a text is empty.
        ValueError: The method is not structured, or the layer has too many weights to show.

    Example:
        >>> ask = dict(method="ln_structured", amount=1, dim=0)
        >>> predict_channels("Which goes?", nn.Linear(3, 2), **ask).check().right
        False
    """
    lock, first = RLock(), preview_layer(layer, **spec)
    texts = _texts(question, hints, why, layer)

    def deal(number: int) -> tuple[Texts, Bands]:
        assert another is not None
        fresh, preview = fresh_layer(another, first, number, **spec)
        return _texts(question, hints, why, fresh), Bands(ChannelQuestion(preview), dims, lock)

    return Exercise(texts, Bands(ChannelQuestion(first), dims, lock), lock, deal if another else None)


def _texts(question: str, hints: Sequence[Sentence], why: Sentence, layer: nn.Module) -> Texts:
    """Return the texts for ``layer``; `Texts` refuses anything that is not text."""
    listed = isinstance(hints, list | tuple)
    made = [_said(each, layer) for each in hints] if listed else hints
    return Texts(question, made, _said(why, layer))  # type: ignore[arg-type]


def _said(sentence: Sentence, layer: nn.Module) -> str:
    return sentence(layer) if callable(sentence) else sentence


def ask_number(
    question: str,
    answer: float,
    mistakes: Mapping[float, str] | None = None,
    *,
    tolerance: float = 1e-9,
    decimals: int | None = None,
    hints: Sequence[str] = (),
    why: str = "",
    another: Callable[[Generator], Mapping[str, Any]] | None = None,
) -> Exercise[NumberField]:
    """Return an exercise whose answer is a number.

    Args:
        question: What is asked.
        answer: The right number, computed in the lesson from the numbers *shown*.
        mistakes: Plausible wrong numbers, each with the sentence that names the misconception.
        tolerance: How far from ``answer`` still counts as right, ``>= 0``.
        decimals: Decimals that the question asks for, if it asks for some: what rounds like ``answer`` is
            right.
        hints: Sentences given one by one, on request.
        why: What is said once it is solved.
        another: Makes the same question about other numbers from a generator: a mapping of those of these
            arguments that change. None offers no other.

    Raises:
        RequestError: A number is not finite, or a text is empty.

    Example:
        >>> exercise = ask_number("How many of 5 go at 0.5?", round(0.5 * 5), {3: "Half goes to the even."})
        >>> exercise.body.predict("3")
        >>> exercise.check().text
        'Not yet. Half goes to the even.'
    """
    usual = {
        "question": question,
        "answer": answer,
        "mistakes": mistakes or {},
        "tolerance": tolerance,
        "decimals": decimals,
        "hints": hints,
        "why": why,
    }

    def deal(number: int) -> tuple[Texts, NumberField]:
        changes = another(torch.Generator().manual_seed(number)) if number and another else {}
        asked = {**usual, **changes}
        texts = Texts(asked["question"], asked["hints"], asked["why"])
        graded = NumberQuestion(asked["answer"], asked["mistakes"], asked["tolerance"], asked["decimals"])
        return texts, NumberField(graded)

    return Exercise(*deal(0), deal=deal if another else None)


def ask_choice(
    question: str,
    choices: Sequence[str],
    answer: str,
    mistakes: Mapping[str, str] | None = None,
    *,
    hints: Sequence[str] = (),
    why: str = "",
) -> Exercise[ChoiceField]:
    """Return an exercise whose answer is one of ``choices``.

    Args:
        question: What is asked.
        choices: What can be chosen, as people read it.
        answer: The right one, computed in the lesson.
        mistakes: For the wrong ones, the sentence that names the misconception.
        hints: Sentences given one by one, on request.
        why: What is said once it is solved.

    Raises:
        RequestError: ``answer`` is not among ``choices``, or a text is empty.

    Example:
        >>> exercise = ask_choice("Which dim runs down?", ["0", "1"], "0")
        >>> exercise.check().text
        'Please choose one of the answers.'
    """
    texts = Texts(question, hints, why)
    body = ChoiceField(ChoiceQuestion(choices, answer, mistakes or {}))
    return Exercise(texts, body)


def write_function(
    question: str,
    find: Callable[[], Callable[..., Any]],
    reference: Callable[..., Any],
    case: Callable[[Generator], tuple[Any, ...]],
    *,
    solution: str,
    hints: Sequence[str] = (),
    why: str = "",
) -> Exercise[FunctionField]:
    """Return an exercise whose answer is a function, written in a cell of the notebook.

    Args:
        question: What the function is given, and what it returns.
        find: Returns the function as it is defined now, such as ``lambda: my_mask``.
        reference: The same function, right: the engine, as a rule.
        case: Makes the arguments of one case from a generator; none of them is shown before one differs.
        solution: One way to write it, shown on request.
        hints: Sentences given one by one, on request.
        why: What is said once it is solved.

    Raises:
        RequestError: One of them is not a function, or a text is empty.

    Example:
        >>> def double(x):
        ...     return x + 2
        >>> twice = "def double(x):\\n    return 2 * x"
        >>> ask = write_function("?", lambda: double, lambda x: 2 * x, lambda g: (1,), solution=twice)
        >>> ask.check().text
        'Not yet. `double(1)` should be 2; yours gives 3.'
    """
    texts = Texts(question, hints, why)
    return Exercise(texts, FunctionField(FunctionQuestion(find, reference, case), solution))
