"""Answers to hand in: a file, a printable page, and a teacher's summary of a folder of files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, Self

from prunescope.core.errors import RequestError
from prunescope.lessons.page import table
from prunescope.lessons.progress import Progress
from prunescope.lessons.writing import as_html, shortened

FORMAT = "prunescope-answers-1"
"""Format name in a file of answers."""

MOST = 1 << 20
"""Most bytes that are read from a file of answers."""


@dataclass(frozen=True)
class ExerciseAnswers:
    """One exercise of a lesson: its ``key``, the ``question``, and the student's ``progress``."""

    key: str
    question: str
    progress: Progress


@dataclass(frozen=True)
class Answers:
    """One student's answers in one lesson.

    Attributes:
        lesson: File name of the notebook, without its ending.
        title: Title of the lesson.
        name: The student's name; may be empty.
        exercises: The exercises, in the order of the lesson.
    """

    lesson: str
    title: str
    name: str
    exercises: tuple[ExerciseAnswers, ...]

    def with_more(self, rest: Iterable[ExerciseAnswers]) -> Self:
        """Return these answers with ``rest`` appended."""
        return replace(self, exercises=(*self.exercises, *rest))

    def as_json(self) -> dict[str, Any]:
        """Return the answers as JSON values."""
        exercises = [
            {"key": each.key, "question": each.question, **each.progress.as_json()} for each in self.exercises
        ]
        return {
            "format": FORMAT,
            "lesson": self.lesson,
            "title": self.title,
            "name": self.name,
            "exercises": exercises,
        }

    def text(self) -> str:
        """Return the text of the file."""
        return json.dumps(self.as_json(), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def read(cls, kept: object) -> Self:
        """Restore what `as_json` returned.

        Raises:
            ValueError: It is anything else.

        Example:
            >>> Answers.read({"format": "another"})
            Traceback (most recent call last):
            ValueError: not a file of answers
        """
        if not (isinstance(kept, Mapping) and kept.get("format") == FORMAT):
            raise ValueError("not a file of answers")
        lesson, title, name = (kept.get(key) for key in ("lesson", "title", "name"))
        listed = kept.get("exercises")
        if not (all(isinstance(each, str) for each in (lesson, title, name)) and isinstance(listed, list)):
            raise ValueError("not a file of answers")
        return cls(str(lesson), str(title), str(name), tuple(map(_exercise, listed)))


def _exercise(kept: object) -> ExerciseAnswers:
    if not (isinstance(kept, Mapping) and isinstance(kept.get("key"), str)):
        raise ValueError("not a file of answers")
    return ExerciseAnswers(kept["key"], str(kept.get("question", "")), Progress.read(kept))


def _outcome(progress: Progress) -> str:
    """Describe how an exercise went.

    Example:
        >>> _outcome(Progress(solved=True, attempts=1)), _outcome(Progress(shown=True, attempts=2))
        ('solved at the first try', 'not solved; 2 tries, then the answer was shown')
    """
    tries = "1 try" if progress.attempts == 1 else f"{progress.attempts} tries"
    if progress.solved:
        first = progress.attempts == 1 and not progress.shown
        told = "solved at the first try" if first else f"solved; {tries}"
        return f"{told}; twice in a row on fresh numbers" if progress.streak > 1 else told
    if progress.shown:
        return (
            f"not solved; {tries}, then the answer was shown" if progress.attempts else "the answer was shown"
        )
    return f"not solved; {tries}" if progress.attempts else "not tried"


def page_of(answers: Answers) -> str:
    """Return a printable HTML page: questions, outcomes and attempts.

    Example:
        >>> page = page_of(Answers("01", "A mask", "Ada", (ExerciseAnswers("1", "Which?", Progress()),)))
        >>> "Ada" in page, "not tried" in page
        (True, True)
    """
    solved = sum(each.progress.solved for each in answers.exercises)
    items = "".join(
        f"<li><p>{as_html(each.question)}</p><p>{_outcome(each.progress)}</p>{_tries(each.progress.tries)}</li>"
        for each in answers.exercises
    )
    title = escape(f"{answers.title or answers.lesson}: {answers.name or 'no name'}")
    return (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:16px/1.5 sans-serif;max-width:42em;margin:2em auto;padding:0 1em}"
        "li{break-inside:avoid;margin-bottom:1em}p{margin:.2em 0}pre{white-space:pre-wrap}</style>"
        f"<h1>{title}</h1><p>{solved} of {len(answers.exercises)} solved</p><ol>{items}</ol></html>"
    )


def _tries(tries: Sequence[str]) -> str:
    shown = (
        f"<pre>{escape(each)}</pre>" if "\n" in each else f"<span>{escape(each)}</span>" for each in tries
    )
    return f"<ul>{''.join(f'<li>{each}</li>' for each in shown)}</ul>" if tries else ""


def class_summary(folder: str | Path) -> str:
    """Summarize what a class has handed in, as Markdown tables: who solved what, and common wrong answers.

    Args:
        folder: A folder with the files that students exported; subfolders are searched too.

    Raises:
        RequestError: There is no such folder.

    Example:
        >>> class_summary("nowhere")
        Traceback (most recent call last):
        prunescope.core.errors.RequestError: `folder` must be a folder of exported answers, got 'nowhere'.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RequestError(
            "folder", f"`folder` must be a folder of exported answers, got {shortened(folder)}."
        )
    lessons: dict[str, list[tuple[str, Answers]]] = {}
    unread: list[str] = []
    for path in sorted(root.rglob("*.json")):
        try:
            answers = Answers.read(json.loads(path.read_bytes()[:MOST]))
        except (OSError, ValueError, RecursionError):
            unread.append(path.name)
            continue
        lessons.setdefault(answers.lesson, []).append((answers.name or path.stem, answers))
    parts = [_lesson_summary(lesson, handed) for lesson, handed in sorted(lessons.items())]
    if not parts:
        parts.append("No answers were handed in yet.")
    if unread:
        parts.append(f"Not files of answers: {', '.join(unread)}.")
    return "\n\n".join(parts)


def _lesson_summary(lesson: str, handed: Sequence[tuple[str, Answers]]) -> str:
    keys = list(dict.fromkeys(each.key for _, answers in handed for each in answers.exercises))
    found = [(who, {each.key: each for each in answers.exercises}) for who, answers in handed]
    rows = [
        [who, *(_sign(each.get(key)) for key in keys), sum(e.progress.solved for e in each.values())]
        for who, each in found
    ]
    solved = [sum(key in each and each[key].progress.solved for _, each in found) for key in keys]
    rows.append(["**solved**", *(f"{count} of {len(found)}" for count in solved), sum(solved)])
    legend = (
        "✓ solved (after how many tries, if not at the first), ✗ tried, ○ the answer was shown, – not tried."
    )
    title = handed[0][1].title or lesson
    who = table(["", *keys, "solved"], rows)
    wrong = [_often(key, [each[key] for _, each in found if key in each]) for key in keys]
    often = table(["exercise", "tries on average", "most frequent wrong answer"], wrong)
    return f"### {lesson}: {title}\n\n{who}\n\n{legend}\n\n{often}"


def _sign(exercise: ExerciseAnswers | None) -> str:
    if exercise is None:
        return "–"
    progress = exercise.progress
    if progress.solved:
        return "✓" if progress.attempts == 1 else f"✓ {progress.attempts}"
    return "○" if progress.shown else "✗" if progress.attempts else "–"


def _often(key: str, done: Sequence[ExerciseAnswers]) -> list[str]:
    """Return a table row: an exercise, the mean number of tries, and the most frequent wrong answer."""
    tried = [each.progress.attempts for each in done if each.progress.attempts]
    wrong = Counter(told for each in done for told in set(each.progress.tries) if not told.endswith("✓"))
    question = next((each.question for each in done if each.question), "")
    mean = f"{sum(tried) / len(tried):.1f}" if tried else "–"
    first = wrong.most_common(1)
    told = f"{' '.join(first[0][0].split())[:60]} ({first[0][1]} of {len(done)})" if first else "–"
    return [f"{key}: {question[:70]}", mean, told]
