"""Four small trained networks that open in milliseconds, without a download.

Each was trained on two thirds of the UCI handwritten digits and measured on the other third. The stated
accuracy is the one that the training command measured and wrote down, never a number typed by hand. To
recreate the data file, the weights and the accuracies (about three minutes on one thread)::

    python -m pip install 'prunescope[train]'
    python -m prunescope.sources.demos.train
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from safetensors.torch import load
from torch import Tensor, nn

from prunescope.sources.data import Training
from prunescope.sources.demos.data import DATA_CREDIT, FILES, Digits
from prunescope.sources.demos.jitter import jitter_half
from prunescope.sources.demos.models import NETWORKS

__all__ = ["DATA_CREDIT", "DEMOS", "Demo", "load_demo"]


@dataclass(frozen=True)
class Demo:
    """A trained network that ships with Prunescope.

    Attributes:
        key: Short name: ``"cnn"``, ``"mlp"``, ``"vit"`` or ``"lstm"``.
        title: Display name, such as ``"Residual CNN"``.
        layer: Full name of the parameter that the explorer opens with.
        accuracy: Held-out accuracy that the training command measured, in [0, 1].
        recipe: What goes well when it is fine-tuned: fields of `prunescope.recover.Recipe`.
        varied: Whether every other training digit is jittered meanwhile, as all were in the first training.
    """

    key: str
    title: str
    layer: str
    accuracy: float
    recipe: Mapping[str, float] = field(default_factory=dict)
    varied: bool = False

    @property
    def training(self) -> Training:
        """Return the 1,198 digits that it was trained on."""
        vary = jitter_half if self.varied else None
        return Training(lambda: Digits.read().training_part(), vary)

    def load(self) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
        """Load the trained network in eval mode, and the held-out ``(inputs, targets)``.

        Every call returns new tensors. The global random state is left as it was found.

        Returns:
            The network on the CPU; inputs in float32 of shape ``(N, 1, 8, 8)`` in [0, 1]; targets in int64 of
            shape ``(N,)``.

        Example:
            >>> model, (inputs, targets) = DEMOS["mlp"].load()
            >>> inputs.shape, model(inputs).shape
            (torch.Size([599, 1, 8, 8]), torch.Size([599, 10]))
        """
        with torch.device("meta"):  # a network built here holds no numbers yet, so it draws none
            model = NETWORKS[self.key]()
        model.load_state_dict(load((FILES / f"{self.key}.safetensors").read_bytes()), assign=True)
        return model.eval(), Digits.read().held_out_part()


def load_demo(key: str = "cnn") -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """Load the trained network of a demo in eval mode, and the held-out ``(inputs, targets)``.

    Args:
        key: ``"cnn"``, ``"mlp"``, ``"vit"`` or ``"lstm"``.

    Returns:
        What :meth:`Demo.load` returns.

    Raises:
        ValueError: No demo has that key.

    Example:
        >>> model, (inputs, targets) = load_demo("cnn")
        >>> model.get_parameter(DEMOS["cnn"].layer).shape
        torch.Size([64, 64, 3, 3])
    """
    if key not in DEMOS:
        allowed = ", ".join(repr(known) for known in DEMOS)
        raise ValueError(f"`key` must be one of {allowed}, got {key!r}")
    return DEMOS[key].load()


def _demos() -> Mapping[str, Demo]:
    stored = FILES / "accuracy.json"  # missing only before the training command has run for the first time
    measured = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    described: list[tuple[str, str, str, dict[str, float], bool]] = [
        ("cnn", "Residual CNN", "block2.conv2.weight", {}, False),
        ("mlp", "MLP", "fc2.weight", {"learning_rate": 1e-2}, False),
        ("vit", "Vision transformer", "blocks.1.attention.qkv.weight", {}, False),
        ("lstm", "LSTM over rows", "lstm.weight_hh_l0", {"learning_rate": 3e-2, "batch": 32}, True),
    ]
    demos = {}
    for key, title, layer, recipe, varied in described:
        found = measured.get(key, {"correct": math.nan, "total": 1})
        demos[key] = Demo(key, title, layer, found["correct"] / found["total"], recipe, varied)
    return MappingProxyType(demos)


DEMOS: Mapping[str, Demo] = _demos()
"""The demos by key, in the order they are listed; the first is the default."""
