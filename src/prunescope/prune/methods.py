"""The methods: each scores every unit; the lowest are pruned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import Module

from prunescope.prune._kernels.memory import fresh
from prunescope.prune._kernels.partition import BlockScores, write_lowest
from prunescope.prune._kernels.streaming import NarrowScores, UnheldRanking
from prunescope.prune._kernels.units import candidate_units, spread
from prunescope.prune.base import BasePruningMethod
from prunescope.prune.compat import known_to_torch
from prunescope.prune.errors import ShapeError
from prunescope.prune.masking import is_float8, is_soft
from prunescope.prune.ranked import RankedMethod, StructuredMethod
from prunescope.prune.scores import Norm, channel_norms, magnitudes, validate_norm
from prunescope.prune.selection import Ranking, validate_amount


@known_to_torch
class RandomUnstructured(RankedMethod):
    """Prune elements at random.

    Args:
        amount: Fraction of the remaining elements, a float in [0, 1], or a count of them, an int ≥ 0.
        generator: Source of the random numbers; None is torch's global generator.

    Raises:
        TypeError, ValueError: ``amount`` is neither a fraction nor a count.

    Example:
        >>> method = RandomUnstructured(0.5, generator=torch.Generator().manual_seed(0))
        >>> int(method.compute_mask(torch.ones(4, 4), torch.ones(4, 4)).sum())
        8
    """

    PRUNING_TYPE: ClassVar[str] = "unstructured"

    def __init__(self, amount: int | float, generator: Generator | None = None) -> None:
        """Check and store the arguments."""
        validate_amount(amount)
        self.amount = amount
        self.generator = generator

    def unit_scores(self, tensors: Sequence[Tensor], candidates: Tensor | None) -> Tensor:
        """Return the negative of a random number in [0, 1) for every element: torch prunes the highest draws.

        As many numbers are drawn as there are candidates, in the dtype of the tensor, as torch does.
        """
        total = sum(t.numel() for t in tensors)
        count = total if candidates is None else int(torch.count_nonzero(candidates))
        draws = _draw(count, _random_dtype(tensors), tensors[0].device, self.generator).neg_()
        return draws if candidates is None else spread(draws, candidates)

    def rank_unheld(self, t: Tensor, default_mask: Tensor | None = None) -> Ranking:
        """Rank the elements of ``t`` regardless of their values; see the base class."""
        return self.rank(t, default_mask)

    @classmethod
    def apply(  # type: ignore[override]
        cls, module: Module, name: str, amount: int | float, generator: Generator | None = None
    ) -> BasePruningMethod:
        """Prune ``module.name`` and return the hook; see :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, amount=amount, generator=generator)

    def settle(self) -> None:
        """Drop the generator, which is used up."""
        self.generator = None


@known_to_torch
class L1Unstructured(RankedMethod):
    """Prune the elements of lowest magnitude.

    Args:
        amount: Fraction of the remaining elements, a float in [0, 1], or a count of them, an int ≥ 0.

    Raises:
        TypeError, ValueError: ``amount`` is neither a fraction nor a count.

    Example:
        >>> L1Unstructured(amount=2).prune(torch.tensor([[1.0, -4.0], [3.0, 2.0]]))
        tensor([[ 0., -4.],
                [ 3.,  0.]])
    """

    PRUNING_TYPE: ClassVar[str] = "unstructured"

    def __init__(self, amount: int | float) -> None:
        """Check and store the argument."""
        validate_amount(amount)
        self.amount = amount

    def unit_scores(self, tensors: Sequence[Tensor], candidates: Tensor | None) -> Tensor:
        """Return the magnitude of every element."""
        if len(tensors) == 1:
            return magnitudes(tensors[0])
        wide = torch.float64 if any(_wide(t) == torch.float64 for t in tensors) else torch.float32
        scores = fresh((sum(t.numel() for t in tensors),), wide, tensors[0].device)
        start = 0
        for t in tensors:
            magnitudes(t, out=scores[start : start + t.numel()])
            start += t.numel()
        return scores

    def rank_unheld(self, t: Tensor, default_mask: Tensor | None = None) -> Ranking:
        """Rank the elements of ``t`` by magnitude, without storing scores if possible; see the base class.

        Example:
            >>> L1Unstructured(amount=1).rank_unheld(torch.tensor([3.0, -1.0, 2.0])).mask(1)
            tensor([ True, False,  True])
        """
        plain = t.is_floating_point() and not is_float8(t) and t.is_contiguous() and t.device.type == "cpu"
        if not plain:
            return super().rank_unheld(t, default_mask)
        candidates = candidate_units(default_mask, None)
        scores = NarrowScores(t.detach().view(-1), absolute=True, candidates=candidates)
        return UnheldRanking(scores, t.shape, default_mask)

    def select_at_once(
        self, tensors: Sequence[Tensor], k: int, outs: Sequence[Tensor], earlier: Sequence[Tensor] = ()
    ) -> bool:
        """Write the masks directly from the weights where their memory layout allows."""
        if len({t.dtype for t in (*tensors, *outs)}) > 1 or not all(_lies_flat(t) for t in tensors):
            return False
        parts = [t.detach().view(-1) for t in tensors]
        before = [mask.detach().to(parts[0].dtype).reshape(-1) for mask in earlier]
        write_lowest(BlockScores(parts, absolute=True), k, [out.view(-1) for out in outs], before)
        return True

    @classmethod
    def apply(  # type: ignore[override]
        cls, module: Module, name: str, amount: int | float, importance_scores: Tensor | None = None
    ) -> BasePruningMethod:
        """Prune ``module.name`` and return the hook; see :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


@known_to_torch
class RandomStructured(StructuredMethod):
    """Prune channels at random.

    Args:
        amount: Fraction of the remaining channels, a float in [0, 1], or a count of them, an int ≥ 0.
        dim: Channel axis, ``-ndim <= dim < ndim``.
        generator: Source of the random numbers; None is torch's global generator.

    Raises:
        TypeError, ValueError: ``amount`` is neither a fraction nor a count.

    Example:
        >>> method = RandomStructured(1, dim=0, generator=torch.Generator().manual_seed(0))
        >>> method.prune(torch.ones(3, 2)).sum()
        tensor(4.)
    """

    def __init__(self, amount: int | float, dim: int = -1, generator: Generator | None = None) -> None:
        """Check and store the arguments."""
        validate_amount(amount)
        self.amount = amount
        self.dim = dim
        self.generator = generator

    def unit_scores(self, tensors: Sequence[Tensor], candidates: Tensor | None) -> Tensor:
        """Return a random number in [0, 1) for every remaining channel, drawn on the CPU as torch does."""
        t = tensors[0]
        channels = t.shape[self.unit_axis(t)]
        count = channels if candidates is None else int(torch.count_nonzero(candidates))
        draws = _draw(count, torch.get_default_dtype(), torch.device("cpu"), self.generator).to(t.device)
        return draws if candidates is None else spread(draws, candidates)

    @classmethod
    def apply(  # type: ignore[override]
        cls,
        module: Module,
        name: str,
        amount: int | float,
        dim: int = -1,
        generator: Generator | None = None,
    ) -> BasePruningMethod:
        """Prune ``module.name`` and return the hook; see :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, amount=amount, dim=dim, generator=generator)

    def settle(self) -> None:
        """Drop the generator, which is used up."""
        self.generator = None


@known_to_torch
class LnStructured(StructuredMethod):
    """Prune the channels of lowest Ln norm.

    Args:
        amount: Fraction of the remaining channels, a float in [0, 1], or a count of them, an int ≥ 0.
        n: Order of the norm: a number, ``inf``, ``-inf``, ``"fro"`` or ``"nuc"``; see
            :func:`channel_norms`.
        dim: Channel axis, ``-ndim <= dim < ndim``.

    Raises:
        TypeError, ValueError: ``amount`` is neither a fraction nor a count, or ``n`` is not the order of a
            norm.

    Example:
        >>> LnStructured(amount=1, n=2, dim=0).prune(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
        tensor([[3., 4.],
                [0., 0.]])
    """

    def __init__(self, amount: int | float, n: Norm, dim: int = -1) -> None:
        """Check and store the arguments."""
        validate_amount(amount)
        validate_norm(n)
        self.amount = amount
        self.n = n
        self.dim = dim

    def unit_scores(self, tensors: Sequence[Tensor], candidates: Tensor | None) -> Tensor:
        """Return the norm of every channel."""
        return channel_norms(tensors[0], n=self.n, dim=self.unit_axis(tensors[0]))

    def rank_unheld(self, t: Tensor, default_mask: Tensor | None = None) -> Ranking:
        """Rank the channels of ``t`` without a masked copy of it; see the base class."""
        dim = self.unit_axis(t)
        norms = channel_norms(t, n=self.n, dim=dim, mask=default_mask)
        return Ranking.of_units(norms, t.shape, dim, default_mask, candidate_units(default_mask, dim))

    @classmethod
    def apply(  # type: ignore[override]
        cls,
        module: Module,
        name: str,
        amount: int | float,
        n: Norm,
        dim: int,
        importance_scores: Tensor | None = None,
    ) -> BasePruningMethod:
        """Prune ``module.name`` and return the hook; see :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)


@known_to_torch
class Identity(BasePruningMethod):
    """Prune nothing: the reparametrization with a mask of ones.

    Example:
        >>> Identity().prune(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """

    PRUNING_TYPE: ClassVar[str] = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return a copy of ``default_mask``."""
        return default_mask.clone()

    def rank(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> Ranking:
        """Return a ranking in which all elements are equal."""
        mask = None if default_mask is None else default_mask.detach() != 0
        equal = torch.zeros(t.numel(), device=t.device)
        return Ranking.of_units(equal, t.shape, None, mask, candidate_units(mask, None))

    @classmethod
    def apply(cls, module: Module, name: str) -> BasePruningMethod:  # type: ignore[override]
        """Reparametrize ``module.name`` and return the hook; see :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name)


@known_to_torch
class CustomFromMask(BasePruningMethod):
    """Prune by a given mask.

    Args:
        mask: Tensor of zeros and ones, of the parameter's shape and any dtype. Copied.

    Attributes:
        mask: The copy, until the method is applied; from then on the module's buffer has it.
        origin: What computed the mask, as ``(name, arguments)``, or None.

    Raises:
        TypeError: ``mask`` is not a tensor.
        ValueError: it has values other than 0 and 1.

    Example:
        >>> CustomFromMask(torch.tensor([0, 1])).prune(torch.tensor([5.0, 6.0]))
        tensor([0., 6.])
    """

    PRUNING_TYPE: ClassVar[str] = "global"

    mask: Tensor | None

    def __init__(self, mask: Tensor) -> None:
        """Check and copy the mask."""
        if not isinstance(mask, Tensor):
            raise TypeError(f"`mask` must be a tensor, got {type(mask).__name__}")
        if is_soft(mask):
            raise ValueError("`mask` must be binary: 1 where kept, 0 where pruned, and no other value")
        self.mask = mask.detach().clone()
        self.origin: tuple[str, dict[str, object]] | None = None

    @classmethod
    def handed_over(cls, origin: tuple[str, dict[str, object]]) -> CustomFromMask:
        """Return a record of a mask that its module already holds, computed by ``origin``."""
        method = cls.__new__(cls)
        method.mask, method.origin = None, origin
        return method

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask combined with ``default_mask``, in the dtype of the latter.

        Raises:
            ShapeError: the masks differ in shape.
        """
        mask = self._present()
        if default_mask.shape != mask.shape:
            raise ShapeError(
                f"`mask` must have the shape {tuple(default_mask.shape)}, got {tuple(mask.shape)}"
            )
        return default_mask * mask.to(dtype=default_mask.dtype, device=default_mask.device)

    def rank(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> Ranking:
        """Return a ranking with the elements that the mask prunes first."""
        mask = None if default_mask is None else default_mask.detach() != 0
        values = self._present().to(device=t.device, dtype=torch.float32, copy=True).reshape(-1)
        return Ranking.of_units(values, t.shape, None, mask, candidate_units(mask, None))

    @classmethod
    def apply(cls, module: Module, name: str, mask: Tensor) -> BasePruningMethod:  # type: ignore[override]
        """Mask ``module.name`` and return the hook; see :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, mask=mask)

    def _present(self) -> Tensor:
        if self.mask is None:
            raise ValueError("`mask` has been handed to the module that it was applied to")
        return self.mask

    def settle(self) -> None:
        """Drop the mask, which the module now holds."""
        self.mask = None


def _draw(count: int, dtype: torch.dtype, device: torch.device, generator: Generator | None) -> Tensor:
    """Draw random numbers in [0, 1), widened, on the generator's device, so that seeds agree everywhere."""
    source = device if generator is None else generator.device
    draws = torch.rand(count, dtype=dtype, device=source, generator=generator)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return draws.to(device=device, dtype=wide)


def _random_dtype(tensors: Sequence[Tensor]) -> torch.dtype:
    """Return the dtype in which torch would draw: the tensors' own, if random numbers exist in it."""
    dtype = tensors[0].dtype
    for t in tensors[1:]:
        dtype = torch.promote_types(dtype, t.dtype)
    return dtype if dtype.is_floating_point and dtype.itemsize > 1 else torch.float32


def _lies_flat(t: Tensor) -> bool:
    return t.device.type == "cpu" and t.is_contiguous() and t.dtype in (torch.float32, torch.float64)


def _wide(t: Tensor) -> torch.dtype:
    return torch.float64 if t.dtype in (torch.float64, torch.int32, torch.int64) else torch.float32
