"""The table of criteria: what counts as unimportant, and what is needed to know it.

A criterion fills the ``importance_scores=`` of torch's functions. Its scores are computed in
`prunescope.measure.importance` and handed to a session as values; nothing here computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from prunescope.core.errors import RequestError

WEIGHT = "weight"
"""The key of the criterion that ranks the weights themselves, as torch does without scores."""


@dataclass(frozen=True)
class Criterion:
    """One way to tell how important a weight or a channel is.

    Attributes:
        key: What code and links call it.
        title: What a person reads in a list.
        label: What a score is, as an axis says it.
        symbol: The same before a number.
        needs: ``"nothing"``, ``"inputs"``, ``"data"`` (inputs and targets) or ``"scores"`` of the user's.
        channel_scores: Whether a channel has a score of its own, so that the norm order plays no part; if
            not, its score is the Ln norm of the scores of its weights.
        says: One sentence of what it is, with its formula.
        of_channel: Label and symbol of a channel's score, where its formula is another.
    """

    key: str
    title: str
    label: str
    symbol: str
    needs: str
    channel_scores: bool
    says: str
    of_channel: tuple[str, str] | None = None

    @property
    def channel_label(self) -> str:
        """Return what the score of a channel is, as an axis says it."""
        return self.of_channel[0] if self.of_channel else self.label

    @property
    def channel_symbol(self) -> str:
        """Return the same before a number."""
        return self.of_channel[1] if self.of_channel else self.symbol

    def why_not(self, *, runs: bool, inputs: bool, data: bool, given: bool) -> str:
        """Return the sentence with which the criterion is disabled, or "".

        Args:
            runs: Whether the model is a network, and not a file of weights.
            inputs: Whether there is something to run it on.
            data: Whether there are targets too.
            given: Whether the user has given scores.

        Example:
            >>> CRITERIA["taylor"].why_not(runs=True, inputs=False, data=False, given=False)
            '`criterion` taylor needs gradients: pass `data=(inputs, targets)`.'
        """
        start = f"`criterion` {self.key} needs"
        if self.needs == "nothing":
            return ""
        if self.needs == "scores":
            return "" if given else f"{start} scores of your own: pass `importance_scores=`."
        if not runs:
            return f"{start} a network to run, and a checkpoint has weights only."
        if self.needs == "inputs":
            return "" if inputs else f"{start} inputs to run the model on: pass `data=` or `example=`."
        return "" if data else f"{start} gradients: pass `data=(inputs, targets)`."


CRITERIA: Mapping[str, Criterion] = {
    criterion.key: criterion
    for criterion in (
        Criterion(
            WEIGHT,
            "Weight",
            "magnitude |w|",
            "|w|",
            "nothing",
            False,
            "The weights themselves, as torch does.",
        ),
        Criterion(
            "taylor",
            "Taylor (gradient × weight)",
            "Taylor |g·w|",
            "|g·w|",
            "data",
            True,
            "First-order change of the loss: the mean over batches of |g·w|; of a channel, of (Σ g·w)².",
            ("Taylor (Σ g·w)²", "(Σ g·w)²"),
        ),
        Criterion(
            "wanda",
            "Wanda (weight × input norm)",
            "Wanda |w|·‖x‖",
            "|w|·‖x‖",
            "inputs",
            False,
            "Magnitude times the L2 norm of the input it meets, over all examples and positions.",
        ),
        Criterion(
            "fisher",
            "Fisher (½ g²·w²)",
            "Fisher ½ g²·w²",
            "½ g²·w²",
            "data",
            False,
            "Half the mean over batches of g², times w²: the second-order change of the loss.",
        ),
        Criterion(
            "batchnorm",
            "Batch-norm scale |γ|",
            "batch-norm scale |γ|",
            "|γ|",
            "inputs",
            True,
            "The scale of the batch-norm behind a channel; meant for networks trained with L1 on it.",
        ),
        Criterion(
            "activation",
            "Activation (mean |a|)",
            "mean activation |a|",
            "|a|",
            "inputs",
            True,
            "The mean magnitude of what an output channel puts out.",
        ),
        Criterion(
            "given",
            "Given scores",
            "given score |s|",
            "|s|",
            "scores",
            False,
            "Scores of your own; torch takes |s|.",
        ),
    )
}
"""The criteria, in the order they are offered."""


def parse_criterion(criterion: object) -> str:
    """Return the key of a criterion.

    Raises:
        RequestError: There is none of that key.
    """
    if not isinstance(criterion, str) or criterion not in CRITERIA:
        allowed = ", ".join(CRITERIA)
        raise RequestError("criterion", f"`criterion` must be one of {allowed}, got {criterion!r}.")
    return criterion


@dataclass(frozen=True, eq=False)
class Importance:
    """The scores of one tensor by one criterion.

    Attributes:
        weights: A score for each weight, of the tensor's shape; None where only channels have scores.
        channels: A score for each channel, by the axis that numbers them.

    Example:
        >>> import torch
        >>> Importance(None, {0: torch.tensor([1.0, 2.0])}).scores((2, 3), 0, structured=True)
        tensor([[1., 1., 1.],
                [2., 2., 2.]])
    """

    weights: Tensor | None = None
    channels: Mapping[int, Tensor] = field(default_factory=dict)

    def scores(self, shape: tuple[int, ...], dim: int, *, structured: bool) -> Tensor:
        """Return what torch's ``importance_scores=`` takes, of ``shape``.

        A channel's own score stands at all of its weights, so that their L∞ norm is that score.

        Args:
            shape: The shape of the weight.
            dim: Axis that numbers the channels.
            structured: Whether channels are pruned, and not single weights.

        Raises:
            RequestError: There are no scores along ``dim``.
        """
        if structured and dim in self.channels:
            return _spread(self.channels[dim], shape, dim)
        if self.weights is not None:
            return self.weights
        if structured:
            there = ", ".join(map(str, self.channels))
            raise RequestError("dim", f"`dim` must be {there}: only those channels are scored, got {dim}.")
        (axis, values), *_ = self.channels.items()
        return _spread(values, shape, axis)


def _spread(channels: Tensor, shape: tuple[int, ...], dim: int) -> Tensor:
    return channels.reshape([-1 if axis == dim else 1 for axis in range(len(shape))]).expand(shape)
