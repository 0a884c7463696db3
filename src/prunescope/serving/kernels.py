"""The kernels: one per visitor, and some that have already run the notebook for the next visitors."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_async
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import IOLoop
from voila.utils import ENV_VARIABLE

from prunescope.core.environment import UPLOADS_VARIABLE
from prunescope.serving.forked import SECRET

LOADING_S = 3.0
"""Seconds that a requested page has to load before the next kernel is started in advance."""


KERNEL_OPTIONS = ["--HistoryManager.enabled=False"]
"""No history: nobody can read it, and writing it fails if the disk is full."""


class ThisPython(KernelSpecManager):
    """Offer a single kernel, ``python3``: the Python that runs this server.

    Jupyter's own manager may prefer a ``python3`` in the user's home directory, with other packages.
    """

    def _kernel_dirs_default(self) -> list[str]:
        return []


class Kernels(AsyncMappingKernelManager):
    """Jupyter's kernels, each with a folder for uploads, and with a callback when one dies.

    Attributes:
        on_death: Called with the id of a kernel that died by itself.
    """

    on_death: Callable[[str], Awaitable[None]]

    def __init__(self, **words: Any) -> None:
        super().__init__(**words)  # type: ignore[no-untyped-call]
        self._uploads: dict[str, str] = {}
        self._waiting = 0
        self._somebody_waits = asyncio.Event()

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Start kernels without delay within the block, while a visitor waits for one."""
        self._waiting += 1
        self._somebody_waits.set()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._somebody_waits.clear()

    async def start_kernel(self, **words: Any) -> str:  # type: ignore[override]
        """Start a kernel, without the hub's credentials in its environment."""
        env = {name: value for name, value in words.pop("env", {}).items() if not name.startswith(SECRET)}
        env.pop(ENV_VARIABLE.VOILA_REQUEST_URL, None)  # A pre-started kernel would get the last visitor's.
        if env.get(ENV_VARIABLE.VOILA_PREHEAT) == "True" and len(self):
            await self._let_page_load()
        uploads = tempfile.mkdtemp(prefix="uploads-", dir=self.connection_dir)
        try:
            env[UPLOADS_VARIABLE] = uploads
            kernel_id: str = await super().start_kernel(env=env, extra_arguments=KERNEL_OPTIONS, **words)
        except BaseException:
            os.rmdir(uploads)
            raise
        self._uploads[kernel_id] = uploads
        return kernel_id

    async def forget_dead(self) -> None:
        """Drop pre-started kernels that have died or failed to start, so that no visitor gets one."""
        pool = getattr(self, "_pools", {}).get(getattr(self, "notebook_path", None), [])
        if pool:  # The visitor gets the first, and would wait for it anyway.
            with self.awaited():
                await asyncio.wait(pool[:1])
        for coming in tuple(pool):
            if coming.done() and (coming.exception() or not await self._lives(coming.result()["kernel_id"])):
                pool.remove(coming)

    async def _lives(self, kernel_id: str) -> bool:
        return kernel_id in self and await ensure_async(self.get_kernel(kernel_id).is_alive())

    def make_ready(self) -> None:
        """Start the missing kernels for the next visitors."""
        server: Any = self.parent
        if server.options.ready:
            self.fill_if_needed(notebook_name=self.notebook_path)  # type: ignore[attr-defined]

    async def _let_page_load(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._somebody_waits.wait(), LOADING_S)

    def remove_kernel(self, kernel_id: str) -> KernelManager:
        """Forget a kernel that has ended, for whatever reason, and remove its uploads."""
        shutil.rmtree(self._uploads.pop(kernel_id, ""), ignore_errors=True)
        return super().remove_kernel(kernel_id)

    async def shutdown_all(self, now: bool = False) -> None:  # type: ignore[override]
        """End every kernel, including those that are just starting, for which Jupyter would raise."""
        self._somebody_waits.set()
        await asyncio.gather(*self._pending_kernels.values(), return_exceptions=True)
        self._pending_kernels.clear()
        await super().shutdown_all(now=now)

    def _handle_kernel_died(self, kernel_id: str) -> None:
        IOLoop.current().add_callback(self._bury, kernel_id)

    async def _bury(self, kernel_id: str) -> None:
        await self.on_death(kernel_id)
        if kernel_id in self:
            await self.shutdown_kernel(kernel_id, now=True)  # type: ignore[no-untyped-call]
