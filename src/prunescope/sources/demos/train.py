"""Remake the demos: the data file, the weights and the measured accuracies.

Run it as ``python -m prunescope.sources.demos.train``, with ``prunescope[train]`` installed. It trains on one
thread, and on one machine it writes the same bytes every time. Another machine or version of torch may move
an accuracy by a digit or two, which is why the same command measures the accuracies and writes them down.

The recipe is the same for all four networks but for the learning rate. It was chosen on a validation part of
the *training* images; the held-out ones serve only to count, at the end, how many are right.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from prunescope.sources.demos.data import FILES, Digits
from prunescope.sources.demos.jitter import jitter
from prunescope.sources.demos.models import NETWORKS

EPOCHS: int = 200
"""Passes over the training images."""

RATES: Mapping[str, float] = MappingProxyType({"cnn": 3e-3, "mlp": 3e-3, "vit": 3e-3, "lstm": 1e-2})
"""Highest learning rate of each demo."""

_HELD_OUT = 599
_BATCH = 64
_SEED = 0


def split_digits() -> Digits:
    """Return scikit-learn's digits with a fixed third of them, stratified by label, held out."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    _, held_out = train_test_split(
        np.arange(len(labels)), test_size=_HELD_OUT, stratify=labels, random_state=_SEED
    )
    return Digits(
        images.reshape(-1, 8, 8).astype(np.uint8),
        labels.astype(np.uint8),
        np.sort(held_out).astype(np.uint16),
    )


def train(model: nn.Module, inputs: Tensor, targets: Tensor, *, rate: float, epochs: int) -> None:
    """Train ``model`` in place, and leave it in eval mode.

    Args:
        model: Network from ``(N, 1, 8, 8)`` to ``(N, 10)``.
        inputs: Training images of shape ``(N, 1, 8, 8)``.
        targets: Their digits, of shape ``(N,)``.
        rate: Learning rate at the top of the one-cycle schedule.
        epochs: Passes over the images, at least 1.
    """
    steps = epochs * math.ceil(len(inputs) / _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(inputs)), _BATCH):
            loss = F.cross_entropy(model(jitter(inputs[batch])), targets[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


def count_correct(model: nn.Module, inputs: Tensor, targets: Tensor) -> int:
    """Return how many of ``inputs`` the model answers with their target."""
    with torch.no_grad():
        return int((model(inputs).argmax(dim=1) == targets).sum())


def remake(folder: Path = FILES, *, epochs: int = EPOCHS) -> dict[str, dict[str, int]]:
    """Write the data file, the weights and the accuracies of all four demos into ``folder``.

    Args:
        folder: Where to write; made if missing.
        epochs: Passes over the training images.

    Returns:
        What ``accuracy.json`` then holds: for each key, ``correct`` answers of a ``total`` held-out digits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    split_digits().write(folder)
    digits = Digits.read(folder)
    inputs, targets = digits.held_out_part()
    measured = {}
    for key, network in NETWORKS.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            model = network()
            train(model, *digits.training_part(), rate=RATES[key], epochs=epochs)
        (folder / f"{key}.safetensors").write_bytes(save(model.state_dict()))
        measured[key] = {"correct": count_correct(model, inputs, targets), "total": len(targets)}
        print(
            "{}: {correct}/{total} = {:.2%}".format(
                key, measured[key]["correct"] / len(targets), **measured[key]
            )
        )
    (folder / "accuracy.json").write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Remake the demos as the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m prunescope.sources.demos.train", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FILES, help="where to write (the package's own files)")
    parser.add_argument(
        "--epochs", type=int, default=EPOCHS, help="passes over the training images (%(default)s)"
    )
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    remake(asked.folder, epochs=asked.epochs)


if __name__ == "__main__":
    main()
