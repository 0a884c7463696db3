"""The smaller network: pruned channels cut out, with proof that it answers the same."""

from prunescope.export.compact.cuts import COUPLED, Cut
from prunescope.export.compact.cutting import Cutting, Found, possible_cuts
from prunescope.export.compact.graph import INSTALL, is_installed
from prunescope.export.compact.model import (
    CompactModel,
    Pair,
    compact_model,
    compacted,
    compacting,
    latency_of,
    metrics_of,
)
from prunescope.export.compact.rebuild import rebuild
from prunescope.export.compact.staircase import ROUNDINGS, Staircase, Tread, staircase
from prunescope.sources.units import gate_rows

__all__ = [
    "COUPLED",
    "INSTALL",
    "ROUNDINGS",
    "CompactModel",
    "Cut",
    "Cutting",
    "Found",
    "Pair",
    "Staircase",
    "Tread",
    "compact_model",
    "compacted",
    "compacting",
    "gate_rows",
    "is_installed",
    "latency_of",
    "metrics_of",
    "possible_cuts",
    "rebuild",
    "staircase",
]
