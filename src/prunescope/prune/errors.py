"""The engine's own errors: more specific than torch's, and of torch's types as well."""

from __future__ import annotations


class ParameterError(AttributeError, TypeError):
    """The module has no parameter of that name that could be pruned.

    torch raises AttributeError for an unknown name and TypeError for a missing bias or a computed tensor;
    whoever catches either goes on catching it.
    """


class ShapeError(AssertionError, ValueError):
    """A mask or an importance score has another shape than the parameter it is for."""


class NormError(ValueError, RuntimeError):
    """The order ``n`` is no order of a norm, or has no meaning for the channels at hand.

    torch raises RuntimeError from deep inside; whoever catches that goes on catching it.
    """


class MissingPruningError(ValueError):
    """Pruning was to be removed from a parameter that is not pruned."""
