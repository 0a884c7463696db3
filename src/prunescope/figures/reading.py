"""The pictures in words: what is under the pointer, and the whole in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from prunescope.core.channels import IN_PART, KEPT, PRUNED
from prunescope.core.preview import Preview
from prunescope.core.tensor import PrunableTensor
from prunescope.core.text import number, percent


def sentence(preview: Preview) -> str:
    """Describe the picture of ``preview`` in one sentence.

    Example:
        >>> import torch
        >>> from prunescope.core.preview import preview_tensor
        >>> from prunescope.core.resolve import resolve
        >>> from prunescope.core.spec import PruneSpec
        >>> from prunescope.core.tensor import PrunableTensor
        >>> weight = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
        >>> tensor = PrunableTensor("w", "Linear", weight, ("outputs", "inputs"))
        >>> spec = PruneSpec("w", "ln_structured", amount=1)
        >>> sentence(preview_tensor(resolve(spec, tensor), tensor))
        '1 of 2 outputs pruned, L2 norms 1 to 5, threshold 1.'
    """
    words = [f"{preview.pruned_units:,} of {preview.units:,} {preview.unit_name} pruned"]
    if preview.scores is None:
        words[0] += " at random"
    if preview.method.groups:
        words[0] += f" within {groups_text(preview)}"
    norms = preview.norms.now
    if len(norms):
        of = "" if preview.method.structured else f" of the {preview.tensor.axis(preview.dim)}"
        low, high = float(norms.min()), float(norms.max())
        label = preview.norms.label
        words.append(f"{label}{'s' if label.endswith('norm') else ''}{of} {number(low)} to {number(high)}")
    if preview.threshold is not None:
        words.append(f"threshold {number(preview.threshold)}{_of_criterion(preview)}")
    if preview.spec.by_hand:
        words.append(f"by hand {preview.spec.by_hand}")
    return ", ".join(words) + "."


def _of_criterion(preview: Preview) -> str:
    """Return what the threshold is one of, where that is no weight and no norm of weights."""
    if not preview.importance or preview.scores is None or preview.scores.by_channel:
        return ""
    return f" of {preview.scores.label}"


def groups_text(preview: Preview) -> str:
    """Return what the method's groups are, such as ``"groups of 4 along input features"``.

    Example:
        >>> import torch
        >>> from prunescope.core.preview import preview_tensor
        >>> from prunescope.core.resolve import resolve
        >>> from prunescope.core.spec import PruneSpec
        >>> from prunescope.core.tensor import PrunableTensor
        >>> tensor = PrunableTensor("w", "Linear", torch.eye(8), ("outputs", "inputs"))
        >>> spec = PruneSpec("w", "grouped_unstructured", amount=0.5, dim=1, group=4)
        >>> groups_text(preview_tensor(resolve(spec, tensor), tensor))
        'groups of 4 along inputs'
    """
    dim, size = preview.spec.dim, preview.spec.group
    along = axes_text(preview.tensor, dim if isinstance(dim, tuple) else (dim,))
    return f"groups along {along}" if size is None else f"groups of {size:,} along {along}"


def axes_text(tensor: PrunableTensor, axes: Sequence[int]) -> str:
    """Return what some axes of ``tensor`` count together, such as ``"input channels × kernel"``."""
    names = [tensor.axis(axis) for axis in axes]
    kernel = [name for name in tensor.axes if name.startswith("kernel")]
    if len(kernel) > 1 and set(kernel) <= set(names):
        names = [*(name for name in names if name not in kernel), "kernel"]
    return " × ".join(names)


def channel_reading(preview: Preview, channel: int) -> str:
    """Describe ``channel``: index, norm, rank (1 is the smallest norm) and state, "by hand" if it is."""
    norms = preview.norms.now
    norm = float(norms[channel])
    rank = int((norms < norms[channel]).sum() + (norms[:channel] == norms[channel]).sum()) + 1
    state = channel_state(preview, channel)
    by_hand = {*preview.spec.keep_channels, *preview.spec.prune_channels}
    hand = " by hand" if channel in by_hand else ""
    name = preview.norms.label if preview.importance else "norm"
    return f"channel {channel:,} · {name} {number(norm)} · rank {rank:,}/{len(norms):,} · {state}{hand}"


def click_reading(preview: Preview, channel: int) -> str:
    """Describe what a click on the bar of ``channel`` does."""
    turned = preview.turned(channel)
    verbs = {KEPT: "keeps it", PRUNED: "prunes it", IN_PART: "leaves it to the method", None: "does nothing"}
    return f"a click {verbs[turned]}"


def channel_state(preview: Preview, channel: int) -> str:
    """Return the state of ``channel``: kept, pruned, or the fraction kept."""
    mask = preview.mask.select(preview.dim, channel)
    kept = int(mask.count_nonzero())
    if kept == mask.numel():
        return "kept"
    if kept:
        return f"{percent(kept / mask.numel())} kept"
    earlier = preview.tensor.default_mask
    return "pruned" if earlier is None or earlier.select(preview.dim, channel).any() else "pruned earlier"


def weight_reading(preview: Preview, index: Sequence[int]) -> str:
    """Describe one weight: index, value, score and state."""
    place = tuple(index)
    weight = float(preview.values("weights", lambda tensor: tensor[place].reshape(1)))
    words = [f"[{', '.join(map(str, place))}] = {number(weight)}".replace("-", "−")]
    if preview.scores is not None:
        name = preview.scores.label if preview.importance else "score"
        words.append(f"{name} {number(preview.scores.at(place))}")
    earlier = preview.tensor.default_mask
    if preview.mask[place]:
        words.append("kept")
    else:
        words.append("pruned" if earlier is None or earlier[place] else "pruned earlier")
    return " · ".join(words)
