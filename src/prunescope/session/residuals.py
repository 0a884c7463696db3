"""A step that ranks nothing: it masks entries of biases, scales and shifts.

A structured method prunes the weights of a channel; its bias and the shift of the batch-norm after it remain
as residual output. Masking them as well leaves the channel silent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.core.spec import Done
from prunescope.core.tensor import PrunableTensor

METHOD = "silence"
"""Name of such a step in plans and links, where others name their method."""


@dataclass(frozen=True)
class Silence:
    """Entries to mask; immutable, and serialisable as JSON.

    Attributes:
        layer: Full name of the weight whose pruned channels are silenced.
        channels: For each parameter, by full name, the entries to be masked.
    """

    layer: str
    channels: Mapping[str, tuple[int, ...]]

    has_call = False
    dim = 0

    @property
    def call(self) -> str:
        """The request as a function call."""
        return "custom_from_mask(mask)"

    def where(self, tensors: Collection[str]) -> str:
        """Return the weight whose channels are silenced."""
        return self.layer

    def told(self, done: Done) -> str:
        """Describe what it did."""
        masked = f"masked {done.pruned_units:,} of {done.units:,} {done.unit_name}"
        return f"{masked}, so that pruned channels have no residual output"

    @property
    def again(self) -> Mapping[str, Any]:
        """Spec fields that show its layer again."""
        return {"layer": self.layer}

    def apply_to(self, session: Any) -> Any:
        """Apply it in a `prunescope.session.Session` as its next step, and return the step."""
        return session.silence(self)

    def values(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        channels = {name: list(entries) for name, entries in self.channels.items()}
        return {"layer": self.layer, "method": METHOD, "channels": channels}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Silence:
        """Restore what `values` returned; whether a model has such entries is not checked.

        Raises:
            RequestError: The mapping has another form.

        Example:
            >>> asked = Silence("fc.weight", {"fc.bias": (0, 3)})
            >>> Silence.of(asked.values()) == asked
            True
        """
        layer, channels = values.get("layer"), values.get("channels")
        lists = channels.values() if isinstance(channels, Mapping) else [None]
        if set(values) != {"layer", "method", "channels"} or not isinstance(layer, str) or not channels:
            raise _none_such(values)
        if not all(isinstance(entries, list) and all(map(_is_index, entries)) for entries in lists):
            raise _none_such(values)
        return cls(layer, {name: tuple(entries) for name, entries in channels.items()})


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _none_such(values: object) -> RequestError:
    return RequestError("plan", f"`plan` contains an invalid step: {values!r}.")


def keep_all_but(tensor: PrunableTensor, entries: Sequence[int]) -> Tensor:
    """Return the mask of ``tensor`` with ``entries`` masked in addition to those masked already.

    Args:
        tensor: A vector.
        entries: Indices into it.

    Raises:
        RequestError: It is not a vector, or has no such entry.

    Example:
        >>> bias = PrunableTensor("fc.bias", "Linear", torch.zeros(4), ("output features",))
        >>> keep_all_but(bias, (0, 3))
        tensor([False,  True,  True, False])
    """
    size = tensor.shape[0]
    if len(tensor.shape) != 1 or not entries or min(entries) < 0 or max(entries) >= size:
        raise RequestError(
            "steps",
            f"`steps`: only entries of a vector are masked one by one; {tensor.name} is {tensor.shape_text}, "
            f"and asked were {len(entries):,} entries from {min(entries, default=0)} to "
            f"{max(entries, default=0)}.",
        )
    mask = torch.ones(size, dtype=torch.bool, device=tensor.weight.device)
    mask[list(entries)] = False
    return mask if tensor.default_mask is None else mask & tensor.default_mask
