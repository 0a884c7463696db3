"""What a file of a module in memory would hold, by full name without ``_orig``, and without masks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from prunescope.prune.masking import where_kept
from prunescope.sources.checkpoint.stream import FileEntry
from prunescope.sources.state import is_plain, layout_of, memory_of


def pruned_names(model: nn.Module) -> frozenset[str]:
    """Return the full names, without ``_orig``, of the tensors that ``model`` carries a mask for."""
    state = model.state_dict()
    plain = (name.removesuffix("_orig") for name in state if name.endswith("_orig"))
    return frozenset(name for name in plain if f"{name}_mask" in state)


def module_entries(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, FileEntry]:
    """Return every tensor of the ``state_dict`` of ``model`` by its full name without ``_orig``.

    Args:
        model: Any module, pruned or not; read, never written.
        masks: Boolean masks by full name without ``_orig``, True where kept; their tensors have zeros
            elsewhere, and so have those that share their memory: a tied weight that is made permanent has its
                zeros everywhere.
    """
    own = pruned_names(model)
    plain = {
        name.removesuffix("_orig") if name.removesuffix("_orig") in own else name: value
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor) and not (name.endswith("_mask") and name.removesuffix("_mask") in own)
    }
    of_memory = {_memory(plain[name]): mask for name, mask in masks.items()}
    return {name: _entry(name, value, of_memory.get(_memory(value))) for name, value in plain.items()}


def _entry(name: str, value: Tensor, mask: Tensor | None) -> FileEntry:
    shape = () if value.is_nested else tuple(value.shape)  # torch does not tell that of nested ones.
    return FileEntry(name, shape, value.dtype, partial(_with_zeros, value, mask), layout_of(value))


def _memory(value: Tensor) -> object:
    return (memory_of(value), value.shape) if is_plain(value) else id(value)


def _with_zeros(value: Tensor, mask: Tensor | None) -> Tensor:
    return value if mask is None else where_kept(mask.to(value.device), value)
