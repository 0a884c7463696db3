"""The private attributes of libraries that we rely on: a new version that lacks one fails here, by its name.

Each is why pyproject.toml gives the library an upper bound, and what would break stands beside it.
"""

from __future__ import annotations

import inspect

import comm
import ipywidgets.widgets.widget as registry
import pytest
from ipympl.backend_nbagg import Canvas
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell
from ipywidgets import VBox
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from matplotlib.backend_bases import FigureCanvasBase
from torch.utils._python_dispatch import TorchDispatchMode
from voila.app import Voila
from voila.voila_kernel_manager import voila_kernel_manager_factory

from prunescope.serving.kernels import Kernels


@pytest.mark.parametrize(
    ("name", "breaks"),
    [
        ("_handle_message", "what a page's pointer does over a picture"),
        ("_png_is_old", "a picture is sent again though it has not changed, or not at all"),
    ],
)
def test_ipympl(name: str, breaks: str) -> None:
    assert hasattr(Canvas, name), breaks


def test_matplotlib() -> None:
    assert hasattr(FigureCanvasBase, "_set_device_pixel_ratio"), "coarse steps while an amount changes"


def test_ipywidgets() -> None:
    assert hasattr(VBox, "_repr_mimebundle_"), "an explorer as the last line of a cell"
    for name in ("_comm_changed", "_handle_msg"):
        assert hasattr(VBox, name), "an explorer that nobody refers to closes itself"
    assert isinstance(registry._instances, dict), "the same"


def test_ipython() -> None:
    code = InteractiveShell.init_user_ns.__code__
    assert {"_oh", "user_ns_hidden"} <= {*code.co_consts, *code.co_names}, "a cell that is run again lets go"
    assert "___" in DisplayHook.update_user_ns.__code__.co_names, "the same"
    assert hasattr(InteractiveShell, "last_execution_result"), "the same"


@pytest.mark.parametrize(
    ("name", "breaks"),
    [
        ("_open_sockets", "Jupyter's count of the lines to a kernel"),
        ("subprotocol", "a closed line takes messages in Jupyter's older form"),
    ],
)
def test_jupyter_server_line(name: str, breaks: str) -> None:
    assert hasattr(ZMQChannelsWebsocketConnection, name), breaks


@pytest.mark.parametrize(
    ("name", "breaks"),
    [
        ("_handle_kernel_died", "pages are not told that their kernel has died"),
        ("notify_connect", "Jupyter's count of the lines to a kernel"),
    ],
)
def test_jupyter_server_kernels(name: str, breaks: str) -> None:
    assert hasattr(AsyncMappingKernelManager, name), breaks


def test_jupyter_client() -> None:
    assert hasattr(AsyncMappingKernelManager, "_pending_kernels"), "the end of kernels that just start"
    assert "kernel_dirs" in KernelSpecManager.class_trait_names(), "another python3 of the user's is started"


def test_torch() -> None:
    assert hasattr(TorchDispatchMode, "__torch_dispatch__"), "to stop waits for a batch to end"


def test_ipykernel(monkeypatch: pytest.MonkeyPatch) -> None:
    # Once imported, it makes every widget's line to its page, and that is silent without a kernel.
    for name in ("create_comm", "get_comm_manager"):
        monkeypatch.setattr(comm, name, getattr(comm, name))
    from ipykernel.kernelapp import IPKernelApp

    assert hasattr(IPKernelApp, "log_connection_info"), "kernels print their whole id, and how to reach them"


def test_voila() -> None:
    pooled = voila_kernel_manager_factory(Kernels, preheat_kernel=True, default_pool_size=0)
    kept = pooled.fill_if_needed.__code__.co_names  # Each manager has its own, which only a server can make.
    assert "_pools" in kept, "a kernel that died while it was made ready is given to a visitor"
    assert "notebook_name" in inspect.signature(pooled.fill_if_needed).parameters, "kernels made ready"
    for name in ("init_settings", "init_handlers", "setup_template_dirs", "connection_dir_root"):
        assert hasattr(Voila, name), f"the server's own {name}"
