"""The answers of a lesson: how many are solved, the student's name, where they are saved, and the export."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from prunescope.lessons.progress import Progress
from prunescope.lessons.report import Answers, ExerciseAnswers, page_of
from prunescope.lessons.store import Store, store_for

if TYPE_CHECKING:
    from prunescope.lessons.exercise import Exercise

_CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")

LONGEST_NAME = 80


class Lesson(widgets.VBox):  # type: ignore[misc]
    """The answers of one lesson; a widget that shows the progress and export links.

    Args:
        name: File name of the notebook, without its ending.
        title: Title of the lesson.
        store: Where to save the answers; None means the default for this kind of page.

    Attributes:
        progress: A line that says how many are solved; may be displayed in several places.
        person: The field for the name.
        exercises: The exercises of the lesson, by key.

    Example:
        >>> from prunescope.lessons import ask_number
        >>> class Nowhere:
        ...     place, widget = "Nothing is kept.", None
        ...     def load(self, found): ...
        ...     def save(self, text): ...
        >>> lesson = Lesson("01", "A mask by hand", Nowhere())
        >>> exercise = ask_number("How many?", 2).keep_in(lesson, "1")
        >>> exercise.body.predict("2")
        >>> lesson.solved, exercise.check().right, lesson.solved
        ('0 of 1 solved', True, '1 of 1 solved')
    """

    def __init__(self, name: str, title: str, store: Store | None = None) -> None:
        super().__init__()
        self._name, self._title = name, title
        self._store = store or store_for(name)
        self._exercises: dict[str, Exercise[Any]] = {}
        self._kept: Mapping[str, Any] = {}
        self._loading = False
        self.progress = widgets.HTML()
        self.person = widgets.Text(description="Your name", placeholder="for the export").add_class("ps-name")
        self._export, self._place = widgets.HTML(), widgets.HTML()
        self.person.observe(lambda _: self._save(), names="value")
        self._store.load(self._load)
        extra = [self._store.widget] if self._store.widget else []
        # The store's widget must be on the page from the start: put it with the line on top.
        self.top = widgets.VBox([widgets.HTML(f"<style>{_CSS}</style>"), self.progress, *extra])
        self.children = [self.progress, self.person, self._export, self._place]
        for each in (self, self.top):
            each.add_class("ps-lesson")
        self._show()

    @property
    def exercises(self) -> Mapping[str, Exercise[Any]]:
        """Return the exercises of the lesson, by key."""
        return MappingProxyType(self._exercises)

    @property
    def solved(self) -> str:
        """Describe how many of the exercises that can be answered here are solved."""
        here = [each for each in self._exercises.values() if each.body.here]
        return f"{sum(each.progress.solved for each in here)} of {len(here)} solved"

    def add(self, key: str, exercise: Exercise[Any]) -> None:
        """Add ``exercise`` and save its answers; it replaces one with the same key, keeping the progress."""
        if before := self._exercises.get(key):
            exercise.restore(before.progress)
            before.keep(lambda: None)
        else:
            exercise.restore(Progress.read(self._kept.get(key)))
        self._exercises[key] = exercise
        exercise.keep(self._save)
        self._show()

    def answers(self) -> Answers:
        """Return the answers, ready to be handed in."""
        listed = [
            ExerciseAnswers(key, each.question(), each.progress) for key, each in self._exercises.items()
        ]
        return Answers(self._name, self._title, self.person.value[:LONGEST_NAME].strip(), tuple(listed))

    def _load(self, text: str) -> None:
        """Restore saved answers; ignore what cannot be read."""
        try:
            kept = Answers.read(json.loads(text))
        except (ValueError, RecursionError):
            return
        self._loading = True
        try:
            self._kept = {each.key: each.progress.as_json() for each in kept.exercises}
            self.person.value = self.person.value or kept.name
            for key, exercise in self._exercises.items():
                exercise.restore(Progress.read(self._kept.get(key)))
        finally:
            self._loading = False
        self._show()

    def _save(self) -> None:
        if not self._loading:
            answers = self.answers()
            new = {each.key: each.progress.as_json() for each in answers.exercises}
            # Exercises whose cells have not run yet keep their saved answers.
            rest = [
                ExerciseAnswers(key, "", Progress.read(kept))
                for key, kept in self._kept.items()
                if key not in new
            ]
            self._store.save(json.dumps(answers.with_more(rest).as_json(), ensure_ascii=False))
            self._show()

    def _show(self) -> None:
        self.progress.value = f'<div role="status" class="ps-progress">{self.solved}</div>'
        self._place.value = f'<div class="ps-place">{escape(self._store.place)}</div>'
        answers = self.answers()
        file = "-".join(re.findall(r"\w+", answers.name)) or "answers"
        files = {
            "as a file for the teacher (JSON)": ("json", "application/json", answers.text()),
            "as a page to print": ("html", "text/html", page_of(answers)),
        }
        links = (
            _link(f"{self._name}-{file}.{ending}", kind, content, words)
            for words, (ending, kind, content) in files.items()
        )
        self._export.value = f'<div class="ps-export">Export my answers: {" · ".join(links)}</div>'


def _link(name: str, kind: str, content: str, words: str) -> str:
    """Return a download link for ``content`` that needs no server."""
    address = f"data:{kind};base64,{base64.b64encode(content.encode()).decode()}"
    return f'<a download="{escape(name)}" href="{address}">{words}</a>'
