"""Two states of one model compared on one layer: what both keep, what both prune, where they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunescope.core.counting import count_true, kept_of_channels
from prunescope.core.markup import Table
from prunescope.core.tensor import PrunableTensor
from prunescope.core.text import percent
from prunescope.measure.costs.report import bytes_text
from prunescope.measure.evaluation import Accuracy
from prunescope.measure.metric import Measure, Metrics
from prunescope.prune import Norm

SIDES = ("a", "b")
"""The sides of a comparison, by attribute."""


@dataclass(frozen=True, eq=False)
class Side:
    """One of two states that are compared.

    Attributes:
        title: What it is, such as ``"Random unstructured"``.
        what: How it was made, such as ``"random_unstructured(amount=0.3, seed=0)"`` or ``"2 steps"``.
        mask: Boolean mask of the layer, True where kept.
        model_sparsity: Fraction of all the model's parameters that is pruned, in [0, 1].
        variant: The `prunescope.session.history.Variant` that it is, to be measured.
        measure: What the metric says of it; None where it is not measured (yet).
        file: Bytes of the model's file, made permanent and compressed; None likewise.
        flops: FLOPs of one example, which masks do not change; None likewise.
        flops_cut: FLOPs saved at least if whole channels were cut out; None likewise.
    """

    title: str
    what: str
    mask: Tensor = field(repr=False)
    model_sparsity: float
    variant: Any = field(default=None, repr=False)
    measure: Measure | None = None
    file: int | None = None
    flops: int | None = None
    flops_cut: int | None = None

    @property
    def accuracy(self) -> Accuracy | None:
        """Return `measure` where it is an accuracy, else None."""
        return self.measure if isinstance(self.measure, Accuracy) else None

    @property
    def numbers(self) -> Metrics | None:
        """Return `measure` where it is what ``evaluate`` returned, else None."""
        return self.measure if isinstance(self.measure, Metrics) else None

    @cached_property
    def pruned_weights(self) -> int:
        """Return how many weights of the layer are pruned."""
        return self.mask.numel() - count_true(self.mask)

    @property
    def sparsity(self) -> float:
        """Return the fraction of the layer that is pruned, in [0, 1]."""
        return self.pruned_weights / self.mask.numel()


class Row(NamedTuple):
    """A row of a comparison's table: label, first side, second side."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two states of one model on one layer.

    Attributes:
        tensor: The layer.
        n: Order of the norms.
        dim: Channel axis.
        norms: Ln norm of every channel, nothing pruned, of shape ``(s_dim,)``.
        a: The first state.
        b: The second.
        measures: What can be measured of them: some of ``"metric"``, ``"file"`` and ``"flops"``.
        problems: Why one of these could not be measured, by its name.
        metric: What the metric is called, such as ``"Held-out accuracy"``; "" for a model without one.

    Example:
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
    norms: Tensor = field(repr=False)
    a: Side
    b: Side
    measures: frozenset[str] = frozenset()
    problems: Mapping[str, str] = field(default_factory=dict)
    metric: str = ""

    @property
    def weights(self) -> int:
        """Return how many weights the layer has."""
        return self.a.mask.numel()

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return both masks as arrays: NumPy is ten times as fast here with booleans."""
        return self.a.mask.cpu().numpy(), self.b.mask.cpu().numpy()

    @cached_property
    def kept_by_both(self) -> int:
        """Return how many weights both keep."""
        return int(np.count_nonzero(self._arrays[0] & self._arrays[1]))

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
        """Return the fraction of the layer's weights that both keep or both prune, in [0, 1]."""
        return (self.kept_by_both + self.pruned_by_both) / self.weights

    @property
    def jaccard(self) -> float | None:
        """Return the fraction of what either prunes that both prune, in [0, 1]; None if neither prunes.

        P. Jaccard, "The distribution of the flora in the alpine zone", New Phytologist 11 (1912), 37-50.
        """
        either = self.weights - self.kept_by_both
        return self.pruned_by_both / either if either else None

    @cached_property
    def kept_fractions(self) -> tuple[Tensor, Tensor]:
        """Return the fractions of each channel that the two sides keep, each of shape ``(s_dim,)``."""
        size = self.weights // len(self.norms)
        a, b = (kept_of_channels(side.mask, self.dim) for side in (self.a, self.b))
        return a / size, b / size

    @cached_property
    def kept_by_either(self) -> Tensor:
        """Return the fraction of each channel that at least one of them keeps, of shape ``(s_dim,)``."""
        either = torch.from_numpy(self._arrays[0] | self._arrays[1])
        return kept_of_channels(either, self.dim) / (self.weights // len(self.norms))

    def knowing(self, side: str, **measures: Any) -> Comparison:
        """Return the comparison with fields of `Side` filled in for ``"a"`` or ``"b"``."""
        return replace(self, **{side: replace(getattr(self, side), **measures)})

    def failing(self, measure: str, problem: Exception) -> Comparison:
        """Return the comparison with the reason why one of `measures` failed."""
        return replace(self, problems={**self.problems, measure: str(problem)})

    @property
    def rows(self) -> list[Row]:
        """Return the numbers of both as rows of text."""
        channels = [f"{int((kept == 0).sum()):,} of {len(kept):,}" for kept in self.kept_fractions]
        alone = [f"{count:,} ({percent(count / self.weights)})" for count in (self.only_a, self.only_b)]
        sides = self.a, self.b
        rows = [
            Row("As code", *(side.what for side in sides)),
            Row("Layer sparsity", *(percent(side.sparsity) for side in sides)),
            Row("Weights pruned", *(f"{side.pruned_weights:,} of {self.weights:,}" for side in sides)),
            Row("Pruned by this side alone", *alone),
            Row(f"Whole {self.tensor.axis(self.dim)} pruned", *channels),
            Row("Model sparsity", *(percent(side.model_sparsity) for side in sides)),
        ]
        if "metric" in self.measures:
            rows += self._metric
        for key, name, say in _MEASURED:
            if key.partition("_")[0] in self.measures:
                rows.append(Row(name, self._told(self.a, key, say), self._told(self.b, key, say)))
        return rows

    @property
    def _metric(self) -> list[Row]:
        a, b = ({} if side.measure is None else side.measure.precise for side in (self.a, self.b))
        unknown = "not measured" if "metric" in self.problems else "…"
        rows = [Row(name, a.get(name, unknown), b.get(name, unknown)) for name in {**a, **b}]
        return rows or [Row(self.metric, unknown, unknown)]

    def _told(self, side: Side, key: str, say: Callable[[Side], str]) -> str:
        if key.partition("_")[0] in self.problems:
            return "not measured"
        return "…" if getattr(side, key) is None else say(side)

    @property
    def sentence(self) -> str:
        """Return how far the two agree, in one sentence."""
        if self.jaccard is None:
            return f"Neither prunes any of the {self.weights:,} weights of {self.tensor.name}."
        return (
            f"They agree on {percent(self.agreement)} of the {self.weights:,} weights of {self.tensor.name}; "
            f"of what either prunes, both prune {percent(self.jaccard)} (Jaccard)."
        )

    @property
    def table(self) -> Table:
        """Return the numbers of both as a table, with the sentence as its caption."""
        heads = "", f"A · {self.a.title}", f"B · {self.b.title}"
        return Table(heads, tuple(map(tuple, self.rows)), self.sentence)

    def _repr_html_(self) -> str:
        return self.table.html


def _file(side: Side) -> str:
    assert side.file is not None
    return bytes_text(side.file)


def _flops(side: Side) -> str:
    return f"{side.flops:,}"


def _flops_cut(side: Side) -> str:
    assert side.flops is not None
    return f"at most {side.flops - (side.flops_cut or 0):,}"


_MEASURED: tuple[tuple[str, str, Callable[[Side], str]], ...] = (
    ("file", "File, permanent and compressed", _file),
    ("flops", "FLOPs per example", _flops),
    ("flops_cut", "FLOPs with whole channels cut out", _flops_cut),
)
"""What can be measured: its name, its row label, its text."""
