"""A pruning method as a forward pre-hook, and the container of all methods applied to a tensor.

Two classes in one module because each needs the other: pruning a pruned tensor turns its hook into a
container, and a container is a method itself.
"""

from __future__ import annotations

import copy
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor
from torch.nn import Module

from prunescope.prune import attach
from prunescope.prune.combine import next_mask
from prunescope.prune.compat import counts_as, is_method, known_to_torch, tensor_name
from prunescope.prune.masking import is_soft, masked, where_kept
from prunescope.prune.parameters import MASK, ORIG
from prunescope.prune.protocols import Attachment, PruningMethod
from prunescope.prune.reuse import CachedProduct, keep
from prunescope.prune.scores import scores_for
from prunescope.prune.selection import Ranking


@known_to_torch
class BasePruningMethod(ABC):
    """Base class of pruning methods: select what to prune, and keep it pruned as a hook.

    Subclass it and write :meth:`compute_mask`; set ``PRUNING_TYPE`` to ``"unstructured"``,
    ``"structured"`` (with an attribute ``dim``) or ``"global"``.

    Example:
        >>> class EveryOther(BasePruningMethod):
        ...     PRUNING_TYPE = "unstructured"
        ...
        ...     def compute_mask(self, t, default_mask):
        ...         mask = default_mask.clone()
        ...         mask.view(-1)[::2] = 0
        ...         return mask
        >>> layer = torch.nn.Linear(4, 1)
        >>> EveryOther.apply(layer, "weight").__class__.__name__
        'EveryOther'
        >>> layer.weight_mask
        tensor([[0., 1., 0., 1.]])
    """

    PRUNING_TYPE: ClassVar[str]

    attachment: Attachment = Attachment()

    _tensor_name: str | None = None
    _kept: CachedProduct | None = None
    _owner: weakref.ref[Module] | None = None

    def __call__(self, module: Module, inputs: object) -> None:
        """Set ``module.name`` to the masked tensor; called before each forward pass.

        In evaluation without gradients the masked tensor of the last pass is reused until the original or the
        mask changes: by an optimizer's step, ``load_state_dict``, an in-place edit, a move to another
        dtype or device, or new storage (``.data = ...``). While ``module.name_orig.grad`` is set nothing is
        reused, since a step may follow: ``optimizer.zero_grad()`` before evaluation makes it faster.

        Changes that torch does not count go unnoticed, here and by autograd: in-place edits through
        ``.data``, through a numpy array that shares the memory, or by another process that maps the file.
        Edit the parameter itself, under ``torch.no_grad()``. Fused optimizers do not count, but are seen by
        the gradients that they need, unless those are assigned by hand or come from layers that are not
        pruned, and are cleared before the next pass.

        Args:
            module: Module whose tensor is pruned.
            inputs: Positional inputs of the forward pass, unused.
        """
        kept = self._kept
        if kept is None or torch.compiler.is_compiling() or not kept.serves(module):
            self.give(module)

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask of ``t``: 1 where kept, 0 where pruned.

        Args:
            t: Scores or weights, of any shape.
            default_mask: Mask of the same shape from earlier pruning; what it prunes stays pruned.

        Returns:
            New mask of the shape of ``t``.
        """

    def rank(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> Ranking:
        """Rank the units of ``t`` in the order in which this method would prune them.

        Args:
            t: Tensor to prune, of any shape.
            default_mask: Mask of the same shape from earlier pruning; what it pruned is not ranked.
            importance_scores: Tensor of the same shape to take scores from instead of ``t``.

        Raises:
            NotImplementedError: the method has a ``compute_mask`` only, and no order.
            ShapeError: a mask or score has another shape than ``t``.
            ValueError: a score is NaN.
        """
        raise NotImplementedError(f"{type(self).__name__} computes masks without ranking units")

    def rank_unheld(self, t: Tensor, default_mask: Tensor | None = None) -> Ranking:
        """Rank what ``default_mask`` leaves of ``t`` like `rank`, in little memory if possible.

        Args:
            t: Tensor to prune, which must not change while the ranking is used.
            default_mask: Boolean mask of the same shape from earlier pruning, or None. Where it is False,
                ``t`` counts as zero.

        Raises:
            ValueError: a score is NaN.
        """
        return self.rank(t if default_mask is None else where_kept(default_mask, t), default_mask)

    def apply_mask(self, module: Module) -> Tensor:
        """Return the masked tensor of ``module``, of the shape and dtype of ``module.name_orig``.

        Args:
            module: Module whose tensor this method has pruned.

        Raises:
            AssertionError: the method has not been applied to any tensor.
        """
        name = self._named(module)
        return masked(getattr(module, name + ORIG), getattr(module, name + MASK), soft=self.attachment.soft)

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prune ``module.name`` and return the hook: the method, or a container if it was pruned before.

        The mask is computed first and the module changed last: on any error the module is unchanged.

        Args:
            module: Module that has the parameter.
            name: Name of the parameter.
            args: Arguments of the method.
            importance_scores: Tensor of the parameter's shape to take scores from instead of its values.
            kwargs: Keyword arguments of the method.

        Raises:
            ParameterError: the module has no such parameter.
            ShapeError: ``importance_scores`` has another shape.
        """
        hook = attach.prune(cls(*args, **kwargs), module, name, importance_scores)
        return cast(BasePruningMethod, hook)

    def prune(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> Tensor:
        """Return ``t`` with zeros where this method prunes it.

        Args:
            t: Tensor of any shape. Read, never written.
            default_mask: Mask of the same shape from earlier pruning. None: all ones.
            importance_scores: Tensor of the same shape to take scores from instead of ``t``.

        Returns:
            New tensor of the shape and dtype of ``t``.

        Raises:
            ShapeError: ``importance_scores`` has another shape than ``t``.
        """
        scores = scores_for("tensor t", t, importance_scores)
        default_mask = torch.ones_like(t) if default_mask is None else default_mask
        mask = self.compute_mask(scores, default_mask=default_mask)
        return masked(t, mask, soft=is_soft(mask))

    def remove(self, module: Module) -> None:
        """Make the pruning of ``module.name`` permanent and drop the mask; pruned weights stay zero.

        The parameter is the same object as before, at the same position among the module's parameters.

        Args:
            module: Module whose tensor this method has pruned.

        Raises:
            AssertionError: the method has not been applied to any tensor.
        """
        name = self._named(module)
        attach.fold(module, name, self.apply_mask(module), self.attachment.after)
        self._kept = None

    def _named(self, module: Module) -> str:
        if self._tensor_name is None:
            raise AssertionError(f"Module {module} has to be pruned")
        return self._tensor_name

    def give(self, module: Module) -> None:
        """Set the module's masked tensor; remember the module, and the tensor if it may be reused."""
        name = self._named(module)
        setattr(module, name, self.apply_mask(module))
        if torch.compiler.is_compiling():
            return
        self._owner = weakref.ref(module)
        if type(self).apply_mask is BasePruningMethod.apply_mask:
            self._kept = keep(module, name)

    def joined_to(self, earlier: PruningMethod) -> PruningContainer:
        """Return a container of ``earlier``, torch's or ours, and this method; ``earlier`` is not changed."""
        methods = (
            list(earlier) if isinstance(earlier, PruningContainer) else [cast(BasePruningMethod, earlier)]
        )
        return PruningContainer(methods, self)

    def settle(self) -> None:  # noqa: B027
        """Drop what is needed to compute a mask but not to keep it."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle; the masked tensor is saved by the module."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_kept", "_owner")}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy, after preparing the copy of the module's masked tensor.

        torch cannot copy a tensor with a gradient history. ``copy.deepcopy`` of a module comes to its
        parameters and buffers, then to its hooks, then to its plain attributes; so by now the originals
        have been copied, and their product is noted down as the copy of the masked tensor.
        """
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__getstate__(), memo))
        module = None if self._owner is None else self._owner()
        if module is not None and id(module) in memo:
            copied._owner = weakref.ref(memo[id(module)])
            attach.copy_product(module, self._named(module), memo, soft=self.attachment.soft)
        return copied

    def __repr__(self) -> str:
        """Return the method and its arguments."""
        shown = {
            k: v
            for k, v in self.__dict__.items()
            if k != "attachment" and not k.startswith("_") and v is not None
        }
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"

    @classmethod
    def __subclasshook__(cls, subclass: type) -> bool:
        """Count torch's class of the same name as one of ours: its hooks are continued and removed."""
        return counts_as(subclass, cls) or NotImplemented


@known_to_torch
class PruningContainer(BasePruningMethod):
    """The methods applied to one tensor, in order; itself the tensor's hook.

    Args:
        args: Methods, or one iterable of methods, or nothing.

    Example:
        >>> len(PruningContainer()), len(PruningContainer([]))
        (0, 0)
    """

    def __init__(self, *args: BasePruningMethod | Iterable[BasePruningMethod]) -> None:
        """Store the methods in order."""
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        for argument in args:
            methods = [argument] if is_method(argument) or not isinstance(argument, Iterable) else argument
            for method in methods:
                self.add_pruning_method(cast(BasePruningMethod, method))

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Append ``method``; an unnamed container takes its tensor's name.

        Args:
            method: Pruning method that acts on the same tensor.

        Raises:
            TypeError: ``method`` is not a pruning method.
            ValueError: it acts on a tensor of another name.
        """
        if not is_method(method):
            raise TypeError(f"`method` must be a BasePruningMethod, got {type(method).__name__}")
        name = tensor_name(method)
        if not self._pruning_methods and self._tensor_name is None:
            self._tensor_name = name
        if name != self._tensor_name:
            raise ValueError(
                f"`method` must act on the parameter {self._tensor_name!r}, but acts on {name!r}"
            )
        self._pruning_methods += (cast(BasePruningMethod, method),)

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return ``default_mask`` combined with what the latest method prunes of the units it left.

        Args:
            t: Scores or weights, of any shape.
            default_mask: Mask of the same shape from earlier pruning. Read, never written.

        Returns:
            New mask of the shape and dtype of ``t``.

        Raises:
            IndexError: the container is empty, or the method's ``dim`` is not an axis of ``t``.
        """
        return next_mask(self._pruning_methods[-1], t, default_mask).to(t.dtype)

    def rank(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> Ranking:
        """Return the ranking of the latest method; see :meth:`BasePruningMethod.rank`."""
        return self._pruning_methods[-1].rank(t, default_mask, importance_scores)

    def __len__(self) -> int:
        """Return the number of methods."""
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        """Return the methods in the order in which they were applied."""
        return iter(self._pruning_methods)

    def __getitem__(self, index: int) -> BasePruningMethod:
        """Return one method by position."""
        return self._pruning_methods[index]

    def __repr__(self) -> str:
        """Return the methods in order."""
        return f"PruningContainer({', '.join(map(repr, self._pruning_methods))})"
