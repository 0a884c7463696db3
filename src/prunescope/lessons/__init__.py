"""Exercises for lessons on pruning: predict a mask or channels, give a number, choose an answer.

Right answers come from the engine; wrong ones are told why. The lessons themselves are the notebooks
``01`` to ``08`` of ``notebooks/``.
"""

from prunescope.lessons.exercise import Exercise
from prunescope.lessons.exercises import ask_choice, ask_number, predict_channels, predict_mask
from prunescope.lessons.feedback import Feedback
from prunescope.lessons.page import grid, picture, say, table
from prunescope.lessons.stage import all_but

__all__ = [
    "Exercise",
    "Feedback",
    "all_but",
    "ask_choice",
    "ask_number",
    "grid",
    "picture",
    "predict_channels",
    "predict_mask",
    "say",
    "table",
]
