"""What an explorer must not leave behind: widgets, figures and their canvases, tasks of asyncio."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets.widgets.widget as registry
import pytest
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

REAL_RUN = asyncio.run


@contextmanager
def nothing_is_left(forget: Callable[[], object]) -> Iterator[None]:
    """Find no more widgets, figures and canvases at the end than there were, and no task running meanwhile.

    Args:
        forget: Called before figures are looked for; lets go of what the test itself refers to.
    """
    widgets, drawings = set(registry._instances), set(map(id, alive()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "run", lambda scene, **how: REAL_RUN(_watched(scene, widgets), **how))
        yield
    forget()
    assert [each for key, each in registry._instances.items() if key not in widgets] == [], "left open"
    if left(drawings):
        gc.collect()
    assert left(drawings) == [], "figures are still referred to"


def alive() -> list[Figure | FigureCanvasBase]:
    """Return every figure and canvas there is."""
    # By its type: `isinstance` asks a weak proxy for the class of what may be gone, which raises.
    return [each for each in gc.get_objects() if issubclass(type(each), (Figure, FigureCanvasBase))]


def left(before: set[int]) -> list[str]:
    """Return the classes of the figures and canvases there are but for those ``before``."""
    return [type(each).__name__ for each in alive() if id(each) not in before]


async def _watched(scene: Coroutine[Any, Any, Any], widgets: set[str]) -> Any:
    result = await scene
    await asyncio.sleep(0)  # What is closed gives its task up when the loop comes to it.
    if set(registry._instances) <= widgets:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert [task for task in others if not task.cancelling()] == [], "tasks go on, and all is closed"
    return result
