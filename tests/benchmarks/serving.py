"""What serving costs: the way to the page beside a hello-world page's, and what many sessions take.

``python -m tests.benchmarks.serving`` serves a hello-world widget page and the dashboard the same way, and
prints the time from the request to a page that answers, cold and with an explorer ready, and the ratio. Then
it lets visitors come to the dashboard, kernels forked and not, and prints the memory of a session
(proportional set size) and the time from a move of the slider to the kernel's last word on it, alone and
while all drag.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from playwright.sync_api import Browser, sync_playwright

from prunescope.serving.notebook import dashboard_notebook
from tests.support import hosts
from tests.support.visitor import Visitor

HELLO = "import ipywidgets\nipywidgets.IntSlider(description='Hello')"
WITHOUT_FORK = """
import prunescope.serving.app as a
a.can_fork = lambda: False
"""
READY = {"hello": "[role=slider]", "dashboard": ".ps-canvas canvas"}
PAINTED = """() => [...document.querySelectorAll('canvas')].some(canvas => canvas.width && canvas.height
    && canvas.getContext('2d').getImageData(2, 2, 1, 1).data[3])"""


@contextmanager
def server(page: Path, *, ready: int, fork: bool = True) -> Iterator[hosts.Server]:
    """Serve ``page`` as `prunescope` does."""
    command = hosts.stand_in_command(
        page, ready=ready, max_sessions=40, preload=("prunescope.explorer", "voila.utils")
    )
    if not fork:
        command[2] = WITHOUT_FORK + command[2]
    with TemporaryDirectory() as folder, hosts.served(command, Path(folder)) as it:
        yield it


def seconds_to_page(browser: Browser, url: str, shown: str) -> float:
    """Return how long a page takes from its request to the first widget that answers, and its picture if any.

    Each visit is somebody's first: no browser has kept anything of the page.
    """
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator(shown).first.wait_for()
    if "canvas" in shown:
        page.wait_for_function(PAINTED, polling=10)
    taken = time.perf_counter() - start
    page.close(run_before_unload=True)
    return taken


def print_pages(visits: int) -> None:
    """Print the way to both pages."""
    print(f"Request to interactive page, median of {visits}, s")
    print(f"{'':8}{'hello':>8}{'dashboard':>11}{'ratio':>7}")
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=hosts.chromium(), args=hosts.BROWSER_ARGUMENTS)
        pages = {"hello": hosts.notebook(Path(folder) / "hello.ipynb", [HELLO])}
        pages["dashboard"] = dashboard_notebook()
        for ready in (0, 1):
            medians = []
            for name, page in pages.items():
                with server(page, ready=ready) as it:
                    seconds_to_page(browser, it.url, READY[name])  # The server has read its files.
                    taken = []
                    for _ in range(visits):
                        time.sleep(8 if ready else 1)  # The next explorer is made ready.
                        taken.append(seconds_to_page(browser, it.url, READY[name]))
                    medians.append(statistics.median(taken))
            ratio = medians[1] / medians[0]
            print(f"{'ready' if ready else 'cold':8}{medians[0]:8.2f}{medians[1]:11.2f}{ratio:7.2f}")
        browser.close()


async def drag(visitor: Visitor, moves: int) -> list[float]:
    """Move the slider, each time when the kernel has dealt with the last move; return the seconds."""
    slider = visitor.find("IntSliderModel", max=100, min=0)
    taken = []
    for move in range(moves):
        start = time.perf_counter()
        await visitor.until_idle(visitor.update(slider, value=20 + move % 60))
        taken.append(time.perf_counter() - start)
    return taken


async def load(it: hosts.Server, counts: tuple[int, ...], moves: int) -> None:
    """Let ever more visitors come; print what each number of them takes."""
    visitors: list[Visitor] = []
    for count in counts:
        while len(visitors) < count:
            visitors.append(await Visitor.come(it.url))
        alone = statistics.median(await drag(visitors[0], moves))
        together = await asyncio.gather(*(drag(visitor, moves) for visitor in visitors))
        memory = statistics.mean(kernel.memory_full_info().pss for kernel in it.kernels()) / 2**20
        everything = [psutil.Process(it.process.pid), *it._children()]
        whole = sum(process.memory_full_info().pss for process in everything) / 2**20
        busy = statistics.median(together[0])
        print(f"{count:9}{memory:15.0f}{whole:13.0f}{1000 * alone:10.0f}{1000 * busy:18.0f}")
    for visitor in visitors:
        await visitor.go()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visits", type=int, default=5, help="page loads a row (default: %(default)s)")
    parser.add_argument("--moves", type=int, default=20, help="moves of each slider (default: %(default)s)")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 5, 15])
    parser.add_argument("--no-pages", action="store_true", help="the load alone")
    asked = parser.parse_args()
    if not asked.no_pages:
        print_pages(asked.visits)
    for fork in (True, False):
        print(f"Kernels {'forked from a warm parent' if fork else 'started one by one'}")
        print(
            f"{'sessions':>9}{'MiB a session':>15}{'MiB in all':>13}{'move, ms':>10}{'others drag, ms':>18}"
        )
        with server(dashboard_notebook(), ready=0, fork=fork) as it:
            asyncio.run(load(it, tuple(asked.sessions), asked.moves))


if __name__ == "__main__":
    main()
