"""The engine's errors: subclasses of those that torch raises."""

from __future__ import annotations


class ParameterError(AttributeError, TypeError):
    """Raised if the module has no parameter of that name that can be pruned.

    torch raises AttributeError for an unknown name and TypeError for a missing bias or a computed tensor;
    code that catches either still does.
    """


class ShapeError(AssertionError, ValueError):
    """Raised if a mask or an importance score has another shape than its parameter."""


class NormError(ValueError, RuntimeError):
    """Raised if ``n`` is not the order of a norm, or not defined for these channels.

    torch raises RuntimeError from deep inside; code that catches that still does.
    """


class MissingPruningError(ValueError):
    """Raised if pruning is removed from a parameter that is not pruned."""
