"""Cache of the last ranking and channel norms, so that moving the amount slider never ranks again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from prunescope.core.methods import AnyRanking
from prunescope.core.preview import rank, tensor_norms
from prunescope.core.scores import ChannelNorms
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.session.criteria import Criteria


class Rankings:
    """A cache with one ranking and one set of norms per slot, for the displayed and the compared previews.

    Args:
        state: Returns a value that changes whenever the tensor with a given name does.
        criteria: The scores to rank if the criterion is not the weights.
    """

    def __init__(self, state: Callable[[str], object], criteria: Criteria) -> None:
        self._state = state
        self._criteria = criteria
        self._rankings: dict[int, tuple[object, AnyRanking]] = {}
        self._norms: dict[int, tuple[object, ChannelNorms]] = {}

    def ranking(self, spec: PruneSpec, tensors: Sequence[PrunableTensor], place: int = 0) -> AnyRanking:
        """Rank the units of ``tensors`` in the order ``spec`` prunes them; its amount is not used."""
        used, scores = METHODS[spec.method].uses - {"amount"}, self._criteria.of(spec, tensors)
        ranked = tuple(self._state(each.name) for each in tensors)
        key = (ranked, tuple(scores.values()), spec.method, *(getattr(spec, name) for name in sorted(used)))
        if place not in self._rankings or self._rankings[place][0] != key:
            self._rankings.pop(place, None)  # Free the old one before the new one takes memory.
            found = rank(spec, list(tensors), self._criteria.importance(spec, tensors))
            self._rankings[place] = (key, found)
        return self._rankings[place][1]

    def norms(
        self, spec: PruneSpec, tensor: PrunableTensor, place: int, scores: Tensor | None
    ) -> ChannelNorms:
        """Return the norms of the channels of ``tensor``, or of its ``scores`` if those are ranked."""
        scored: tuple[object, ...] = ()
        if scores is not None:
            scored = (spec.criterion, spec.method, *self._criteria.of(spec, [tensor]).values())
        key = (self._state(tensor.name), spec.n, spec.channel_dim(tensor), *scored)
        if place not in self._norms or self._norms[place][0] != key:
            known = (norms for other, norms in self._norms.values() if other == key)
            self._norms[place] = (key, next(known, None) or tensor_norms(spec, tensor, scores))
        return self._norms[place][1]

    @property
    def places(self) -> frozenset[int]:
        """Return the places of which a ranking is cached."""
        return frozenset(self._rankings)

    def forget(self, place: int) -> None:
        """Free the cache of a slot that is no longer displayed."""
        self._rankings.pop(place, None)
        self._norms.pop(place, None)
