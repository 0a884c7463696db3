"""The table of criteria: what counts as unimportant, and what computing it needs.

A criterion fills the ``importance_scores=`` of torch's functions. Its scores are computed in
`prunescope.measure.importance` and handed to a session as values; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from prunescope.core.errors import RequestError

WEIGHT = "weight"
"""Key of the criterion that ranks the weights themselves, as torch does without scores."""


@dataclass(frozen=True)
class Criterion:
    """One measure of how important a weight or a channel is.

    Attributes:
        key: Its name in code and links.
        title: Its name in the list.
        label: Its name on an axis.
        symbol: Its symbol before a number.
        needs: ``"nothing"``, ``"inputs"``, ``"data"`` (inputs and targets), or ``"scores"`` given by the
            user.
        channel_scores: Whether a channel has a score of its own, so that ``n`` is ignored; otherwise its
            score is the Ln norm of its weights' scores.
        says: One sentence that defines it, with its formula.
        of_channel: Label and symbol of a channel's score, where its formula is different.
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
        """Return why the criterion is unavailable, in one sentence, or "".

        Args:
            runs: Whether the model can be run; a file of weights cannot.
            inputs: Whether there are inputs to run it on.
            data: Whether there are targets as well.
            given: Whether the user passed scores.

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
            return f"{start} a network to run, and a checkpoint only has weights."
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
            "Magnitude times the L2 norm of the input it multiplies, over all examples and positions.",
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
            "The scale of the batch-norm after a channel; for networks trained with an L1 penalty on it.",
        ),
        Criterion(
            "activation",
            "Activation (mean |a|)",
            "mean activation |a|",
            "|a|",
            "inputs",
            True,
            "The mean magnitude of an output channel's activation.",
        ),
        Criterion(
            "given",
            "Given scores",
            "given score |s|",
            "|s|",
            "scores",
            False,
            "Your own scores; torch ranks |s|.",
        ),
    )
}
"""The criteria, in the order they are listed."""


def parse_criterion(criterion: object) -> str:
    """Check the key of a criterion and return it.

    Raises:
        RequestError: There is no such criterion.
    """
    if not isinstance(criterion, str) or criterion not in CRITERIA:
        allowed = ", ".join(CRITERIA)
        raise RequestError("criterion", f"`criterion` must be one of {allowed}, got {criterion!r}.")
    return criterion


@dataclass(frozen=True, eq=False)
class Importance:
    """The scores of one tensor under one criterion.

    Attributes:
        weights: A score for each weight, of the tensor's shape; None where only channels have scores.
        channels: A score for each channel, by channel axis.

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

        A channel's own score is repeated over all of its weights, so that their L∞ norm is that score.

        Args:
            shape: The shape of the weight.
            dim: Channel axis.
            structured: Whether channels are pruned rather than single weights.

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
