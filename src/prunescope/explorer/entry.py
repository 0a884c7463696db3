"""The two ways in: `explore` for a notebook, `dashboard` for the page that is served."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from prunescope.errors import RequestError
from prunescope.explorer.catalogue import Catalogue, Entry
from prunescope.explorer.explorer import Explorer
from prunescope.sources import demo_source, module_source
from prunescope.sources.demos import DEMOS


def explore(model: nn.Module | None = None, *, data: Any = None, **spec: Any) -> Explorer:
    """Return an explorer of ``model``, or of the shipped demos; in a notebook it shows itself.

    Args:
        model: Any module; read, never written. None opens the demos.
        data: Held-out ``(inputs, targets)`` for live accuracy: tensors of N examples each, ``targets`` of
            shape ``(N,)`` holding class indices.
        **spec: Where to start: ``layer``, ``method``, ``amount``, ``n``, ``dim``, ``seed``.

    Raises:
        TypeError: An unknown keyword.
        RequestError: The model has nothing to prune, has lazy parameters, or a value cannot be met.

    Example:
        >>> explorer = explore(nn.Conv2d(3, 8, 5), method="ln_structured", amount=2, n=1)
        >>> explorer.preview.unit_name
        'output channels'
        >>> explorer.close()
    """
    if model is None:
        if data is not None:
            raise RequestError("data", "`data` goes with a model of your own: pass `model` too.")
        demos = {key: Entry(demo.title, partial(demo_source, key)) for key, demo in DEMOS.items()}
        return Explorer(Catalogue(demos), **spec)
    source = module_source(model, data)
    return Explorer(Catalogue({source.title: Entry(source.title, lambda: source)}), **spec)


def dashboard() -> Explorer:
    """Return what ``prunescope`` serves: the demos, opened at a pruned layer of a trained network."""
    return explore(method="ln_structured", amount=0.3)
