"""A kernel on a busy machine is late with what it shows; its page waits for it."""

import urllib.request
from pathlib import Path

import pytest

from tests.support.hosts import notebook, served, stand_in_command

LATE = """
import sys, time
from IPython import get_ipython
sys.stdout.flush_timeout = sys.stderr.flush_timeout = 0.1  # Its reply is not late.
get_ipython().kernel.iopub_thread.schedule(lambda: time.sleep(6))
"it has come " + "after all"
"""


@pytest.mark.slow
def test_a_page_waits_for_output_that_is_late(tmp_path: Path) -> None:
    with served(stand_in_command(notebook(tmp_path / "page.ipynb", [LATE])), tmp_path) as server:
        assert "it has come after all" in urllib.request.urlopen(server.url, timeout=120).read().decode()
        assert "Timeout" not in server.log.read_text()
