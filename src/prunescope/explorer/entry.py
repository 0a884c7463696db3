"""The entry points: `explore` for a notebook, `dashboard` for the served page."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from prunescope.core.environment import MAX_UPLOAD_VARIABLE, TRAINING_VARIABLE, UPLOADS_VARIABLE
from prunescope.core.errors import RequestError
from prunescope.explorer.explorer import Explorer
from prunescope.explorer.state.catalogue import Catalogue, Entry
from prunescope.prune import Norm
from prunescope.sources import (
    MODELS_VARIABLE,
    OPEN_VARIABLE,
    checkpoint_source,
    demo_source,
    module_source,
    offered,
)
from prunescope.sources.demos import DEMOS


def explore(
    model: nn.Module | Path | str | None = None,
    *,
    data: Any = None,
    classes: Sequence[str] | None = None,
    evaluate: Callable[[nn.Module], object] | None = None,
    example: Any = None,
    max_examples: int | None = None,
    loss: Callable[[Any, Tensor], Tensor] | None = None,
    metric: Callable[[Any, Tensor], object] | None = None,
    train: Any = None,
    importance_scores: Any = None,
    layer: str | None = None,
    method: str | None = None,
    amount: int | float | None = None,
    n: Norm | None = None,
    dim: int | tuple[int, ...] | None = None,
    group: int | None = None,
    seed: int | None = None,
    criterion: str | None = None,
    keep_channels: Iterable[int] | str | None = None,
    prune_channels: Iterable[int] | str | None = None,
    hide: Iterable[str] = (),
    lock: Iterable[str] = (),
) -> Explorer:
    """Open ``model``, or the demo networks, in an explorer; in a notebook it displays itself.

    Args:
        model: Any module; or the path of a checkpoint: a ``.safetensors``, ``.pt``, ``.pth``, ``.bin``,
            ``.ckpt`` or ``.pth.tar`` file, or a folder as model hubs lay it out. Read, never written; no code
            in a file is run. None opens the demos.
        data: Held-out ``(inputs, targets)`` for live accuracy: tensors of N examples each, ``targets`` of
            shape ``(N,)`` holding class indices, used whole. Or NumPy arrays, a dict of tensors with
            ``"labels"``, a `DataLoader`, a `Dataset`, or an iterable of batches. Never trained on.
        classes: Names of the classes, by index; None shows indices.
        evaluate: Your own metric in place of ``data``: a function that takes the model and returns a
            number, or a dict of numbers by name. It is called in its own thread with a
            copy of the model in eval mode, pruned weights zero, and not again before it returns.
        example: Without ``data``, an input for the model: a tensor of at least one example, or a tuple of
            tensors. FLOPs and the residual output of pruned channels are measured on it.
        max_examples: How many examples to read from a loader, a dataset or batches, once and when needed;
            None means 256.
        loss: For ``data`` other than classification, for training, and for criteria that take gradients: a
            function of the model's output and the targets, such as ``torch.nn.functional.mse_loss``; None is
            the cross-entropy, mean over the batch.
        metric: For ``data`` other than classification, not trained for: returns a number, or a dict of
            numbers by name.
        train: Training data for fine-tuning a pruned copy of the model, in any form ``data`` may have.
        importance_scores: Your own scores, which set ``criterion="given"``: a tensor for the first layer, a
            dict by full name, or a function of ``(module, name)`` that returns one, or None for parameters it
            does not cover.
        layer: Full name of the parameter to start with; ``"fc"`` means its weight.
        method: Pruning method, by torch's function name, such as ``"ln_structured"``.
        amount: How much to prune: a float in [0, 1] is a fraction, an int a count.
        n: Order of the norm, for structured methods: a number, ``inf``, ``-inf``, ``"fro"`` or ``"nuc"``.
        dim: Channel axis; or the axis, or tuple of axes, that groups run along.
        group: Elements of a group, for ``grouped_unstructured``; None: all along ``dim``.
        seed: Seed of the random methods.
        criterion: Importance criterion; see `prunescope.core.criteria`.
        keep_channels: Channels to keep by hand: whole numbers, or text like ``"3, 7-9"``.
        prune_channels: Channels to prune whole by hand, likewise.
        hide: Controls to hide, such as ``("seed", "n")``; ``"steps"``, ``"view"``, ``"compare"``,
            ``"effect"``, ``"costs"`` and ``"export"`` can be hidden as well.
        lock: Controls to show but disable.

    Raises:
        RequestError: A file cannot be read or trusted, the model has nothing to prune, has lazy parameters,
            both ``data`` and ``evaluate`` are given, or a value is not possible.

    Example:
        >>> explorer = explore(nn.Conv2d(3, 8, 5), method="ln_structured", amount=2, n=1)
        >>> explorer.preview.unit_name
        'output channels'
        >>> explorer.close()
    """
    asked = {
        "data": data, "classes": classes, "evaluate": evaluate, "example": example,
        "max_examples": max_examples, "loss": loss, "metric": metric, "train": train,
        "importance_scores": importance_scores,
    }  # fmt: skip
    start = {
        "layer": layer, "method": method, "amount": amount, "n": n, "dim": dim, "group": group, "seed": seed,
        "criterion": criterion, "keep_channels": keep_channels, "prune_channels": prune_channels,
    }  # fmt: skip
    measures = {name: value for name, value in asked.items() if value is not None}
    spec = {name: value for name, value in start.items() if value is not None}
    given = list(measures)
    if model is None:
        if given:
            raise RequestError(given[0], f"`{given[0]}` needs your own model: pass `model` too.")
        return Explorer(Catalogue(_demos()), hide=hide, lock=lock, **spec)
    if given and isinstance(model, str | Path):
        raise RequestError(
            given[0], f"`{given[0]}` needs a module: a checkpoint only has weights and cannot be run."
        )
    source = checkpoint_source(model) if isinstance(model, str | Path) else module_source(model, **measures)
    if importance_scores is not None:
        spec = {"criterion": "given", **spec}
    return Explorer(
        Catalogue({source.title: Entry(source.title, lambda: source)}), hide=hide, lock=lock, **spec
    )


def _demos() -> dict[str, Entry]:
    return {key: Entry(demo.title, partial(demo_source, key)) for key, demo in DEMOS.items()}


def dashboard() -> Explorer:
    """Return the explorer that ``prunescope`` serves, opened at a pruned layer or at the state of the link.

    It shows the checkpoint at `OPEN_VARIABLE`, or else the demos, and lists the checkpoints in the folder
    `MODELS_VARIABLE`. From then on the page's address carries the state.
    """
    return _visited(_served())


async def dashboard_when_visited() -> Explorer:
    """Return `dashboard`'s explorer; a kernel started in advance waits for its visitor first.

    The event loop runs meanwhile, so that accuracy and costs of the first picture are known by then.
    """
    explorer = _served()
    if os.environ.get("VOILA_PREHEAT", "False") != "False":
        from voila.utils import wait_for_request

        await asyncio.to_thread(wait_for_request)
    return _visited(explorer)


def _visited(explorer: Explorer) -> Explorer:
    query = os.environ.get("QUERY_STRING", "")
    if query:
        explorer.open_link(query)
    explorer.screen.carry_state_in_address()
    return explorer


def _served() -> Explorer:
    path, folder = os.environ.get(OPEN_VARIABLE), os.environ.get(MODELS_VARIABLE)
    first = _demos()
    if path:  # Its key goes into links, which should not reveal where the file lies.
        name = Path(path).name or Path(path).resolve().name
        first = {name: Entry(name, partial(checkpoint_source, path))}
    models = {**first, **(_offered(Path(folder), besides=path) if folder else {})}
    explorer = Explorer(Catalogue(models), method="ln_structured", amount=0.3)
    explorer.state.tasks.training_limit = float(os.environ.get(TRAINING_VARIABLE, "0"))
    uploads, limit = os.environ.get(UPLOADS_VARIABLE), int(os.environ.get(MAX_UPLOAD_VARIABLE, "0"))
    if uploads and limit:
        explorer.screen.let_upload(Path(uploads), limit)
    return explorer


def _offered(folder: Path, besides: str | None) -> dict[str, Entry]:
    """Return an entry for each checkpoint in ``folder`` except ``besides``; links out of it are skipped."""
    return {
        f"models/{path.name}": Entry(path.name, partial(checkpoint_source, path, within=folder))
        for path in offered(folder)
        if not (besides and path.samefile(besides))
    }
