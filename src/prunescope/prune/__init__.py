"""The engine: all of ``torch.nn.utils.prune``, rebuilt on one shared selection.

``import prunescope.prune as prune`` in place of ``import torch.nn.utils.prune as prune``: same names, same
masks for the same seed, same parameters, buffers, hooks and ``state_dict`` keys. Underneath, every method is
a ranking: it scores units (elements, or channels along ``dim``), and the k lowest are pruned.
"""

from __future__ import annotations

from prunescope.prune.base import BasePruningMethod, PruningContainer
from prunescope.prune.checkpoint import load_pruned_state_dict
from prunescope.prune.errors import MissingPruningError, NormError, ParameterError, ShapeError
from prunescope.prune.functions import (
    custom_from_mask,
    identity,
    is_pruned,
    l1_unstructured,
    ln_structured,
    random_structured,
    random_unstructured,
    remove,
)
from prunescope.prune.global_ import global_unstructured
from prunescope.prune.grouped import GroupedUnstructured, GroupRanking, grouped_unstructured, pattern_breaks
from prunescope.prune.methods import (
    CustomFromMask,
    Identity,
    L1Unstructured,
    LnStructured,
    RandomStructured,
    RandomUnstructured,
)
from prunescope.prune.scores import Norm, channel_norms, validate_dim, validate_norm
from prunescope.prune.selection import Ranking, units_to_prune
from prunescope.prune.validation import (
    _compute_norm,
    _compute_nparams_toprune,
    _validate_pruning_amount,
    _validate_pruning_amount_init,
    _validate_pruning_dim,
    _validate_structured_pruning,
)

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "GroupRanking",
    "GroupedUnstructured",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "MissingPruningError",
    "Norm",
    "NormError",
    "ParameterError",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "Ranking",
    "ShapeError",
    "_compute_norm",
    "_compute_nparams_toprune",
    "_validate_pruning_amount",
    "_validate_pruning_amount_init",
    "_validate_pruning_dim",
    "_validate_structured_pruning",
    "channel_norms",
    "custom_from_mask",
    "global_unstructured",
    "grouped_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "load_pruned_state_dict",
    "pattern_breaks",
    "random_structured",
    "random_unstructured",
    "remove",
    "units_to_prune",
    "validate_dim",
    "validate_norm",
]
