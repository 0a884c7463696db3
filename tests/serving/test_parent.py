"""The parent of forked kernels: it may die, and its kernels go before it does when memory runs out."""

import asyncio
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from prunescope.serving.forked import WarmParent, can_fork
from tests.support.hosts import Server, lives, notebook, served, stand_in_command, wait_for
from tests.support.visitor import Visitor

pytestmark = pytest.mark.slow

forks = pytest.mark.skipif(not can_fork(), reason="kernels are forked on Linux only")

SLIDER = "import ipywidgets\nipywidgets.IntSlider()"
STUCK = {
    "waits": "import time; time.sleep(1000)",
    # The interpreter's lock is held, so that no other thread and no signal's handler has its turn.
    "computes": "import re; re.match('(a+)+$', 40 * 'a' + 'b')",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    page = notebook(tmp_path / "page.ipynb", [SLIDER])
    with served(stand_in_command(page, ready=1), tmp_path) as it:
        yield it


def parents(server: Server) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(server.process.pid).children()
        if "prunescope.serving.warm" in child.cmdline()
    ]


async def visit(url: str) -> None:
    """Come, move the slider, and leave."""
    visitor = await Visitor.come(url)
    slider = visitor.find("IntSliderModel")
    await visitor.until_idle(visitor.update(slider, value=7))
    assert (await visitor.states())[slider]["value"] == 7
    await visitor.go()


@forks
def test_visitors_are_served_after_the_parents_death(server: Server) -> None:
    asyncio.run(visit(server.url))
    (parent,) = parents(server)
    while not (ready := server.kernels()):
        pass
    parent.kill()
    while any(map(lives, [parent, *ready])):
        pass
    asyncio.run(visit(server.url))
    (another,) = parents(server)
    assert another.pid != parent.pid
    assert "the parent of the kernels has ended, and is started again" in server.log.read_text()
    asyncio.run(visit(server.url))  # Whether or not a kernel is ready again.
    assert parents(server) == [another]


@forks
def test_the_parents_death_is_made_good_while_a_kernel_is_asked_for(tmp_path: Path) -> None:
    warm = WarmParent(["json"], str(tmp_path))
    try:
        warm._process.send_signal(signal.SIGSTOP)  # It is killed when it has been asked.
        first = warm._process
        asked = threading.Timer(0.2, first.kill)
        asked.start()
        pid = warm.fork(["-f", str(tmp_path / "none.json")], {}, str(tmp_path))
        assert psutil.Process(pid).ppid() == warm._process.pid != first.pid
    finally:
        warm.end()
    with pytest.raises(RuntimeError, match="no kernel can be started"):
        warm.fork([], {}, str(tmp_path))


@forks
def test_a_kernel_goes_before_its_parent_when_memory_runs_out(tmp_path: Path) -> None:
    def score(process: psutil.Process | int) -> int:
        return int(Path(f"/proc/{getattr(process, 'pid', process)}/oom_score_adj").read_text())

    async def scores() -> list[int]:
        visitor = await Visitor.come(server.url)
        found = [score(kernel) for kernel in server.kernels()]
        await visitor.go()
        return found

    # None is made ready meanwhile: a fork begins with its parent's score.
    with served(stand_in_command(notebook(tmp_path / "page.ipynb", [SLIDER])), tmp_path) as server:
        assert asyncio.run(scores()) == [500]
        (parent,) = parents(server)
        assert score(parent) == score(server.process.pid)


@forks
def test_a_server_that_is_killed_leaves_no_kernel_and_no_upload(tmp_path: Path) -> None:
    server = Server(stand_in_command(notebook(tmp_path / "page.ipynb", [SLIDER])), tmp_path)
    with urllib.request.urlopen(server.url, timeout=60) as answer:
        assert b"kernelId" in answer.read()
    ((kernel,), (parent,)) = server.kernels(), parents(server)
    (uploads,) = Path(kernel.cwd()).parent.glob("voila_*/uploads-*")
    (uploads / "sent").write_bytes(bytes(1000))
    server.process.kill()
    server.close()
    wait_for(lambda: not (lives(parent) or lives(kernel)))
    assert not uploads.parents[1].exists()


@pytest.mark.parametrize("fork", [pytest.param(True, marks=forks), False])
@pytest.mark.parametrize("stuck", STUCK)
def test_a_stuck_kernel_does_not_outlive_its_server(stuck: str, fork: bool, tmp_path: Path) -> None:
    cells = ["open('stuck', 'w').close()", STUCK[stuck]]
    command = stand_in_command(notebook(tmp_path / "page.ipynb", cells))
    if not fork:
        no = "import prunescope.serving.app as a;"
        command[2] = f"{no} a.can_fork = lambda: False; {command[2]}"
    with (
        served(command, tmp_path) as server,
        suppress(OSError),
        urllib.request.urlopen(server.url, timeout=60) as answer,
    ):
        page = b""
        while b"kernelId" not in page:
            page += answer.read1()
        (kernel,) = server.kernels()
        while not Path(kernel.cwd(), "stuck").exists():
            assert lives(kernel)
        assert server.stop() == 0
        assert server.process.stdout.read() == ""  # A kernel started by hand says there how to reach it.
    assert not lives(kernel)
