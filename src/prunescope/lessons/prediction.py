"""Predictions of a mask: what the engine would do, what people expect instead, and how the two differ."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import torch
from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview, preview_tensor
from prunescope.core.spec import PruneSpec, resolve
from prunescope.lessons.answers import as_channels, as_mask
from prunescope.lessons.feedback import Feedback
from prunescope.lessons.mistakes import plausible_mistakes
from prunescope.lessons.writing import shortened
from prunescope.sources import find_tensor, prunable_tensors


def preview_layer(layer: nn.Module, **spec: Any) -> Preview:
    """Return what a spec would do to the weight of ``layer``; nothing is pruned.

    Args:
        layer: A layer with a weight; what it carries of earlier pruning counts.
        **spec: Fields of `prunescope.core.spec.PruneSpec` but ``layer``: method, amount, n, dim, seed.

    Raises:
        TypeError: An unknown keyword.
        RequestError: There is no weight to prune, or a value cannot be met.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[-3.0, 1.0]]))
        >>> preview_layer(layer, amount=1).mask
        tensor([[ True, False]])
    """
    if not (isinstance(layer, nn.Module) and isinstance(getattr(layer, "weight", None), Tensor)):
        raise RequestError(
            "layer", f"`layer` must be a torch.nn.Module with a weight, got {shortened(layer)}."
        )
    tensor = find_tensor(layer, prunable_tensors(layer), "weight")
    return preview_tensor(resolve(PruneSpec(tensor.name, **spec), tensor, asked=frozenset(spec)), tensor)


class MaskQuestion:
    """Which weights go?

    Args:
        preview: What the engine does.

    Attributes:
        mask: The right answer: boolean, of the weight's shape, True is kept.
        candidates: Boolean, of the same shape: what earlier pruning left, the only weights that can go.

    Example:
        >>> layer = nn.Linear(3, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[-3.0, 1.0, 2.0]]))
        >>> question = MaskQuestion(preview_layer(layer, amount=1))
        >>> question.grade(torch.tensor([[True, False, True]])).right
        True
        >>> question.grade(torch.tensor([[True, True, False]])).text
        'Not yet. The number is right, but one of them stays, and as many others go.'
    """

    def __init__(self, preview: Preview) -> None:
        self.preview = preview
        self.mask = preview.mask
        earlier = preview.tensor.default_mask
        self.candidates = torch.ones_like(preview.mask) if earlier is None else earlier
        self.mistakes = [
            each for each in plausible_mistakes(preview) if not torch.equal(each.mask, self.mask)
        ]

    def grade(self, predicted: object) -> Feedback:
        """Return whether ``predicted`` is the mask.

        Args:
            predicted: What `as_mask` reads: True where the weight is expected to stay.

        Raises:
            RequestError: It is no mask of the weight's shape.
        """
        predicted = as_mask(predicted, self.mask.shape)
        goes = self._gone(self.mask)
        said = self._gone(predicted)
        if said == goes and torch.equal(predicted & self.candidates, self.mask):
            return Feedback(True, "Right: exactly these go.")
        if said == 0:
            return Feedback(False, "Nothing is marked yet: mark what will be pruned, then check.")
        for mistake in self.mistakes:
            if torch.equal(predicted & self.candidates, mistake.mask):
                return Feedback(False, f"Not yet. {mistake.hint}")
        return Feedback(False, f"Not yet. {self._difference(predicted, said, goes)}")

    def _gone(self, mask: Tensor) -> int:
        return int((self.candidates & ~mask).count_nonzero())

    def _difference(self, predicted: Tensor, said: int, goes: int) -> str:
        wrong = int((~predicted & self.mask).count_nonzero())
        stay = "one of them stays" if wrong == 1 else f"{wrong} of them stay"
        if said != goes:
            number = f"You marked {said}, which is too {'few' if said < goes else 'many'}"
            return (
                f"{number}; {stay}."
                if wrong and said < goes
                else f"{number}: how many does `amount` ask for?"
            )
        return f"The number is right, but {stay}, and as many others go."


class ChannelQuestion:
    """Which channels go, and along which dim?

    Args:
        preview: What the engine does; of a structured method.

    Raises:
        ValueError: The method is not structured.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
        >>> question = ChannelQuestion(preview_layer(layer, method="ln_structured", amount=1, dim=0))
        >>> question.grade({0: {1}}).right
        True
        >>> question.grade({1: {0}}).text
        'Not yet. You chose along dim 1, the input features; here `dim=0`, which counts output features.'
    """

    def __init__(self, preview: Preview) -> None:
        if not preview.method.structured:
            raise ValueError(f"`method` must remove whole channels, got {preview.spec.method!r}")
        self.preview = preview
        self._question = MaskQuestion(preview)
        pruned = self._question.candidates & ~preview.mask
        gone = pruned.movedim(preview.spec.dim, 0).flatten(1).any(dim=1)
        self.channels = frozenset(gone.nonzero().flatten().tolist())

    def grade(self, chosen: object) -> Feedback:
        """Return whether ``chosen``, the channels marked along each dim, are the ones that go.

        Args:
            chosen: What `as_channels` reads.

        Raises:
            RequestError: It names what this tensor does not have.
        """
        chosen = as_channels(chosen, self.preview.mask.shape)
        dims = [dim for dim, channels in chosen.items() if channels]
        tensor, dim = self.preview.tensor, self.preview.spec.dim
        if not dims:
            return Feedback(False, "No channel is marked yet: mark what will be pruned, then check.")
        if len(dims) > 1:
            return Feedback(False, "Not yet. A structured method removes channels along one dim only.")
        if dims != [dim]:
            got = f"You chose along dim {dims[0]}, the {tensor.axis(dims[0])}"
            return Feedback(False, f"Not yet. {got}; here `dim={dim}`, which counts {tensor.axis(dim)}.")
        if chosen[dim] == self.channels:
            return Feedback(True, "Right: exactly these go.")
        predicted = without_channels(self.preview.mask.shape, dim, chosen[dim])
        for mistake in self._question.mistakes:
            if torch.equal(predicted & self._question.candidates, mistake.mask):
                return Feedback(False, f"Not yet. {mistake.hint}")
        return Feedback(False, f"Not yet. {self._difference(chosen[dim])}")

    def _difference(self, chosen: Set[int]) -> str:
        wrong = len(chosen - self.channels)
        if len(chosen) != len(self.channels):
            size = "few" if len(chosen) < len(self.channels) else "many"
            return f"You marked {len(chosen)}, which is too {size}: how many does `amount` ask for?"
        return f"The number is right, but {wrong} of those you marked {'stays' if wrong == 1 else 'stay'}."


def without_channels(shape: torch.Size, dim: int, channels: Set[int]) -> Tensor:
    """Return a boolean mask of ``shape`` that is False on ``channels`` along ``dim``.

    Example:
        >>> without_channels(torch.Size((2, 2)), 1, {0})
        tensor([[False,  True],
                [False,  True]])
    """
    mask = torch.ones(shape, dtype=torch.bool)
    mask.movedim(dim, 0)[sorted(channels)] = False
    return mask
