"""The one exception of the public API: a sentence, and the parameter it is about."""

from __future__ import annotations


class RequestError(ValueError):
    """Raised when a request cannot be met; says why in one sentence.

    Args:
        parameter: The parameter the sentence is about, such as ``"amount"``; the explorer shows the
            sentence beside the control of that name.
        message: One sentence that names the parameter, what is allowed and what it got.

    Example:
        >>> error = RequestError("amount", "`amount` must be a float in [0, 1], got 1.5.")
        >>> error.parameter, str(error)
        ('amount', '`amount` must be a float in [0, 1], got 1.5.')
    """

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook prints in place of a traceback: the sentence alone."""
        return [f"{type(self).__name__}: {self}"]


def is_out_of_memory(error: Exception) -> bool:
    """Return whether memory ran out, of the machine or of an accelerator.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("shapes differ"))
        (True, False)
    """
    said = str(error)
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said
