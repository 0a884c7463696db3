"""The smaller network: pruned channels cut out, with proof that it answers the same."""

from prunescope.export.compact.cuts import COUPLED, Cut
from prunescope.export.compact.graph import INSTALL, is_installed
from prunescope.export.compact.model import CompactModel, Pair, compact_model, compacting, possible_cuts
from prunescope.export.compact.rebuild import rebuild
from prunescope.export.compact.staircase import ROUNDINGS, Staircase, Tread, staircase
from prunescope.sources.units import gate_rows

__all__ = [
    "COUPLED",
    "INSTALL",
    "ROUNDINGS",
    "CompactModel",
    "Cut",
    "Pair",
    "Staircase",
    "Tread",
    "compact_model",
    "compacting",
    "gate_rows",
    "is_installed",
    "possible_cuts",
    "rebuild",
    "staircase",
]
