"""What holds for every test: which need a browser, and what they may fail once for."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell

# The tensors of tests are small: a second thread costs more than it does, here and in the kernels of servers.
os.environ.setdefault("OMP_NUM_THREADS", "1")

BROWSER_RERUNS = 1
"""How often a test in a real browser is run again when it fails; no other is. Each is reported by ``-rR``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser, so that no test can forget to."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.flaky(reruns=BROWSER_RERUNS))


def pytest_collection_finish() -> None:
    """Spare every later collection of garbage what the libraries hold; it is there until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_shell_stays() -> Iterator[None]:
    """End the shell that a widget may start: in one, errors are shown to a person and kept for a debugger."""
    yield
    InteractiveShell.clear_instance()
