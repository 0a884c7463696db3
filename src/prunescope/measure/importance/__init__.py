"""Computes the scores of the criteria: once for a model and its data, on a copy in eval mode.

`score` is a generator: each step is one batch, so that a page can pump it, show how far it is, and give it
up. A change of amount never computes again: a session keeps the scores until its model changes.
"""

from __future__ import annotations

from prunescope.measure.importance.given import given_scores
from prunescope.measure.importance.running import cross_entropy
from prunescope.measure.importance.scoring import BATCH, ensure_asked, ensure_scores, score, scored_preview

__all__ = [
    "BATCH",
    "cross_entropy",
    "ensure_asked",
    "ensure_scores",
    "given_scores",
    "score",
    "scored_preview",
]
