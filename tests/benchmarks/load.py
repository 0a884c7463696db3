"""What the server bears: pages that end while they send, many lines, many visits, a stop while all are busy.

``python tests/benchmarks/load.py`` serves a page with a slider and the dashboard on loopback, and prints the
longest time that ``/health`` took to answer, the server's peak memory and the bytes of its log for each load.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, WebSocketError, websocket_connect

sys.path.insert(0, str(Path(__file__).parents[2]))
from prunescope.serving.notebook import dashboard_notebook
from tests.support import hosts
from tests.support.visitor import Visitor

SLIDER = "import ipywidgets\nipywidgets.IntSlider(value=30, max=100)"


class Watch:
    """Asks for the server's health ten times a second, from a thread, and looks at its memory."""

    def __init__(self, server: hosts.Server) -> None:
        self.silence, self.peak = 0.0, 0.0
        self._url = server.url.partition("?")[0] + "health"
        self._process = psutil.Process(server.process.pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.wait(0.1):
            start = time.perf_counter()
            with contextlib.suppress(OSError), urllib.request.urlopen(self._url, timeout=60) as answer:
                answer.read()
            self.silence = max(self.silence, time.perf_counter() - start)
            with contextlib.suppress(psutil.Error):
                self.peak = max(self.peak, self._process.memory_info().rss / 2**20)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def server(page: Path, **options: object) -> Iterator[hosts.Server]:
    """Serve ``page`` as `prunescope` does."""
    with TemporaryDirectory() as folder:
        it = hosts.Server(hosts.stand_in_command(page, **options), Path(folder))
        try:
            yield it
        finally:
            if it.process.poll() is None:
                it.stop()


async def drag(visitor: Visitor, until: float) -> int:
    """Move the slider without waiting for answers; return how often it was moved."""
    slider, moves = visitor.find("IntSliderModel", value=30), 0
    with contextlib.suppress(WebSocketError, AssertionError):
        while time.perf_counter() < until:
            visitor.update(slider, value=moves % 100)
            moves += 1
            await asyncio.sleep(0.005)
    return moves


async def end_while_sending(it: hosts.Server, count: int) -> str:
    """End sessions while their pages drag."""
    moves = 0
    for _ in range(count):
        visitor = await Visitor.come(it.url)
        dragging = asyncio.ensure_future(drag(visitor, time.perf_counter() + 2))
        await asyncio.sleep(0.5)
        address = f"{visitor.url}voila/api/shutdown/{visitor.kernel}?{visitor.token}"
        await AsyncHTTPClient().fetch(address, method="POST", body=b"", request_timeout=120)
        moves += await dragging
    return f"{count} sessions ended while {moves} moves were sent"


async def open_lines(it: hosts.Server, count: int) -> str:
    """Open as many lines as one page can."""
    visitor = await Visitor.come(it.url)
    address = f"ws{visitor.url[4:]}api/kernels/{visitor.kernel}/channels?{visitor.token}&session_id="
    lines: list[WebSocketClientConnection] = []
    refused = 0
    for number in range(10 * count):
        try:
            protocols = ["v1.kernel.websocket.jupyter.org"]
            coming = websocket_connect(f"{address}{number}", subprotocols=protocols)
            lines.append(await asyncio.wait_for(asyncio.ensure_future(coming), 10))
        except Exception:
            refused += 1
    other = "another visitor is served"
    try:
        await (await Visitor.come(it.url)).go()
    except Exception as problem:
        other = f"another visitor is not: {type(problem).__name__}"
    for line in lines:
        line.close()
    return f"{len(lines)} lines, {refused} refused, {other}"


async def visit(it: hosts.Server, count: int) -> str:
    """Come and go."""
    process, after = psutil.Process(it.process.pid), {}
    for number in range(1, count + 1):
        await (await Visitor.come(it.url)).go()
        if number in (10, count) or number % 50 == 0:
            after[number] = process.memory_info().rss / 2**20
    return ", ".join(f"{memory:.1f} MiB after {number} visits" for number, memory in after.items())


async def stop_while_busy(it: hosts.Server, count: int) -> str:
    """Stop the server while pages load and drag."""
    visitors = [await Visitor.come(it.url) for _ in range(count)]
    dragging = [asyncio.ensure_future(drag(v, time.perf_counter() + 60)) for v in visitors]
    client = AsyncHTTPClient(force_instance=True, max_clients=count)
    loading = [asyncio.ensure_future(client.fetch(it.url, request_timeout=90)) for _ in range(count)]
    await asyncio.sleep(1.5)
    start = time.perf_counter()
    code = await asyncio.to_thread(it.stop)
    taken = time.perf_counter() - start
    for task in (*dragging, *loading):
        task.cancel()
    await asyncio.gather(*dragging, *loading, return_exceptions=True)
    return f"stopped after {taken:.1f} s with exit code {code}"


LOADS = {"end": end_while_sending, "lines": open_lines, "visits": visit, "stop": stop_while_busy}


def main() -> None:
    """Print a line for each load."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("loads", nargs="*", default=list(LOADS), help="of: end lines visits stop")
    parser.add_argument("--count", type=int, default=12, help="pages (default: %(default)s)")
    parser.add_argument("--visits", type=int, default=300, help="(default: %(default)s)")
    parser.add_argument("--dashboard", action="store_true", help="serve the dashboard, not a slider")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        page = hosts.notebook(Path(folder) / "slider.ipynb", [SLIDER])
        options = {"max_sessions": 40}
        if asked.dashboard:
            page, options["preload"] = dashboard_notebook(), ("prunescope.explorer", "voila.utils")
        for name in asked.loads:
            with server(page, **options) as it:
                with Watch(it) as watch:
                    count = asked.visits if name == "visits" else asked.count
                    said = asyncio.run(LOADS[name](it, count))
                log = it.log.read_text()
                print(
                    f"{name:8}health silent for {watch.silence:6.2f} s at most, peak {watch.peak:6.0f} MiB, "
                    f"log {len(log):9,} bytes, {len(re.findall('Traceback', log))} tracebacks: {said}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
