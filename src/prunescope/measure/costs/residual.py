"""The residual output of a model's pruned channels: the bias, and the shift of the batch-norm after it.

A layer and the batch-norm that reads its output are found by running the model and watching which tensor goes
where; nothing is guessed from names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunescope.measure.evaluation import EvalCopy
from prunescope.sources import rows_of

BATCH = 32
"""Examples per batch: a slider's next move may have to wait for one."""

EXAMPLES = 4 * BATCH
"""Examples that are run at most: the residual output is the same for all of them."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Emission:
    """The residual output of the pruned output channels of one layer.

    Attributes:
        layer: Name of the layer.
        channels: Its output channels of which no weight is kept.
        outputs: How many output channels it has.
        at_layer: Largest magnitude in them at the layer's output; None if it could not be observed.
        norm: Name of the batch-norm that reads the layer's output, or "".
        after_norm: Largest magnitude in them after that batch-norm, or None.
        kept: Largest magnitude in the other channels at the last of these places, or None.
        silenced_by: Entries of parameters that, once masked, leave no residual output.
        why_not: Why nothing was measured, or why masking cannot remove it, or "".
    """

    layer: str
    channels: tuple[int, ...]
    outputs: int
    at_layer: float | None = None
    norm: str = ""
    after_norm: float | None = None
    kept: float | None = None
    silenced_by: tuple[str, ...] = ()
    why_not: str = ""

    @property
    def value(self) -> float | None:
        """Return the largest magnitude in the pruned channels at the last observed place."""
        return self.at_layer if self.after_norm is None else self.after_norm


@dataclass
class _Watched:
    """One layer while the model runs."""

    name: str
    module: nn.Module
    dead: Tensor
    output: Tensor | None = None
    at_layer: float | None = None
    kept: float = 0.0
    norms: dict[str, float] = field(default_factory=dict)
    kept_after: float = 0.0

    @property
    def axis(self) -> int:
        """Return the channel axis of the output, counted from the end."""
        return -1 - len(getattr(self.module, "kernel_size", ()))

    def see(self, output: Tensor) -> None:
        """Record the layer's output."""
        self.output = output
        dead, kept = self._split(output, self.axis)
        self.at_layer = max(self.at_layer or 0.0, dead)
        self.kept = max(self.kept, kept)

    def see_norm(self, name: str, output: Tensor) -> None:
        """Record the batch-norm's output."""
        dead, kept = self._split(output, 1)
        self.norms[name] = max(self.norms.get(name, 0.0), dead)
        self.kept_after = max(self.kept_after, kept)

    def _split(self, output: Tensor, axis: int) -> tuple[float, float]:
        largest = output.abs().movedim(axis, 0).flatten(1).amax(1)
        dead = self.dead.to(output.device)
        kept = largest[~dead]
        return float(largest[dead].max()), float(kept.max()) if len(kept) else 0.0


def measure_emissions(
    copy: EvalCopy, masks: Mapping[str, Tensor], weights: Mapping[str, Tensor], inputs: tuple[Tensor, ...]
) -> Iterator[tuple[Emission, ...] | None]:
    """Yield None after each batch, then the residual output of each layer with whole output channels pruned.

    Args:
        copy: The model to run.
        masks: Boolean masks by full name without ``_orig``, True where kept, of all that is pruned.
        weights: The masked tensors that stand in for the model's own, by full name without ``_orig``.
        inputs: What the model is called with; the first `EXAMPLES` of it are run.

    Raises:
        RequestError: The model cannot be run on ``inputs``.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 2)
        >>> _ = nn.init.constant_(model.bias, 0.5)
        >>> mask = torch.tensor([[True, True], [False, False]])
        >>> weights = {"weight": model.weight.detach() * mask}
        >>> *_, found = measure_emissions(EvalCopy(model), {"weight": mask}, weights, (torch.ones(1, 2),))
        >>> found[0].channels, found[0].at_layer, found[0].silenced_by
        ((1,), 0.5, ('bias',))
    """
    modules = dict(copy.model.named_modules())
    watched, others = _find(modules, masks)
    norms = _Norms(modules, watched)
    for start in range(0, min(len(inputs[0]), EXAMPLES) if watched else 0, BATCH):
        with norms.watching():  # Anew for each batch: others may run the copy in between.
            copy.run(rows_of(inputs, slice(start, start + BATCH)), weights)
        yield None
    yield (*(norms.emission(layer, masks) for layer in watched), *others)


def _find(
    modules: Mapping[str, nn.Module], masks: Mapping[str, Tensor]
) -> tuple[list[_Watched], list[Emission]]:
    """Return the layers to watch, and what is said of those whose rows are no output channels."""
    watched, others = [], []
    for name, mask in masks.items():
        layer, _, own = name.rpartition(".")
        module = modules[layer]
        if mask.ndim < 2:
            continue
        dead = _dead_outputs(module, mask) if own == "weight" else None
        if dead is not None and bool(dead.any()):
            watched.append(_Watched(layer, module, dead))
        why, rows = _no_channels(module), ~mask.flatten(1).any(1)
        if why and bool(rows.any()):
            others.append(Emission(name, _places(rows), len(rows), why_not=why))
    return watched, others


def _places(true: Tensor) -> tuple[int, ...]:
    return tuple(true.nonzero().flatten().tolist())


def _dead_outputs(module: nn.Module, mask: Tensor) -> Tensor | None:
    """Return which output channels have no weight left, of shape ``(outputs,)``; None if it has none."""
    if isinstance(module, TRANSPOSED):  # Its first axis is the input's; each group has outputs of its own.
        return ~mask.reshape(module.groups, -1, *mask.shape[1:]).flatten(3).any(3).any(1).flatten()
    if isinstance(module, (*CONVOLUTIONS, nn.Linear, nn.Bilinear)):
        return ~mask.flatten(1).any(1)
    return None


def _no_channels(module: nn.Module) -> str:
    if isinstance(module, nn.RNNBase):
        return "its rows are gates, not channels: a unit's output depends on all of its gates"
    if isinstance(module, nn.MultiheadAttention):
        return "its rows are queries, keys and values inside the layer, not outputs"
    return ""


class _Norms:
    """The batch-norms of a model while it runs, and what each of them reads.

    Args:
        modules: All modules by name.
        watched: The layers whose outputs are followed.
    """

    def __init__(self, modules: Mapping[str, nn.Module], watched: list[_Watched]) -> None:
        self._modules = modules
        self._watched = watched
        self._names = {id(m): name for name, m in modules.items() if isinstance(m, _BatchNorm)}
        self._readers: dict[str, set[str | None]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Observe layers and batch-norms inside this context."""
        handles = [layer.module.register_forward_hook(self._on_layer(layer)) for layer in self._watched]
        handles += [self._modules[name].register_forward_hook(self._on_norm) for name in self._names.values()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for layer in self._watched:
                layer.output = None

    def _on_layer(self, layer: _Watched) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _inputs, output: layer.see(output)

    def _on_norm(self, norm: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        name = self._names[id(norm)]
        layer = next((layer for layer in self._watched if layer.output is inputs[0]), None)
        self._readers.setdefault(name, set()).add(layer.name if layer else None)
        if layer is not None and inputs[0].ndim + layer.axis == 1:
            layer.see_norm(name, output)

    def emission(self, layer: _Watched, masks: Mapping[str, Tensor]) -> Emission:
        """Return what was observed of ``layer``."""
        channels = tuple(layer.dead.nonzero().flatten().tolist())
        seen = Emission(layer.name, channels, len(layer.dead), layer.at_layer)
        if layer.at_layer is None:
            return replace(
                seen,
                why_not="the model reads its weight without calling the layer, so no output is seen",
            )
        norm = max(layer.norms, key=lambda name: layer.norms[name], default="")
        if norm:
            seen = replace(seen, norm=norm, after_norm=layer.norms[norm], kept=layer.kept_after)
        else:
            seen = replace(seen, kept=layer.kept)
        why_not = self._why_not(layer)
        own = [layer.name, *layer.norms] if not why_not else [layer.name]
        names = [name for module in own for name in self._to_mask(module, module == layer.name)]
        left = [name for name in names if name not in masks or bool(masks[name][list(channels)].any())]
        return replace(seen, silenced_by=tuple(left), why_not=why_not)

    def _why_not(self, layer: _Watched) -> str:
        for name in layer.norms:
            if self._readers[name] != {layer.name}:
                return f"{name} is the batch-norm of other layers too"
            if getattr(self._modules[name], "bias", None) is None:
                return f"{name} has no scale and shift to mask"
        return ""

    def _to_mask(self, module: str, is_layer: bool) -> list[str]:
        own = ("bias",) if is_layer else ("weight", "bias")
        dot = "." if module else ""
        return [f"{module}{dot}{name}" for name in own if getattr(self._modules[module], name) is not None]
