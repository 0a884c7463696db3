"""Tell weights from other stored tensors, by their names and by the tensors beside them.

A file does not distinguish what it holds: weights, the scales and code books of a quantisation, running
statistics, the state of an optimizer. Only the first can be pruned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from prunescope.sources.checkpoint.stored import StoredTensor

_PACKED = re.compile(
    r"qweight|qzeros|weight_packed|codes|Qidxs|q_weight|W_q|.*_blocks|indices|packed_weight|_packed_params"
)
"""Names of integers that pack several weights each, or index a code book."""

_BESIDE = re.compile(r"scale|zero|absmax|quant|SCB|shift|codebook|centroid|g_idx|shape|format|amax|smooth")
"""Names of tensors that belong to a quantised weight: `weight_scale_inv`, `SCB`, `input_scale`, …"""

_OF_ACTIVATIONS = re.compile(r"input|output|act|^[kqv]_|weight_format$|weight_shape$")
"""Those that do not affect how the weight itself is read."""

_OPTIMIZER = re.compile(r"(^|\.)(\w*optim\w*|opt_state)(\.|$)", re.IGNORECASE)
_MOMENTS = re.compile(
    r"(max_)?exp_avg(_sq)?|exp_inf|momentum_buffer|square_avg|grad_avg|acc_delta|prev|ax|mu_product|eta|step"
)

_OBSERVED = re.compile(r"(^|[._])(fake_quant|activation_post_process|\w*observer)(\.|$)")


class Neighbours:
    """The names in a file, by owner.

    Args:
        stored: All of its tensors by name.
    """

    def __init__(self, stored: Mapping[str, StoredTensor]) -> None:
        self.stored = stored
        self._owned: dict[str, list[str]] = {}
        for name in stored:
            owner, _, own = name.rpartition(".")
            self._owned.setdefault(owner, []).append(own)
        self._packed = {
            owner: next(filter(_PACKED.fullmatch, names), "") for owner, names in self._owned.items()
        }

    def of(self, owner: str) -> Iterable[str]:
        """Return the last name parts of what belongs to ``owner``, a layer or a tensor."""
        return self._owned.get(owner, ())

    def why_no_weight(self, name: str) -> str:
        """Return what the tensor ``name`` is if it is not a weight, as a predicate, or "".

        Example:
            >>> from prunescope.sources.checkpoint.stored import StoredTensor
            >>> names = ("bn.running_mean", "bn.running_var", "bn.weight")
            >>> stored = {name: StoredTensor(name, (3,), None, "") for name in names}
            >>> Neighbours(stored).why_no_weight("bn.running_mean")
            'is a running statistic, measured and not trained'
        """
        owner, _, own = name.rpartition(".")
        if owner in self.stored:
            return f"belongs to the quantisation of {owner}"
        packed = self._packed.get(owner, "")
        if packed and self._is_of_packed(owner, own):
            return self._why_packed(owner, own, packed)
        return self._why_beside(owner, own) or self._why_buffer(owner, own) or _why_state(name, own)

    def _is_of_packed(self, owner: str, own: str) -> bool:
        if own.endswith("bias"):
            return False
        return bool(_PACKED.fullmatch(own)) or any(map(_BESIDE.search, self.of(owner)))

    def _why_packed(self, owner: str, own: str, packed: str) -> str:
        if _PACKED.fullmatch(own):
            return "packs several small integers into each number"
        return f"belongs to the quantisation of {owner}.{packed}".replace(" .", " ")

    def _why_beside(self, owner: str, own: str) -> str:
        """Return which quantisation a scale or the like belongs to, as a predicate, or ""."""
        if not _BESIDE.search(own):
            return ""
        for other in self.of(owner):
            full = f"{owner}.{other}".removeprefix(".")
            if other != own and is_narrow(self.stored[full]) and _is_named_after(own, other):
                return f"belongs to the quantisation of {full}"
        return ""

    def _why_buffer(self, owner: str, own: str) -> str:
        names = self.of(owner)
        if own in ("running_mean", "running_var") and {"running_mean", "running_var"} <= set(names):
            return "is a running statistic, measured and not trained"
        if own == "weight_u" or (own == "weight_v" and "weight_u" in names):
            return "is a singular vector of spectral norm, computed and not trained"
        if own in ("_u", "_v") and ".parametrizations." in f".{owner}":
            return "is a singular vector of spectral norm, computed and not trained"
        if own == "inv_freq":
            return "holds the frequencies of rotary positions, computed and not trained"
        shape = self.stored[f"{owner}.{own}".removeprefix(".")].shape
        if own == "bias" and len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3]:
            return "is a causal mask, computed and not trained"
        return ""

    def unknown_beside(self, name: str, known: Iterable[str]) -> str:
        """Return the full name of an unknown part of the quantisation of ``name``, or ""."""
        owner, _, own = name.rpartition(".")
        children = [f"{name}.{child}" for child in self.of(name)]
        beside = [
            f"{owner}.{other}".removeprefix(".")
            for other in self.of(owner)
            if _BESIDE.search(other) and not _OF_ACTIVATIONS.search(other) and _is_named_after(other, own)
        ]
        return next((each for each in children + beside if each not in (name, *known)), "")


def is_narrow(stored: StoredTensor) -> bool:
    """Return whether the values are small integers or float8, which need a scale."""
    dtype = stored.dtype
    return dtype is not None and (dtype.itemsize == 1 or str(dtype) == "torch.int16")


def _is_named_after(own: str, weight: str) -> bool:
    """Return whether a scale called ``own`` belongs to a tensor called ``weight`` in the same layer."""
    if weight in own:
        return own != weight
    others = re.search(r"bias|proj|_orig|\d", own)
    return weight == "weight" and not others


def _why_state(name: str, own: str) -> str:
    if _MOMENTS.fullmatch(own) and _OPTIMIZER.search(name):
        return "is the state of an optimizer"
    if _OBSERVED.search(name.rpartition(".")[0]):
        return "is an observer's statistic of a quantisation, not a weight"
    return ""
