"""Kernels made ready leave the processor to a page that loads, unless a visitor waits for one."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from prunescope.serving import kernels
from prunescope.serving.kernels import Kernels

PREHEATED = {"VOILA_PREHEAT": "True"}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The kernels that were started, of which none really is; one is there."""
    started: list[str] = []

    async def start(self: Kernels, **words: Any) -> str:
        started.append("another")
        return "another"

    monkeypatch.setattr(AsyncMappingKernelManager, "start_kernel", start)
    monkeypatch.setattr(Kernels, "__len__", lambda self: 1)
    monkeypatch.chdir(tmp_path)  # Where they keep what is uploaded.
    return started


async def waits(those: Kernels, task: "asyncio.Task[str]") -> bool:
    """Return whether a kernel that is asked for now is started before the one of ``task``."""
    await asyncio.ensure_future(those.start_kernel(env={}))
    return not task.done()


def test_a_page_loads_before_the_next_kernel_is_made_ready(started: list[str], monkeypatch) -> None:
    async def scene() -> None:
        those = Kernels()
        task = asyncio.ensure_future(those.start_kernel(env=PREHEATED))
        assert await waits(those, task)
        await task
        assert started == ["another", "another"]

    monkeypatch.setattr(kernels, "LOADING_S", 0.01)
    asyncio.run(scene())


def test_a_visitor_who_waits_is_not_kept_waiting(started: list[str], monkeypatch) -> None:
    async def scene() -> None:
        those = Kernels()
        early = asyncio.ensure_future(those.start_kernel(env=PREHEATED))
        assert await waits(those, early)
        with those.awaited():
            with those.awaited():
                await early
            await those.start_kernel(env=PREHEATED)
        later = asyncio.ensure_future(those.start_kernel(env=PREHEATED))
        assert await waits(those, later)
        assert len(started) == 4
        later.cancel()

    monkeypatch.setattr(kernels, "LOADING_S", 1000)
    asyncio.run(scene())


def test_one_that_dies_while_it_is_made_ready_is_nobodys(started: list[str], monkeypatch) -> None:
    async def scene() -> None:
        those: Any = Kernels()

        async def make_ready() -> dict[str, str]:
            return {"kernel_id": await those.start_kernel(env=PREHEATED)}

        those.notebook_path = "page"
        those._pools = {"page": [asyncio.ensure_future(make_ready())]}
        await those.forget_dead()
        assert started == ["another"]
        assert those._pools == {"page": []}

    monkeypatch.setattr(kernels, "LOADING_S", 1000)
    asyncio.run(scene())
