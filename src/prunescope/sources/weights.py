"""The interface between a session and its weights: a module in memory, or files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from os import PathLike
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.core.tensor import PrunableTensor
from prunescope.sources.checkpoint.stream import FileEntry
from prunescope.sources.entries import module_entries, pruned_names
from prunescope.sources.module import find_tensor, fingerprint, not_prunable, prunable_tensors, read_again
from prunescope.sources.state import tensor_state


class Weights(Protocol):
    """Tensors by name, and how to tell that one has changed."""

    @property
    def tensors(self) -> Mapping[str, PrunableTensor]:
        """Return the prunable tensors, by full name."""

    @property
    def parameters(self) -> int:
        """Return the number of parameters of the whole model."""

    @property
    def not_prunable(self) -> Mapping[str, str]:
        """Return why each of the other tensors cannot be pruned, by full name."""

    @property
    def largest_pool(self) -> int | None:
        """Return how many weights may be ranked together; None for any number."""

    @property
    def files(self) -> Sequence[Path]:
        """Return the files that hold the weights; none for a module in memory."""

    @property
    def pruned(self) -> Set[str]:
        """Return the names (without ``_orig``) of the tensors that the model carries its own masks for."""

    def entries(self, masks: Mapping[str, Tensor] | None = None) -> Mapping[str, FileEntry]:
        """Return all entries of a file of the model, by full name without ``_orig`` and without masks.

        Args:
            masks: Boolean masks by full name without ``_orig``, True where kept; their tensors have zeros
                elsewhere.

        Raises:
            RequestError: A file cannot hold one of them.
        """

    def values(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters by full name without ``_orig``, as the model was given."""

    def save_copy(
        self, masks: Mapping[str, Tensor], path: str | PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Write a copy of `files` with zeros where ``masks`` are False, and return its path.

        Raises:
            RequestError: There are no files, or the copy cannot be written.
        """

    def current(self, layer: object) -> PrunableTensor:
        """Return the tensor that ``layer`` names, as it is now.

        Raises:
            RequestError: ``layer`` names nothing that can be pruned.
        """

    def state(self, name: str) -> object:
        """Return a fingerprint of the tensor ``name``, as of its last `current`."""

    def own_masks(self) -> Mapping[str, Tensor]:
        """Return the masks that the weights came with, as far as they are known."""

    def state_of_all(self) -> tuple[object, ...]:
        """Return a fingerprint of everything that the model's outputs depend on."""


class ModuleWeights:
    """The weights of a module in memory, which its owner may change at any time.

    Args:
        model: The module. Read, never written.

    Raises:
        RequestError: It has nothing to prune, or lazy parameters.
    """

    largest_pool: int | None = None
    files: Sequence[Path] = ()

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.tensors: dict[str, PrunableTensor] = dict(prunable_tensors(model))
        self.not_prunable = not_prunable(model)
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self._states = {name: fingerprint(model, tensor) for name, tensor in self.tensors.items()}

    @property
    def pruned(self) -> Set[str]:
        """Return the names (without ``_orig``) of the parameters that the model carries masks for now."""
        return pruned_names(self._model)

    def entries(self, masks: Mapping[str, Tensor] | None = None) -> Mapping[str, FileEntry]:
        """Return every tensor of the model's ``state_dict``; see `prunescope.sources.entries`."""
        return module_entries(self._model, masks or {})

    def values(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters by full name without ``_orig``: those of before, where the model is pruned."""
        for name, value in self._model.named_parameters():
            yield name.removesuffix("_orig"), value

    def save_copy(
        self, masks: Mapping[str, Tensor], path: str | PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Refuse: there are no files to copy."""
        raise RequestError("model", "`model` is in memory, not in files: save its state_dict.")

    def current(self, layer: object) -> PrunableTensor:
        """Return the tensor that ``layer`` names, as it is in the model now."""
        name = find_tensor(self._model, self.tensors, layer).name
        now = fingerprint(self._model, self.tensors[name])
        if now != self._states[name]:
            self.tensors[name] = read_again(self._model, self.tensors[name])
            self._states[name] = now
        return self.tensors[name]

    def state(self, name: str) -> object:
        """Return the fingerprint of the tensor ``name``, as of its last `current`."""
        return self._states[name]

    def own_masks(self) -> Mapping[str, Tensor]:
        """Return the masks of the pruning that the model carries now."""
        now = {name: self.current(name).default_mask for name in list(self.tensors)}
        return {name: mask for name, mask in now.items() if mask is not None}

    def state_of_all(self) -> tuple[object, ...]:
        """Return a fingerprint of the model, by torch's own count."""
        return tuple(map(tensor_state, (*self._model.parameters(), *self._model.buffers())))
