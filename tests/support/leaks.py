"""What an explorer must not leave behind: widgets, figures and their canvases, tasks of asyncio."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets.widgets.widget as registry
import pytest
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

REAL_RUN = asyncio.run


@contextmanager
def nothing_is_left(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Find no more widgets, figures and canvases alive at the end than there were, and no task running."""
    widgets, drawings = set(registry._instances), alive()
    patch.setattr(asyncio, "run", run)
    yield
    left = {key: widget for key, widget in registry._instances.items() if key not in widgets}
    assert left == {}, "widgets are left open"
    assert drawings_since(drawings) == [], "figures are kept"


def alive() -> set[int]:
    """Return what identifies each figure and canvas there is."""
    return {id(each) for each in gc.get_objects() if isinstance(each, Figure | FigureCanvasBase)}


def drawings_since(before: set[int]) -> list[str]:
    """Return the figures and canvases, by their class, that are still referred to and were not ``before``."""
    if alive() <= before:
        return []
    gc.collect()
    drawings = (each for each in gc.get_objects() if isinstance(each, Figure | FigureCanvasBase))
    return sorted(type(each).__name__ for each in drawings if id(each) not in before)


def run(scene: Coroutine[Any, Any, Any], **how: Any) -> Any:
    """Run ``scene`` as ``asyncio.run`` does, and find every task that it began done or given up."""

    async def whole() -> Any:
        result = await scene
        await asyncio.sleep(0)  # What is closed gives its task up when the loop comes to it.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert [task for task in left if not task.cancelling()] == [], "tasks are left running"
        return result

    return REAL_RUN(whole(), **how)
