"""Exercises for lessons on pruning: predict a mask or channels, give a number, choose, write a function.

Correct answers come from the engine; wrong ones are explained. The lessons themselves are the notebooks
``01`` to ``08`` of ``notebooks/``.
"""

from prunescope.lessons.exercise import Exercise
from prunescope.lessons.exercises import (
    ask_choice,
    ask_number,
    predict_channels,
    predict_mask,
    write_function,
)
from prunescope.lessons.feedback import Feedback
from prunescope.lessons.fresh import draw
from prunescope.lessons.lesson import Lesson
from prunescope.lessons.page import grid, once_answered, picture, say, table
from prunescope.lessons.report import class_summary
from prunescope.lessons.stage import all_but

__all__ = [
    "Exercise",
    "Feedback",
    "Lesson",
    "all_but",
    "ask_choice",
    "ask_number",
    "class_summary",
    "draw",
    "grid",
    "once_answered",
    "picture",
    "predict_channels",
    "predict_mask",
    "say",
    "table",
    "write_function",
]
