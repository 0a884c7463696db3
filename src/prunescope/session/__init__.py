"""One exploration of one model: previews with cached rankings, steps, and plans."""

from prunescope.session.session import Session

__all__ = ["Session"]
