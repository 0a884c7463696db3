"""Colours and sizes shared by the drawings. Safe for colour-blind eyes, and apart in lightness as well."""

from __future__ import annotations

KEPT = "#17507f"
"""A kept weight: dark blue."""

PRUNED = "#f2a93b"
"""A weight this step prunes: light orange."""

EARLIER = "#b9c0c7"
"""A weight an earlier step pruned: grey."""

THRESHOLD = "#b3261e"
"""The threshold line."""

INK = "#1f2933"
"""Titles and ticks."""

FAINT = "#5b6771"
"""Labels and second lines."""

GRID = "#e3e7eb"
"""Grid lines and frames."""
