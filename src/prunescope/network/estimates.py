"""Estimate the drop of cells that have not been run, if estimates agree with the cells that have been.

The estimate needs no data: it is the share of its squared weights that a layer loses. On trained networks it
ranks cells as well as first- and second-order estimates from gradients, which are near zero there. It is
shown once its rank correlation with the cells already run is high enough, and is rescaled to fit them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from prunescope.network.layers import Layer, energy
from prunescope.network.monotone import monotone_fit, rank_correlation
from prunescope.network.table import Cell

LEAST_CORRELATION = 0.7
"""Least rank correlation with the cells already run for estimates to be shown."""

LEAST_CELLS = 8
"""Least number of cells run before the correlation is computed."""


class Estimates:
    """Estimates for the cells of a table.

    Args:
        asked: Layer, amount and count of pruned units of every cell that can be run.
    """

    def __init__(self, asked: Sequence[tuple[Layer, float, int]]) -> None:
        self._asked = {(layer.name, amount): (layer, pruned) for layer, amount, pruned in asked}
        self._energies: dict[tuple[str, float], float] = {}

    def cells(self, known: Mapping[tuple[str, float], Cell]) -> dict[tuple[str, float], Cell]:
        """Return estimates for the unknown cells; empty while the estimates are not reliable enough."""
        empty = [key for key in self._asked if key not in known]
        run = [
            (key, cell.drop) for key, cell in known.items() if cell.drop is not None and key in self._asked
        ]
        if not empty or len(run) < LEAST_CELLS:
            return {}
        estimates, drops = [self.energy(key) for key, _ in run], [drop for _, drop in run]
        if rank_correlation(estimates, drops) < LEAST_CORRELATION:
            return {}
        order = np.argsort(estimates, kind="stable")
        fitted = monotone_fit(np.asarray(drops)[order])
        at = np.interp([self.energy(key) for key in empty], np.asarray(estimates)[order], fitted)
        return {
            key: Cell("estimated", float(drop), pruned_units=self._asked[key][1])
            for key, drop in zip(empty, at, strict=True)
        }

    def energy(self, key: tuple[str, float]) -> float:
        """Return the share of its layer's squared weights that a cell prunes; cached."""
        if key not in self._energies:
            layer, pruned = self._asked[key]
            self._energies[key] = energy(layer, pruned)
        return self._energies[key]
