"""The whole network: how sensitive its layers are, and how much of each to prune for a goal. No widgets."""

from prunescope.network.allocation import Allocation
from prunescope.network.asked import AMOUNTS, SensitivitySpec
from prunescope.network.bisecting import Bisection
from prunescope.network.budget import Budget
from prunescope.network.entry import allocate, sensitivity
from prunescope.network.goal import RULES, UNITS, GoalSpec
from prunescope.network.joint import Measured
from prunescope.network.network import Network
from prunescope.network.scopes import Scope, groups, scope_specs
from prunescope.network.survey import Survey
from prunescope.network.table import Cell, SensitivityTable

__all__ = [
    "AMOUNTS",
    "RULES",
    "UNITS",
    "Allocation",
    "Bisection",
    "Budget",
    "Cell",
    "GoalSpec",
    "Measured",
    "Network",
    "Scope",
    "SensitivitySpec",
    "SensitivityTable",
    "Survey",
    "allocate",
    "groups",
    "scope_specs",
    "sensitivity",
]
