"""Two states of one model, looked at on one layer: what both keep, what both prune, where they differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import Any, NamedTuple

from torch import Tensor

from prunescope.analysis.accuracy import Accuracy
from prunescope.errors import RequestError
from prunescope.percent import percent
from prunescope.preview import count_true, kept_of_channels
from prunescope.prune import Norm
from prunescope.tensor import PrunableTensor


@dataclass(frozen=True, eq=False)
class Side:
    """One of two states that are compared.

    Attributes:
        title: What it is, such as ``"Random unstructured"``.
        what: How it came about, such as ``"random_unstructured(amount=0.3, seed=0)"`` or ``"2 steps"``.
        mask: Boolean mask of the layer, True where kept.
        model_sparsity: Fraction of all the model's parameters that is pruned, in [0, 1].
        variant: The `prunescope.history.Variant` that it is, to be measured.
        accuracy: Held-out accuracy, or None where it is not measured (yet).
    """

    title: str
    what: str
    mask: Tensor
    model_sparsity: float
    variant: Any = None
    accuracy: Accuracy | None = None

    @cached_property
    def pruned_weights(self) -> int:
        """Return how many weights of the layer are pruned."""
        return self.mask.numel() - count_true(self.mask)

    @property
    def sparsity(self) -> float:
        """Return the fraction of the layer that is pruned, in [0, 1]."""
        return self.pruned_weights / self.mask.numel()


class Row(NamedTuple):
    """A line of a comparison's table: what is told, of the first side, of the second."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two states of one model on one layer.

    Attributes:
        tensor: The layer.
        n: Order of the norms.
        dim: Axis that numbers the channels.
        norms: Ln norm of every channel, nothing pruned, of shape ``(s_dim,)``.
        a: The first state.
        b: The second.
        has_data: Whether accuracy can be measured.
        problem: Why it could not be, or "".

    Example:
        >>> import torch
        >>> tensor = PrunableTensor("w", "Linear", torch.ones(2, 2), ("outputs", "inputs"))
        >>> a = Side("A", "", torch.tensor([[True, False], [True, False]]), 0.5)
        >>> b = Side("B", "", torch.tensor([[True, False], [False, True]]), 0.5)
        >>> seen = Comparison(tensor, 2, 0, torch.ones(2), a, b)
        >>> seen.kept_by_both, seen.pruned_by_both, seen.only_a, seen.only_b
        (1, 1, 1, 1)
        >>> seen.agreement, round(seen.jaccard, 3)
        (0.5, 0.333)
    """

    tensor: PrunableTensor
    n: Norm
    dim: int
    norms: Tensor
    a: Side
    b: Side
    has_data: bool = False
    problem: str = ""

    @property
    def weights(self) -> int:
        """Return how many weights the layer has."""
        return self.a.mask.numel()

    @cached_property
    def kept_by_both(self) -> int:
        """Return how many weights both keep."""
        return count_true(self.a.mask & self.b.mask)

    @property
    def only_a(self) -> int:
        """Return how many weights the first prunes and the second keeps."""
        return self.weights - self.b.pruned_weights - self.kept_by_both

    @property
    def only_b(self) -> int:
        """Return how many weights the second prunes and the first keeps."""
        return self.weights - self.a.pruned_weights - self.kept_by_both

    @property
    def pruned_by_both(self) -> int:
        """Return how many weights both prune."""
        return self.weights - self.kept_by_both - self.only_a - self.only_b

    @property
    def agreement(self) -> float:
        """Return the share of the layer's weights that both keep or both prune, in [0, 1]."""
        return (self.kept_by_both + self.pruned_by_both) / self.weights

    @property
    def jaccard(self) -> float:
        """Return how much of what either prunes both prune, in [0, 1]; 1 where neither prunes anything.

        P. Jaccard, "The distribution of the flora in the alpine zone", New Phytologist 11 (1912), 37-50.
        """
        either = self.weights - self.kept_by_both
        return self.pruned_by_both / either if either else 1.0

    @cached_property
    def kept_fractions(self) -> tuple[Tensor, Tensor]:
        """Return which fraction of each channel the first keeps, and the second: each of ``(s_dim,)``."""
        size = self.weights // len(self.norms)
        a, b = self.a.mask, self.b.mask
        return kept_of_channels(a, self.dim) / size, kept_of_channels(b, self.dim) / size

    @cached_property
    def kept_by_either(self) -> Tensor:
        """Return which fraction of each channel one of them keeps at least, of shape ``(s_dim,)``."""
        return kept_of_channels(self.a.mask | self.b.mask, self.dim) / (self.weights // len(self.norms))

    def measured_by(self, accuracy: Callable[[Any], Accuracy]) -> Comparison:
        """Return the comparison with what ``accuracy`` says of the variants of both, or why it does not."""
        try:
            return self.measured(accuracy(self.a.variant), accuracy(self.b.variant))
        except RequestError as problem:
            return self.measured(None, None, str(problem))

    def measured(self, a: Accuracy | None, b: Accuracy | None, problem: str = "") -> Comparison:
        """Return the comparison with the accuracies of both."""
        sides = replace(self.a, accuracy=a), replace(self.b, accuracy=b)
        return replace(self, a=sides[0], b=sides[1], problem=problem)

    @property
    def rows(self) -> list[Row]:
        """Return the numbers of both, in words, line by line."""
        channels = [f"{int((kept == 0).sum()):,} of {len(kept):,}" for kept in self.kept_fractions]
        sides = self.a, self.b
        rows = [
            Row("As code", *(side.what for side in sides)),
            Row("Layer sparsity", *(percent(side.sparsity) for side in sides)),
            Row("Weights pruned", *(f"{side.pruned_weights:,} of {self.weights:,}" for side in sides)),
            Row(f"Whole {self.tensor.axis(self.dim)} pruned", *channels),
            Row("Model sparsity", *(percent(side.model_sparsity) for side in sides)),
        ]
        if self.has_data:
            rows.append(Row("Held-out accuracy (95 %)", *(self._accuracy(side) for side in sides)))
        return rows

    def _accuracy(self, side: Side) -> str:
        if self.problem:
            return "not measured"
        if side.accuracy is None:
            return "…"
        low, high = side.accuracy.interval
        return f"{percent(side.accuracy.fraction)} ({percent(low)} to {percent(high)})"

    @property
    def sentence(self) -> str:
        """Return in a sentence how far the two agree."""
        return (
            f"They agree on {percent(self.agreement)} of the {self.weights:,} weights of {self.tensor.name}; "
            f"of what either prunes, both prune {percent(self.jaccard)} (Jaccard)."
        )

    def _repr_html_(self) -> str:
        """Return the table and the sentence, as a notebook shows them."""
        titles = f"A · {self.a.title}", f"B · {self.b.title}"
        heads = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
        head = f'<thead><tr><th scope="col">On {escape(self.tensor.name)}</th>{heads}</tr></thead>'
        lines = "".join(
            f'<tr><th scope="row">{escape(name)}</th><td>{escape(a)}</td><td>{escape(b)}</td></tr>'
            for name, a, b in self.rows
        )
        return f"<table>{head}<tbody>{lines}</tbody></table><p>{escape(self.sentence)}</p>"
