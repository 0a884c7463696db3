"""The kernels: one for each visitor, and some that have run the notebook before their visitor comes."""

from collections.abc import Awaitable, Callable

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import IOLoop


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

    def _handle_kernel_died(self, kernel_id: str) -> None:
        IOLoop.current().add_callback(self._bury, kernel_id)

    async def _bury(self, kernel_id: str) -> None:
        await self.on_death(kernel_id)
        if kernel_id in self:
            await self.shutdown_kernel(kernel_id, now=True)  # type: ignore[no-untyped-call]
