"""Questions that ask to predict a mask, graded against the engine and common misconceptions."""

from __future__ import annotations

import math
from collections.abc import Set
from typing import Any

import torch
from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview, preview_tensor
from prunescope.core.resolve import resolve
from prunescope.core.spec import PruneSpec
from prunescope.lessons.answers import as_channels, as_mask
from prunescope.lessons.feedback import Feedback
from prunescope.lessons.mistakes import plausible_mistakes
from prunescope.lessons.writing import shortened, signed
from prunescope.sources import find_tensor, prunable_tensors

OF_EQUALS = "among ties the lower index goes first"
"""How the engine decides a tie."""


def preview_layer(layer: nn.Module, **spec: Any) -> Preview:
    """Preview what a spec would do to the weight of ``layer``; nothing is pruned.

    Args:
        layer: A layer with a weight; its earlier pruning is taken into account.
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
    """A question that asks which weights are pruned.

    Args:
        preview: What the engine does.

    Attributes:
        mask: The right answer: boolean, of the weight's shape, True where kept.
        candidates: Boolean, of the same shape: True where earlier pruning has left weights to prune.

    Example:
        >>> layer = nn.Linear(3, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[-3.0, 1.0, 2.0]]))
        >>> question = MaskQuestion(preview_layer(layer, amount=1))
        >>> question.grade(torch.tensor([[True, False, True]])).right
        True
        >>> question.grade(torch.tensor([[True, True, False]])).text.partition("its place. ")[2]
        '2 in row 0, column 2 stays: 1 is smaller.'
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
        """Grade ``predicted`` against the mask.

        Args:
            predicted: What `as_mask` reads: True where the weight is expected to stay.

        Raises:
            RequestError: It is not a mask of the weight's shape.
        """
        predicted = as_mask(predicted, self.mask.shape)
        goes = self._gone(self.mask)
        said = self._gone(predicted)
        if said == goes and torch.equal(predicted & self.candidates, self.mask):
            return Feedback(True, "Right: exactly these go.")
        if said == 0:
            nothing = "Nothing is marked yet: mark what will be pruned, then check."
            return Feedback(False, nothing, counts=False)
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
        others = "another goes in its place" if wrong == 1 else "others go in their place"
        return f"The number is right, but {stay}; {others}.{self._example(predicted)}"

    def _example(self, predicted: Tensor) -> str:
        """Describe one wrongly marked weight in numbers; "" if no score decides."""
        if self.preview.spec.method != "l1_unstructured":
            return ""
        size = self.preview.tensor.effective.abs()
        place = tuple((~predicted & self.mask).nonzero()[0].tolist())
        smaller = int((self.candidates & (size < size[place])).count_nonzero())
        value = (
            f" {signed(float(self.preview.tensor.effective[place]))} in {place_name(self.mask.shape, place)}"
        )
        if smaller < self.preview.pruned_units:
            return f"{value} stays: it is as large as one that goes, and {OF_EQUALS}."
        return f"{value} stays: {smaller} {'is' if smaller == 1 else 'are'} smaller."


class ChannelQuestion:
    """A question that asks which channels are pruned, and along which dim.

    Args:
        preview: What the engine does; its method must be structured.

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
        gone = pruned.movedim(preview.dim, 0).flatten(1).any(dim=1)
        self.channels = frozenset(gone.nonzero().flatten().tolist())

    def grade(self, chosen: object) -> Feedback:
        """Grade ``chosen``, the channels marked along each dim.

        Args:
            chosen: What `as_channels` reads.

        Raises:
            RequestError: It names dims or channels that the tensor does not have.
        """
        chosen = as_channels(chosen, self.preview.mask.shape)
        dims = [dim for dim, channels in chosen.items() if channels]
        tensor, dim = self.preview.tensor, self.preview.dim
        if not dims:
            nothing = "No channel is marked yet: mark what will be pruned, then check."
            return Feedback(False, nothing, counts=False)
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
                return Feedback(False, f"Not yet. {mistake.hint}{self._example(chosen[dim])}")
        return Feedback(False, f"Not yet. {self._difference(chosen[dim])}")

    def _difference(self, chosen: Set[int]) -> str:
        wrong = len(chosen - self.channels)
        if len(chosen) != len(self.channels):
            size = "few" if len(chosen) < len(self.channels) else "many"
            return f"You marked {len(chosen)}, which is too {size}: how many does `amount` ask for?"
        if len(chosen) == 1:
            return f"That one stays.{self._example(chosen)}"
        stay = f"{wrong} of those you marked {'stays' if wrong == 1 else 'stay'}"
        return f"The number is right, but {stay}.{self._example(chosen)}"

    def _example(self, chosen: Set[int]) -> str:
        """Describe the score of one wrongly marked channel; "" if no score decides."""
        wrong = sorted(chosen - self.channels)
        if not (wrong and self.preview.scores is not None):
            return ""
        norms = self.preview.norms.now
        smaller = int((norms < norms[wrong[0]]).count_nonzero())
        norm = signed(round(float(norms[wrong[0]]), 3))
        score = f" Of channel {wrong[0]} {score_words(self.preview.spec.n)} {norm}"
        if smaller < len(self.channels):
            return f"{score}, the same as one that goes; {OF_EQUALS}."
        return f"{score}; {smaller} {'has' if smaller == 1 else 'have'} less."


def score_words(n: object) -> str:
    """Return words that introduce the Ln norm of a channel.

    Example:
        >>> score_words(1), score_words(float("inf")), score_words(0.5)
        ('the magnitudes add up to', 'the largest magnitude is', 'the norm of order 0.5 is')
    """
    words = {1: "the magnitudes add up to", math.inf: "the largest magnitude is"}
    words[-math.inf] = "the smallest magnitude is"
    return words.get(n, f"the norm of order {n} is")  # type: ignore[call-overload, no-any-return]


def place_name(shape: torch.Size, place: tuple[int, ...]) -> str:
    """Return the row and column of the weight at ``place`` in the table of a tensor of ``shape``.

    Example:
        >>> place_name(torch.Size((4, 2, 3)), (2, 1, 0))
        'row 2, column 3'
    """
    column = 0
    for size, index in zip(shape[1:], place[1:], strict=True):
        column = column * size + index
    return f"row {place[0]}, column {column}" if len(shape) > 1 else f"row 0, column {place[0]}"


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
