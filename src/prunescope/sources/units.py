"""Units that go as a whole: a hidden unit of a recurrent layer, a head of attention; their rows by tensor.

A row of such a layer alone is no unit: a hidden unit has one in every gate of both matrices, a head has rows
of its queries, keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunescope.core.errors import RequestError

HEADS = ("num_heads", "n_heads", "heads", "num_attention_heads", "n_head")
"""What modules call the number of their heads."""

PARTS = ("q", "k", "v", "query", "key", "value", "q_proj", "k_proj", "v_proj", "q_lin", "k_lin", "v_lin")
"""What modules call the layers that make queries, keys and values."""


@dataclass(frozen=True)
class Units:
    """The units of a layer.

    Attributes:
        owner: Name of the layer or the attention.
        kind: What they are, in the plural.
        count: How many there are.
        tensors: Names of the tensors that have rows of them.
        rows: Returns the rows of one unit, the same in each tensor.
    """

    owner: str
    kind: str
    count: int
    tensors: tuple[str, ...]
    rows: Callable[[int], Sequence[int]]

    def title(self, units: Sequence[int]) -> str:
        """Return what choosing ``units`` is called."""
        named = ", ".join(map(str, units[:4])) + (", …" if len(units) > 4 else "")
        count = f"{len(units)} {self.kind}" if len(units) > 1 else f"1 {self.kind.removesuffix('s')}"
        return f"{count} of {self.owner or 'the model'} ({named})"

    def rows_of(self, units: Sequence[int]) -> tuple[int, ...]:
        """Return the rows of several units, in order.

        Raises:
            RequestError: There is no such unit.
        """
        if not units or min(units) < 0 or max(units) >= self.count:
            raise RequestError(
                "units", f"`units` must be {self.kind} from 0 to {self.count - 1}, got {units}."
            )
        return tuple(sorted(row for unit in units for row in self.rows(unit)))

    def left(self, weight: Tensor) -> int:
        """Return of how many units anything is left in a tensor that has zeros where it is pruned."""
        rows = weight.flatten(1).any(1)
        return sum(bool(rows[list(self.rows(unit))].any()) for unit in range(self.count))

    def weakest(self, count: int, weights: Mapping[str, Tensor]) -> list[int]:
        """Return the units of the lowest L2 norm over all their rows, among those of which anything is left.

        Args:
            count: How many.
            weights: The tensors by name, with zeros where pruned.

        Raises:
            RequestError: There are not so many.
        """
        total = sum(weights[name].detach().flatten(1).pow(2).sum(1) for name in self._matrices(weights))
        assert isinstance(total, Tensor)
        scores = torch.stack([total[list(self.rows(unit))].sum() for unit in range(self.count)])
        left = int((scores > 0).sum())
        if not 0 < count <= left:
            raise RequestError("units", f"`units` must be 1 to {left} {self.kind}, got {count}.")
        ranked = scores.masked_fill(scores == 0, torch.inf).argsort(stable=True)
        return sorted(ranked[:count].tolist())

    def _matrices(self, weights: Mapping[str, Tensor]) -> list[str]:
        return [name for name in self.tensors if weights[name].ndim > 1]


def gate_rows(layer: nn.RNNBase, units: Sequence[int]) -> list[int]:
    """Return the rows of a recurrent layer's weights that belong to hidden ``units``: one in every gate.

    What prunes those rows of both weights, and those entries of the biases, prunes the units.

    Example:
        >>> gate_rows(nn.LSTM(3, 5), [1])
        [1, 6, 11, 16]
    """
    gates = len(layer.get_parameter("weight_hh_l0")) // layer.hidden_size
    return [gate * layer.hidden_size + unit for gate in range(gates) for unit in units]


def find_units(model: nn.Module, tensor: str) -> Units | None:
    """Return the units that the rows of a tensor are parts of; None where each row stands for itself.

    Args:
        model: The network.
        tensor: Full name of a parameter.

    Example:
        >>> found = find_units(nn.ModuleDict({"lstm": nn.LSTM(3, 5)}), "lstm.weight_hh_l0")
        >>> found.kind, found.count, found.rows_of([1])
        ('hidden units', 5, (1, 6, 11, 16))
        >>> find_units(nn.Linear(3, 5), "weight") is None
        True
    """
    owner, _, name = tensor.rpartition(".")
    module = model.get_submodule(owner)
    if isinstance(module, nn.RNNBase):
        return None if module.proj_size else _hidden_units(module, owner, name.partition("_l")[2])
    if isinstance(module, nn.MultiheadAttention):
        return _heads(f"{owner}.".removeprefix("."), owner, ("in_proj_weight", "in_proj_bias"), module, name)
    return _heads_of_linear(model, module, owner)


def _hidden_units(layer: nn.RNNBase, owner: str, suffix: str) -> Units:
    dot = f"{owner}." if owner else ""
    kinds = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if layer.bias else ()))
    names = tuple(f"{dot}{kind}_l{suffix}" for kind in kinds)
    return Units(owner, "hidden units", layer.hidden_size, names, lambda unit: gate_rows(layer, [unit]))


def _heads_of_linear(model: nn.Module, module: nn.Module, owner: str) -> Units | None:
    above, _, own = owner.rpartition(".")
    holder = model.get_submodule(above)
    if not isinstance(module, nn.Linear) or not owner:
        return None
    if own in PARTS:
        found = [name for name in PARTS if isinstance(getattr(holder, name, None), nn.Linear)]
        same = [n for n in found if getattr(holder, n).out_features == module.out_features]
        return _heads_by(holder, above, same, module.out_features, parts=1)
    fused = "qkv" in own and module.out_features == 3 * module.in_features
    return _heads_by(holder, above, [own], module.out_features, parts=3) if fused else None


def _heads_by(holder: nn.Module, above: str, layers: Sequence[str], rows: int, parts: int) -> Units | None:
    count = next((n for name in HEADS if isinstance(n := getattr(holder, name, None), int) and n > 0), 0)
    if not count or rows % (parts * count):
        return None
    width = rows // parts // count
    dot = f"{above}." if above else ""
    tensors = tuple(
        f"{dot}{layer}.{kind}"
        for layer in layers
        for kind in ("weight", "bias")
        if getattr(getattr(holder, layer), kind) is not None
    )
    return Units(above, "heads", count, tensors, lambda head: _rows(head, width, parts, rows))


def _heads(
    dot: str, owner: str, names: Sequence[str], module: nn.MultiheadAttention, own: str
) -> Units | None:
    if own not in names or module.in_proj_weight is None:
        return None
    rows = len(module.in_proj_weight)
    tensors = tuple(f"{dot}{name}" for name in names if getattr(module, name) is not None)
    width = module.head_dim
    return Units(owner, "heads", module.num_heads, tensors, lambda head: _rows(head, width, 3, rows))


def _rows(head: int, width: int, parts: int, rows: int) -> list[int]:
    """Return the rows of a head where all queries stand first, then all keys, then all values."""
    return [part * (rows // parts) + head * width + row for part in range(parts) for row in range(width)]
