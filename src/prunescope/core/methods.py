"""The table of methods: what each ranks, how it selects, and its knobs.

Controls, links, messages, pictures and code come from a method's row, so that a new method is one row:
`register` takes it from anywhere. Rows of this package wrap the functions of `prunescope.prune`, which are
torch's; a row from outside brings a function that takes ``(module, name, amount, **knobs)`` as theirs do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prunescope import prune
from prunescope.core.counting import AT_ONCE
from prunescope.core.criteria import CRITERIA
from prunescope.core.knobs import KNOBS, Knob
from prunescope.core.scores import ChannelNorms, Scores
from prunescope.core.tensor import PrunableTensor, mask_so_far
from prunescope.prune import GroupRanking, Ranking

if TYPE_CHECKING:
    from prunescope.core.spec import PruneSpec

Place = tuple[nn.Module, str]
"""A module and the name of one of its parameters, as torch's functions take them."""


@dataclass(frozen=True)
class Context:
    """What a ranking needs besides the tensor shown.

    Attributes:
        spec: The spec; ``amount`` is ignored.
        norms: The channel norms of the tensor shown.
        pool: The tensors that are ranked together, in order; empty unless the method pools.
        importance: What torch's ``importance_scores=`` takes, by tensor; empty where the weights are ranked.
    """

    spec: PruneSpec
    norms: ChannelNorms
    pool: Sequence[PrunableTensor] = ()
    importance: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """What a method prunes, before anything is kept or pruned by hand.

    Attributes:
        mask: Boolean tensor, True where kept by this and all earlier steps; of a pool, all tensors in a row.
        pruned_units: How many units are pruned.
        threshold: Highest score that is pruned; None if nothing is, or where there is no such score.
    """

    mask: Tensor = field(repr=False)
    pruned_units: int
    threshold: float | None


AnyRanking = Ranking | GroupRanking
"""The units of a tensor in the order in which they go: of the whole, or of each group."""

ScoresOf = Callable[[PrunableTensor, Context], Scores]


def magnitude_scores(tensor: PrunableTensor, context: Context) -> Scores:
    """Return the magnitude of every weight, or of its importance score."""
    criterion, ranked = CRITERIA[context.spec.criterion], context.pool or (tensor,)
    dim = context.spec.channel_dim(tensor)
    if not context.importance:
        return Scores("magnitude |w|", "|w|", tensor, ranked, dim)

    def source(each: PrunableTensor) -> Tensor:
        return context.importance[each.name]

    return Scores(criterion.label, criterion.symbol, tensor, ranked, dim, source=source)


def norm_scores(tensor: PrunableTensor, context: Context) -> Scores:
    """Return the norm of every channel."""
    norms, own = context.norms, bool(context.importance) and CRITERIA[context.spec.criterion].channel_scores
    symbol = CRITERIA[context.spec.criterion].channel_symbol if own else "norm"
    return Scores(norms.label, symbol, tensor, (tensor,), context.spec.channel_dim(tensor), norms.now)


@dataclass(frozen=True)
class Method:
    """One pruning method, as the controls, the checks, the figures and the exported code see it.

    Attributes:
        key: Torch's function name, such as ``"ln_structured"``.
        title: Its name on the page, such as ``"Ln structured"``.
        build: Makes the engine's method from a spec; its ``rank`` orders the units.
        scores: What it ranks one tensor by, for the pictures; None: it draws at random, and there is nothing
            to look at.
        knobs: Its parameters besides the amount.
        structured: Whether a unit is a channel along ``dim`` (True) or a single weight.
        function: The function that prunes a module's parameter by it; None: code carries the mask itself.
        pools: The class of method that `prune.global_unstructured` is given, where the weights of all
            tensors of two axes and more are ranked together; None: a tensor is ranked alone.
        takes_scores: Whether its function accepts ``importance_scores=``, so that a criterion can be chosen.
        groups: Whether each group of elements along ``dim`` is ranked by itself and loses the same share or
            count, so that there is no one threshold.
        counterpart: Key of the method it is compared with at first; "": the random one of its units.
        alone: Where the method pools, the key of the one that ranks a single tensor likewise.
    """

    key: str
    title: str
    build: Callable[[PruneSpec], prune.BasePruningMethod] = field(repr=False)
    scores: ScoresOf | None = field(default=None, repr=False)
    knobs: tuple[Knob, ...] = field(default=(), repr=False)
    structured: bool = False
    function: Callable[..., Any] | None = field(default=None, repr=False)
    pools: type[prune.BasePruningMethod] | None = None
    takes_scores: bool = False
    groups: bool = False
    counterpart: str = ""
    alone: str = ""

    @property
    def pooled(self) -> bool:
        """Return whether the weights of all tensors are ranked together."""
        return self.pools is not None

    @property
    def ranks_a_layer(self) -> bool:
        """Return whether all units of one layer, and of no other, are in one order."""
        return not self.pooled and not self.groups

    @property
    def uses(self) -> frozenset[str]:
        """Return the fields of `PruneSpec` that the method reads."""
        criterion = {"criterion"} if self.takes_scores else set()
        return frozenset({"amount", *(knob.name for knob in self.knobs)} | criterion)

    @property
    def against(self) -> str:
        """Return the key of the method it is compared with at first."""
        return self.counterpart or ("random_structured" if self.structured else "random_unstructured")

    def unit_name(self, tensor: PrunableTensor, dim: int) -> str:
        """Return what is pruned of ``tensor``, in the plural, such as ``"output channels"``."""
        if self.structured:
            return tensor.axis(dim)
        return "weights of the model" if self.pooled else "weights"

    def count_name(self, tensor: PrunableTensor, dim: int) -> str:
        """Return what an ``amount`` that is a count counts, in the plural."""
        return "weights of each group" if self.groups else self.unit_name(tensor, dim)

    def called(self, spec: PruneSpec) -> PruneSpec:
        """Return ``spec`` as the function takes it: where channels have scores of their own, ``n`` is inf.

        Such a score stands at all weights of its channel, and the L∞ norm of those is the score to the bit.
        """
        own = self.takes_scores and self.structured and CRITERIA[spec.criterion].channel_scores
        return replace(spec, n=math.inf) if own else spec

    def rank(
        self,
        spec: PruneSpec,
        tensors: Sequence[PrunableTensor],
        importance: Mapping[str, Tensor] | None = None,
    ) -> AnyRanking:
        """Rank the units of ``tensors`` in the order in which they are pruned.

        Args:
            spec: The spec; ``amount`` is ignored.
            tensors: One tensor; all that are ranked together, if the method pools.
            importance: Scores in place of the weights, by tensor; None or empty: the weights.

        Raises:
            ValueError: The scores cannot be ranked.
        """
        method, scores = self.build(self.called(spec)), importance or {}
        if self.pooled:
            parts = (scores[each.name] if scores else each.effective for each in tensors)
            flat = torch.cat([part.reshape(-1) for part in parts])
            kept = torch.cat([mask_so_far(tensor).reshape(-1) for tensor in tensors])
            return method.rank(flat, default_mask=None if kept.all() else kept)
        (tensor,) = tensors
        if isinstance(method, prune.GroupedUnstructured):
            return method.rank_groups(tensor.effective, tensor.default_mask, scores.get(tensor.name))
        if scores:
            return method.rank(tensor.effective, tensor.default_mask, scores[tensor.name])
        if tensor.in_memory or math.prod(tensor.shape) < AT_ONCE:
            return method.rank(tensor.effective, default_mask=tensor.default_mask)
        return method.rank_unheld(tensor.weight, default_mask=tensor.default_mask)

    def select(self, ranking: AnyRanking, amount: int | float) -> Selection:
        """Return what ``amount`` prunes of the units that `rank` has ordered."""
        if isinstance(ranking, GroupRanking):
            return Selection(ranking.mask(amount), ranking.pruned(amount), None)
        pruned = prune.units_to_prune(amount, ranking.units)
        threshold = None if self.scores is None else ranking.threshold(pruned)
        return Selection(ranking.mask(pruned), pruned, threshold)

    def apply(
        self, places: Mapping[str, Place], spec: PruneSpec, importance: Mapping[str, Tensor] | None = None
    ) -> None:
        """Prune the parameters at ``places`` in place, with the function a user would call.

        Args:
            places: Where the tensors are, by name.
            spec: The spec.
            importance: Scores in place of the weights, by tensor; None or empty: the weights.

        Raises:
            ValueError, TypeError, RuntimeError: The function refuses.
        """
        if self.pools is not None:
            scores = {places[name]: values for name, values in (importance or {}).items()}
            prune.global_unstructured(places.values(), self.pools, scores or None, amount=spec.amount)
            return
        if self.function is None:
            raise TypeError(f"{self.title} has no function to call")
        called = self.called(spec)
        knobs = {knob.takes: knob.argument(getattr(called, knob.name)) for knob in self.knobs}
        ((name, place),) = places.items()
        if importance:
            knobs["importance_scores"] = importance[name]
        self.function(*place, amount=spec.amount, **knobs)


METHODS: dict[str, Method] = {
    method.key: method
    for method in (
        Method(
            "l1_unstructured",
            "L1 unstructured",
            lambda spec: prune.L1Unstructured(spec.amount),
            magnitude_scores,
            function=prune.l1_unstructured,
            takes_scores=True,
        ),
        Method(
            "random_unstructured",
            "Random unstructured",
            lambda spec: prune.RandomUnstructured(spec.amount, generator=KNOBS["seed"].argument(spec.seed)),
            knobs=(KNOBS["seed"],),
            function=prune.random_unstructured,
            counterpart="l1_unstructured",
        ),
        Method(
            "ln_structured",
            "Ln structured",
            lambda spec: prune.LnStructured(spec.amount, spec.n, KNOBS["dim"].argument(spec.dim)),
            norm_scores,
            (KNOBS["n"], KNOBS["dim"]),
            structured=True,
            function=prune.ln_structured,
            takes_scores=True,
        ),
        Method(
            "random_structured",
            "Random structured",
            lambda spec: prune.RandomStructured(
                spec.amount,
                KNOBS["dim"].argument(spec.dim),
                generator=KNOBS["seed"].argument(spec.seed),
            ),
            knobs=(KNOBS["dim"], KNOBS["seed"]),
            structured=True,
            function=prune.random_structured,
            counterpart="ln_structured",
        ),
        Method(
            "global_unstructured",
            "Global L1 unstructured",
            lambda spec: prune.L1Unstructured(spec.amount),
            magnitude_scores,
            pools=prune.L1Unstructured,
            takes_scores=True,
            alone="l1_unstructured",
        ),
        Method(
            "grouped_unstructured",
            "Grouped L1 (N:M, rows)",
            lambda spec: prune.GroupedUnstructured(spec.amount, spec.group, spec.dim),
            magnitude_scores,
            (KNOBS["group"], KNOBS["dim"]),
            function=prune.grouped_unstructured,
            takes_scores=True,
            groups=True,
        ),
    )
}
"""The methods by torch's function name, in the order they are listed."""


def register(method: Method) -> Method:
    """Add a method to the explorer, to links and to exported code; return it.

    Raises:
        ValueError: The key is taken, or a knob is not a field of a spec.

    Example:
        >>> register(METHODS["l1_unstructured"])
        Traceback (most recent call last):
        ValueError: `key` must be new, got 'l1_unstructured', which is a method already
    """
    if method.key in METHODS:
        raise ValueError(f"`key` must be new, got {method.key!r}, which is a method already")
    unknown = [knob.name for knob in method.knobs if knob.name not in KNOBS]
    if unknown:
        raise ValueError(f"`knobs` must be some of {', '.join(KNOBS)}, got {unknown[0]!r}")
    METHODS[method.key] = method
    return method
