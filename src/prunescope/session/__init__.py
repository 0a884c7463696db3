"""Sessions: one model with its previews, cached rankings, steps and plans."""

from prunescope.session.session import Session

__all__ = ["Session"]
