"""One exploration of one model: its tensors, previews with cached rankings, and held-out accuracy.

The user's model is read, never written: accuracy is measured on a copy with the pruned tensor passed in.
"""

from __future__ import annotations

from collections.abc import Iterator

from prunescope.analysis import Accuracy, Twin
from prunescope.errors import RequestError
from prunescope.preview import ChannelNorms, Preview, make_preview, rank_tensor, tensor_norms
from prunescope.prune import Ranking
from prunescope.sources import Source, find_tensor, fingerprint, prunable_tensors, read_again, version
from prunescope.spec import METHODS, PruneSpec, Resolved, resolve
from prunescope.tensor import PrunableTensor


class Session:
    """One exploration of one model.

    Args:
        source: The model, and its held-out data if it has any.

    Raises:
        RequestError: The model has nothing to prune, or lazy parameters.

    Example:
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> session = Session(module_source(nn.Linear(4, 3)))
        >>> session.preview(session.resolve(session.first_spec)).pruned_units
        4
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.tensors: dict[str, PrunableTensor] = dict(prunable_tensors(source.model))
        self._fingerprints = {
            name: fingerprint(source.model, tensor) for name, tensor in self.tensors.items()
        }
        self.parameters = sum(parameter.numel() for parameter in source.model.parameters())
        self._ranking: tuple[object, Ranking] | None = None
        self._norms: tuple[object, ChannelNorms] | None = None
        self._twin: tuple[object, Twin] | None = None
        self._accuracies: dict[bool, tuple[object, Accuracy]] = {}

    @property
    def first_spec(self) -> PruneSpec:
        """Return the spec an exploration of this model opens with."""
        return PruneSpec(layer=self.source.layer or next(iter(self.tensors)))

    def tensor(self, layer: object) -> PrunableTensor:
        """Return the tensor ``layer`` names, as it is in the model now.

        Raises:
            RequestError: ``layer`` names nothing that can be pruned.
        """
        model = self.source.model
        name = find_tensor(model, self.tensors, layer).name
        now = fingerprint(model, self.tensors[name])
        if now != self._fingerprints[name]:
            self.tensors[name] = read_again(model, self.tensors[name])
            self._fingerprints[name] = now
        return self.tensors[name]

    def resolve(
        self, wanted: PruneSpec, asked: frozenset[str] = frozenset(), previous_units: int | None = None
    ) -> Resolved:
        """Return what the model allows of ``wanted``; see `prunescope.spec.resolve`."""
        tensor = self.tensor(wanted.layer)
        wanted = PruneSpec(**{**vars(wanted), "layer": tensor.name})
        return resolve(wanted, tensor, asked=asked, previous_units=previous_units)

    def preview(self, resolved: Resolved) -> Preview:
        """Return what ``resolved`` would do. Moving only ``amount`` re-selects from the last ranking.

        Raises:
            RequestError: The tensor's scores are not finite.
        """
        spec = resolved.spec
        tensor = self.tensor(spec.layer)
        try:
            return make_preview(
                resolved, tensor, self._cached_ranking(spec, tensor), self._cached_norms(spec, tensor)
            )
        except ValueError as error:
            reason = str(error).rstrip(".")
            raise RequestError("layer", f"`layer` {tensor.name} cannot be ranked: {reason}.") from error

    def _cached_ranking(self, spec: PruneSpec, tensor: PrunableTensor) -> Ranking:
        used = METHODS[spec.method].uses - {"amount"}
        key = (
            tensor.name,
            self._fingerprints[tensor.name],
            spec.method,
            *(getattr(spec, name) for name in sorted(used)),
        )
        if self._ranking is None or self._ranking[0] != key:
            self._ranking = None  # Free the old one before the new one takes memory.
            self._ranking = (key, rank_tensor(spec, tensor))
        return self._ranking[1]

    def _cached_norms(self, spec: PruneSpec, tensor: PrunableTensor) -> ChannelNorms:
        key = (tensor.name, self._fingerprints[tensor.name], spec.n, spec.dim)
        if self._norms is None or self._norms[0] != key:
            self._norms = (key, tensor_norms(spec, tensor))
        return self._norms[1]

    def model_sparsity(self, preview: Preview | None = None) -> float:
        """Return the fraction of all the model's parameters that is pruned, in [0, 1].

        Args:
            preview: Counted as if it were carried out; None counts what the model carries already.
        """
        pruned = 0 if preview is None else preview.pruned_weights
        for tensor in map(self.tensor, list(self.tensors)):
            if tensor.default_mask is not None and (preview is None or tensor.name != preview.tensor.name):
                pruned += tensor.weight.numel() - int(tensor.default_mask.count_nonzero())
        return pruned / self.parameters

    def accuracy(self, preview: Preview | None = None) -> Accuracy:
        """Return the held-out accuracy; measured once for as long as the model and the preview are the same.

        Args:
            preview: Measured as if it were carried out; None measures the model as it is.

        Raises:
            RequestError: There is no data, or the model cannot be run on it.
        """
        known = self._known_accuracy(preview)
        if known is not None:
            return known
        for _ in self.evaluate(preview):
            pass
        known = self._known_accuracy(preview)
        if known is None:
            raise RequestError("data", "`data` must be given to measure accuracy.")
        return known

    def known_accuracy(self) -> Accuracy | None:
        """Return the accuracy of the model as it is if it has been measured, else None."""
        return self._known_accuracy(None)

    def _known_accuracy(self, preview: Preview | None) -> Accuracy | None:
        key, accuracy = self._accuracies.get(preview is None, (None, None))
        return accuracy if key == self._accuracy_key(preview) else None

    def _accuracy_key(self, preview: Preview | None) -> tuple[object, ...]:
        state = (*self.source.model.parameters(), *self.source.model.buffers())
        return (preview, *((id(tensor), tensor.data_ptr(), version(tensor)) for tensor in state))

    def evaluate(self, preview: Preview | None = None) -> Iterator[Accuracy]:
        """Yield the held-out accuracy counted so far, batch by batch; the last one is the whole.

        Args:
            preview: Measured as if it were carried out; None measures the model as it is.

        Raises:
            RequestError: The model cannot be run on the data, answers in another form, or changed meanwhile.
        """
        if self.source.data is None or self._known_accuracy(preview) is not None:
            return
        if preview is not None and self.tensor(preview.tensor.name) is not preview.tensor:
            raise _changed()
        start = self._accuracy_key(preview)
        for counted in self._current_twin().evaluate(*self.source.data, preview):
            if self._accuracy_key(preview) != start:
                raise _changed()
            if counted.total == len(self.source.data[1]):
                self._accuracies[preview is None] = (start, counted)
            yield counted

    def _current_twin(self) -> Twin:
        key = self._accuracy_key(None)
        if self._twin is None or self._twin[0] != key:
            self._twin = None  # Free the old one before the new one takes memory.
            self._twin = (key, Twin(self.source.model))
        return self._twin[1]


def _changed() -> RequestError:
    return RequestError("data", "`data` was not evaluated: the model has changed since. Move a control.")
