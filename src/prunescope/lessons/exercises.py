"""The four kinds of exercise, each in one call; the engine, or the caller's run, knows the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Any

from torch import nn

from prunescope.lessons.bands import Bands
from prunescope.lessons.cells import Cells
from prunescope.lessons.exercise import Exercise, Texts
from prunescope.lessons.feedback import ChoiceQuestion, NumberQuestion
from prunescope.lessons.fields import ChoiceField, NumberField
from prunescope.lessons.prediction import ChannelQuestion, MaskQuestion, preview_layer


def predict_mask(
    question: str, layer: nn.Module, *, hints: Sequence[str] = (), why: str = "", **spec: Any
) -> Exercise[Cells]:
    """Return an exercise: press the weights of ``layer`` that a method will prune.

    Args:
        question: What is asked.
        layer: A layer of at most 144 weights; what it carries of earlier pruning cannot go again.
        hints: Sentences given one by one, on request.
        why: What is said once it is solved.
        **spec: Fields of `prunescope.core.spec.PruneSpec` but ``layer``: method, amount, n, dim, seed.

    Raises:
        TypeError: An unknown keyword.
        RequestError: There is no weight, a value cannot be met by it, or a text is none.
        ValueError: The layer has too many weights to show.

    Example:
        >>> exercise = predict_mask("Which go?", nn.Linear(3, 2), amount=2)
        >>> exercise.check().text
        'Nothing is marked yet: mark what will be pruned, then check.'
    """
    texts, lock = Texts(question, hints, why), RLock()
    body = Cells(MaskQuestion(preview_layer(layer, **spec)), lock)
    return Exercise(texts, body, lock)


def predict_channels(
    question: str,
    layer: nn.Module,
    *,
    dims: tuple[int, ...] = (0, 1),
    hints: Sequence[str] = (),
    why: str = "",
    **spec: Any,
) -> Exercise[Bands]:
    """Return an exercise: press the channels of ``layer`` that a structured method will prune.

    Args:
        question: What is asked.
        layer: A layer of at most 144 weights and at least 2 axes.
        dims: The dims to choose from; the right one among them.
        hints: Sentences given one by one, on request.
        why: What is said once it is solved.
        **spec: Fields of `prunescope.core.spec.PruneSpec` but ``layer``: method, amount, n, dim, seed.

    Raises:
        TypeError: An unknown keyword.
        RequestError: There is no weight, a value cannot be met by it, or a text is none.
        ValueError: The method is not structured, or the layer has too many weights to show.

    Example:
        >>> ask = dict(method="ln_structured", amount=1, dim=0)
        >>> predict_channels("Which goes?", nn.Linear(3, 2), **ask).check().right
        False
    """
    texts, lock = Texts(question, hints, why), RLock()
    body = Bands(ChannelQuestion(preview_layer(layer, **spec)), dims, lock)
    return Exercise(texts, body, lock)


def ask_number(
    question: str,
    answer: float,
    mistakes: Mapping[float, str] | None = None,
    *,
    tolerance: float = 1e-9,
    hints: Sequence[str] = (),
    why: str = "",
) -> Exercise[NumberField]:
    """Return an exercise whose answer is a number.

    Args:
        question: What is asked.
        answer: The right number, computed in the lesson.
        mistakes: Plausible wrong numbers, each with the sentence that names the misconception.
        tolerance: How far from ``answer`` still counts as right, ``>= 0``.
        hints: Sentences given one by one, on request.
        why: What is said once it is solved.

    Raises:
        RequestError: A number is not finite, or a text is none.

    Example:
        >>> exercise = ask_number("How many of 5 go at 0.5?", round(0.5 * 5), {3: "Half goes to the even."})
        >>> exercise.body.predict("3")
        >>> exercise.check().text
        'Not yet. Half goes to the even.'
    """
    texts = Texts(question, hints, why)
    body = NumberField(NumberQuestion(answer, mistakes or {}, tolerance))
    return Exercise(texts, body)


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
        RequestError: ``answer`` is not among ``choices``, or a text is none.

    Example:
        >>> exercise = ask_choice("Which dim runs down?", ["0", "1"], "0")
        >>> exercise.check().text
        'Please choose one of the answers.'
    """
    texts = Texts(question, hints, why)
    body = ChoiceField(ChoiceQuestion(choices, answer, mistakes or {}))
    return Exercise(texts, body)
