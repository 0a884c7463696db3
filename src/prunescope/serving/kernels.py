"""The kernels: one for each visitor, and some that have run the notebook before their visitor comes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import IOLoop

SECRET = "JUPYTERHUB_"


class ThisPython(KernelSpecManager):
    """Knows one kernel, ``python3``: the Python that runs this server.

    Jupyter's own manager may prefer a ``python3`` of the user's home directory, which has other packages.
    """

    def _kernel_dirs_default(self) -> list[str]:
        return []


class Kernels(AsyncMappingKernelManager):
    """Jupyter's kernels, that say when one has died.

    Attributes:
        on_death: Called with the id of a kernel that nobody ended.
    """

    on_death: Callable[[str], Awaitable[None]]

    async def start_kernel(self, **words: Any) -> str:  # type: ignore[override]
        """Start a kernel, and keep from it what lets this server speak for its user."""
        env = {name: value for name, value in words.pop("env", {}).items() if not name.startswith(SECRET)}
        return await super().start_kernel(env=env, **words)

    async def shutdown_all(self, now: bool = False) -> None:  # type: ignore[override]
        """End every kernel, those included that are just starting; Jupyter takes exception to them."""
        await asyncio.gather(*self._pending_kernels.values(), return_exceptions=True)
        await super().shutdown_all(now=now)

    def _handle_kernel_died(self, kernel_id: str) -> None:
        IOLoop.current().add_callback(self._bury, kernel_id)

    async def _bury(self, kernel_id: str) -> None:
        await self.on_death(kernel_id)
        if kernel_id in self:
            await self.shutdown_kernel(kernel_id, now=True)  # type: ignore[no-untyped-call]
