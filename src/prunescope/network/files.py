"""Goals in bytes of the compressed file: search for the share of weights that gives the target size."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.core.text import percent
from prunescope.measure.costs.sizes import compress, permanent_file
from prunescope.network.layers import Layer, masks_of
from prunescope.network.tally import Counts
from prunescope.session import Session

STEPS = 12
"""Largest number of files compressed while searching for the share of weights that gives a size."""

NEAR = 0.002
"""How close to the target is close enough, as a share of the original file's size."""


def file_share(session: Session, masks: Mapping[str, Tensor]) -> float:
    """Return the relative saving in compressed file size, at most 1, compared with the original model.

    Args:
        session: The session.
        masks: Boolean masks by full name, True where kept, in addition to those of the steps.
    """
    return 1 - file_size(session, masks) / file_size(session, None)


def file_size(session: Session, masks: Mapping[str, Tensor] | None) -> int:
    """Return the bytes of the compressed file, with masks made permanent; None means the original model."""
    applied = session.masks(session.applied) if masks is not None else session.masks()
    sizes = compress(permanent_file(session.source.weights(), {**applied, **(masks or {})}))
    return deque(sizes, maxlen=1).pop()


def by_file(
    session: Session, layers: Sequence[Layer], target: float, counts_of: Callable[[float], Counts]
) -> Counts:
    """Return the counts of the smallest share of weights that makes the file smaller by ``target``.

    Args:
        session: The session.
        layers: Its layers.
        target: Share of the file's size to save.
        counts_of: Returns the counts for a share of weights; raises if that share cannot be met.

    Raises:
        RequestError: No allocation makes the file that small.
    """
    dense = file_size(session, None)

    def reached(counts: Counts) -> float:
        return 1 - file_size(session, masks_of(layers, counts)) / dense

    low, high, best, most = 0.0, 1.0, None, 0.0
    for _ in range(STEPS):
        share = (low + high) / 2
        try:
            counts = counts_of(share)
        except RequestError as error:
            if error.parameter not in ("target", "pins"):
                raise
            low, high = (share, high) if error.parameter == "pins" else (low, share)
            continue
        found = reached(counts)
        most = max(most, found)
        low, high, best = (low, share, counts) if found >= target else (share, high, best)
        if target <= found <= target + NEAR:
            break
    if best is None:
        raise RequestError(
            "target", f"Cannot: `target` is {percent(target)} of the file; the best is {percent(most)}."
        )
    return np.asarray(best)
