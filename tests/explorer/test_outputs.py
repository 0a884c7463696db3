"""How long an explorer lives: while an output shows it, or code refers to it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any

import ipywidgets as widgets
import ipywidgets.widgets.widget as registry
import pytest
from jupyter_client.manager import KernelManager
from torch import nn

from prunescope import explore
from prunescope.explorer.closing import close_tree

SET_UP = """
import gc
import ipywidgets, ipywidgets.widgets.widget as registry
from IPython.display import display
from torch import nn
from prunescope import Explorer, explore

net = nn.Linear(4, 3)

def explorers():
    return sum(isinstance(each, Explorer) for each in registry._instances.values())
"""


class Notebook:
    """A kernel, and a front end that says which of its cells it has run."""

    def __init__(self, kernel: KernelManager) -> None:
        self.client = kernel.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def run(self, cell: str | None, code: str) -> None:
        """Run ``code`` as what stands in ``cell``."""
        self._ask(cell, code)

    def value(self, expression: str) -> str:
        """Return how the kernel writes ``expression``."""
        reply = self._ask(None, "", value=expression)
        return str(reply["user_expressions"]["value"]["data"]["text/plain"])

    def _ask(self, cell: str | None, code: str, **expressions: str) -> dict[str, Any]:
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": expressions}
        metadata = {} if cell is None else {"cellId": cell}
        asked = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(asked)
        while (reply := self.client.get_shell_msg(timeout=120))["parent_header"]["msg_id"] != (
            asked["header"]["msg_id"]
        ):
            pass
        assert reply["content"]["status"] == "ok", reply["content"]
        return dict(reply["content"])


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    kernel = KernelManager(kernel_name="python3")
    if sys.platform != "win32":
        kernel.transport = "ipc"
    kernel.start_kernel(extra_arguments=["--HistoryManager.enabled=False"])
    try:
        notebook = Notebook(kernel)
        notebook.run(None, SET_UP)
        yield notebook
        notebook.client.stop_channels()
    finally:
        kernel.shutdown_kernel(now=True)


@pytest.fixture
def there_are(notebook: Notebook) -> Any:
    """Return how many explorers there are more than at the beginning of the test."""
    before = int(notebook.value("explorers()"))
    return lambda: int(notebook.value("explorers()")) - before


pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "code", ["explorer = explore(net)\nexplorer", "explore(net)", "display(explore(net))"]
)
def test_running_the_cell_again_closes_what_it_showed(code: str, notebook: Notebook, there_are: Any) -> None:
    notebook.run(code, code)
    widgets = notebook.value("len(registry._instances)")
    for _ in range(3):
        notebook.run(code, code)
    assert there_are() == 1
    assert notebook.value("len(registry._instances)") == widgets


def test_what_one_run_shows_is_all_kept(notebook: Notebook, there_are: Any) -> None:
    for _ in range(2):
        notebook.run("several", "for n in range(3): display(explore(net))")
        assert there_are() == 3
    notebook.run("several", "pass")
    assert there_are() == 0


def test_what_has_another_name_lives_on(notebook: Notebook, there_are: Any) -> None:
    notebook.run("named", "explorer = kept = explore(net, amount=3)\nexplorer")
    notebook.run("named", "explorer = explore(net)\nexplorer")
    assert there_are() == 2
    notebook.run(None, "kept.amount = 5")
    assert notebook.value("kept.screen.controls.count_slider.value") == "5"
    notebook.run("shows it again", "kept")
    notebook.run(None, "del kept")
    assert there_are() == 2
    notebook.run("shows it again", "1")
    assert there_are() == 1


def test_what_another_cell_shows_lives_on(notebook: Notebook, there_are: Any) -> None:
    notebook.run("makes", "explorer = explore(net)\nexplorer")
    notebook.run("shows", "explorer")
    notebook.run("makes", "explorer = explore(net)\nexplorer")
    assert there_are() == 2
    notebook.run("shows", "explorer")
    assert there_are() == 1


def test_a_front_end_that_does_not_name_its_cells_keeps_all(notebook: Notebook, there_are: Any) -> None:
    for n in range(1, 3):
        notebook.run(None, "display(explore(net))")
        assert there_are() == n


def test_results_that_ipython_counts_are_as_ever(notebook: Notebook) -> None:
    held = "sum(isinstance(each, Explorer) for each in Out.values())"
    notebook.run("result", "explore(net)")
    before = notebook.value(held)
    notebook.run("result", "explore(net)")
    notebook.run("other", "6 * 7")
    assert notebook.value("(_, isinstance(__, Explorer))") == "(42, True)"
    assert notebook.value(held) == before


def test_what_nobody_refers_to_is_closed() -> None:
    before = set(registry._instances)
    explore(nn.Linear(4, 3))
    explorer = explore(nn.Linear(4, 3))
    explorer = explore(nn.Linear(4, 3), amount=2)
    assert sum(isinstance(each, type(explorer)) for each in registry._instances.values()) == 1
    assert explorer.screen.controls.count_slider.value == 2
    del explorer
    gc.collect()
    assert set(registry._instances) == before


def test_a_box_keeps_what_it_holds() -> None:
    box = widgets.VBox([explore(nn.Linear(4, 3), amount=2)])
    gc.collect()
    box.children[0].amount = 3
    assert box.children[0].screen.controls.count_slider.value == 3
    close_tree(box)


def test_the_page_may_say_something_to_an_explorer() -> None:
    explorer = explore(nn.Linear(4, 3))
    told = {"method": "update", "state": {"_dom_classes": ["wide"]}, "buffer_paths": []}
    explorer.comm.handle_msg({"content": {"data": told}, "buffers": []})
    assert explorer._dom_classes == ("wide",)
    explorer.close()


def test_what_is_closed_is_not_kept_by_an_output(notebook: Notebook) -> None:
    for cell in (None, "closed"):
        notebook.run(cell, "shown = explore(net)\ndisplay(shown)\nimport weakref; gone = weakref.ref(shown)")
        notebook.run(None, "shown.close(); del shown; gc.collect()")
        assert notebook.value("gone() is None") == "True"
