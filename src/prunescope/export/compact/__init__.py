"""The smaller network: pruned channels cut out, with proof that it answers the same."""

from prunescope.export.compact.cuts import COUPLED, Cut
from prunescope.export.compact.graph import INSTALL, is_installed
from prunescope.export.compact.rebuild import rebuild
from prunescope.export.compact.smaller import Pair, Smaller, compact_model, compacting, find_smaller
from prunescope.export.compact.staircase import ROUNDINGS, Staircase, Tread, staircase
from prunescope.sources.units import gate_rows

__all__ = [
    "COUPLED",
    "INSTALL",
    "ROUNDINGS",
    "Cut",
    "Pair",
    "Smaller",
    "Staircase",
    "Tread",
    "compact_model",
    "compacting",
    "find_smaller",
    "gate_rows",
    "is_installed",
    "rebuild",
    "staircase",
]
