"""Controls and panels: each renders the snapshot, and nothing else writes its widgets."""

from prunescope.explorer.panels.compare import ComparePanel
from prunescope.explorer.panels.costs import CostsPanel
from prunescope.explorer.panels.effect import EffectPanel
from prunescope.explorer.panels.export import ExportPanel
from prunescope.explorer.panels.network import NetworkPanel
from prunescope.explorer.panels.panel import Panel
from prunescope.explorer.panels.recover import RecoverPanel
from prunescope.explorer.panels.steps import StepsPanel

PANELS: list[type[Panel]] = [
    StepsPanel,
    NetworkPanel,
    RecoverPanel,
    ComparePanel,
    EffectPanel,
    CostsPanel,
    ExportPanel,
]
"""The panels that have a tab, in order; add a panel by adding a row."""

__all__ = ["PANELS", "Panel"]
