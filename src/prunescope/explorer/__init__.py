"""The widgets: controls and live pictures of what pruning would do."""

from prunescope.explorer.entry import dashboard, dashboard_when_visited, explore
from prunescope.explorer.explorer import Explorer

__all__ = ["Explorer", "dashboard", "dashboard_when_visited", "explore"]
