"""The kernels: one for each visitor, and some that have run the notebook before their visitor comes."""

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
"""How long a page that has just been asked for has the processor to itself, if nobody else comes."""


KERNEL_OPTIONS = ["--HistoryManager.enabled=False"]
"""Nobody can read what was run, and writing it down fails where the disk is full."""


class ThisPython(KernelSpecManager):
    """Knows one kernel, ``python3``: the Python that runs this server.

    Jupyter's own manager may prefer a ``python3`` of the user's home directory, which has other packages.
    """

    def _kernel_dirs_default(self) -> list[str]:
        return []


class Kernels(AsyncMappingKernelManager):
    """Jupyter's kernels, that say when one has died, each with a folder for uploads that goes with it.

    Attributes:
        on_death: Called with the id of a kernel that nobody ended.
    """

    on_death: Callable[[str], Awaitable[None]]

    def __init__(self, **words: Any) -> None:
        super().__init__(**words)  # type: ignore[no-untyped-call]
        self._uploads: dict[str, str] = {}
        self._waiting = 0
        self._somebody_waits = asyncio.Event()

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Have no kernel hold back, while a visitor has none yet."""
        self._waiting += 1
        self._somebody_waits.set()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._somebody_waits.clear()

    async def start_kernel(self, **words: Any) -> str:  # type: ignore[override]
        """Start a kernel, and keep from it what lets this server speak for its user."""
        env = {name: value for name, value in words.pop("env", {}).items() if not name.startswith(SECRET)}
        env.pop(ENV_VARIABLE.VOILA_REQUEST_URL, None)  # A kernel made ready would have the last visitor's.
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
        """Have no visitor given a kernel that was made ready and has died, or has never come up."""
        pool = getattr(self, "_pools", {}).get(getattr(self, "notebook_path", None), [])
        if pool:  # The first is what the visitor will be given, who would wait for it anyway.
            with self.awaited():
                await asyncio.wait(pool[:1])
        for coming in tuple(pool):
            if coming.done() and (coming.exception() or not await self._lives(coming.result()["kernel_id"])):
                pool.remove(coming)

    async def _lives(self, kernel_id: str) -> bool:
        return kernel_id in self and await ensure_async(self.get_kernel(kernel_id).is_alive())

    def make_ready(self) -> None:
        """Make kernels ready for the next visitors, as many as are missing."""
        server: Any = self.parent
        if server.options.ready:
            self.fill_if_needed(notebook_name=self.notebook_path)  # type: ignore[attr-defined]

    async def _let_page_load(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._somebody_waits.wait(), LOADING_S)

    def remove_kernel(self, kernel_id: str) -> KernelManager:
        """Forget a kernel that has ended, however it did, and remove what was uploaded to it."""
        shutil.rmtree(self._uploads.pop(kernel_id, ""), ignore_errors=True)
        return super().remove_kernel(kernel_id)

    async def shutdown_all(self, now: bool = False) -> None:  # type: ignore[override]
        """End every kernel, those included that are just starting; Jupyter takes exception to them."""
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
