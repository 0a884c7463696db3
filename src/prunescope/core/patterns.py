"""N:M patterns: at most N of every M consecutive weights of a row are kept."""

from __future__ import annotations

from dataclasses import dataclass

from prunescope.core.preview import Preview
from prunescope.core.resolve import row_axes
from prunescope.core.tensor import PrunableTensor
from prunescope.prune import pattern_breaks
from prunescope.prune.grouped import groups_of


@dataclass(frozen=True)
class Pattern:
    """At most ``keep`` of every ``of`` consecutive weights are kept.

    Example:
        >>> Pattern(1, 4).name, Pattern(1, 4).asks
        ('1:4', {'method': 'grouped_unstructured', 'amount': 0.75, 'group': 4})
    """

    keep: int
    of: int

    @property
    def name(self) -> str:
        """Return how it is written, such as ``"2:4"``."""
        return f"{self.keep}:{self.of}"

    @property
    def asks(self) -> dict[str, object]:
        """Return the fields of a spec that prunes a tensor to it."""
        return {"method": "grouped_unstructured", "amount": 1 - self.keep / self.of, "group": self.of}

    def is_asked(self, preview: Preview) -> bool:
        """Return whether ``preview`` prunes to it."""
        spec = preview.spec
        return preview.method.groups and spec.group == self.of and preview.asked_units == self.of - self.keep


PATTERNS = (Pattern(2, 4), Pattern(4, 8), Pattern(1, 4))
"""The patterns that are one click away."""


@dataclass(frozen=True)
class Fit:
    """In how many groups a mask breaks a pattern.

    Attributes:
        pattern: The pattern.
        groups: How many groups there are.
        broken: In how many of them more is kept than the pattern allows.

    Example:
        >>> Fit(PATTERNS[0], 3072, 1843).in_words, Fit(PATTERNS[0], 3072, 0).in_words
        ('breaks 2:4 in 1,843 of 3,072 groups', 'fits 2:4 in all 3,072 groups')
    """

    pattern: Pattern
    groups: int
    broken: int

    @property
    def in_words(self) -> str:
        """Return it as a person says it of the mask."""
        if self.broken:
            return f"breaks {self.pattern.name} in {self.broken:,} of {self.groups:,} groups"
        return f"fits {self.pattern.name} in all {self.groups:,} groups"


def fit(preview: Preview, pattern: Pattern) -> Fit | None:
    """Return how the mask of ``preview`` fits ``pattern``; None where rows are no multiple of its groups.

    Args:
        preview: What is shown; groups run along its ``dim`` if its method has groups, else along its rows.
        pattern: The pattern.
    """
    axes = group_axes(preview)
    try:
        size = groups_of(preview.tensor.shape, pattern.of, axes).size
    except ValueError:
        return None
    broken = pattern_breaks(preview.mask, pattern.keep, pattern.of, axes)
    return Fit(pattern, preview.mask.numel() // size, broken)


def group_axes(preview: Preview) -> tuple[int, ...]:
    """Return the axes that groups of the tensor shown run along."""
    dim = preview.spec.dim
    return dim if preview.method.groups and isinstance(dim, tuple) else row_axes(preview.tensor)


def group_sizes(tensor: PrunableTensor, axes: tuple[int, ...]) -> list[int]:
    """Return the powers of two that divide the length along ``axes``, as sizes of groups.

    Example:
        >>> import torch
        >>> group_sizes(PrunableTensor("w", "Linear", torch.zeros(3, 24), ("outputs", "inputs")), (1,))
        [2, 4, 8]
    """
    length = groups_of(tensor.shape, None, axes).size
    return [size for size in (2, 4, 8, 16, 32, 64, 128) if size < length and length % size == 0]
