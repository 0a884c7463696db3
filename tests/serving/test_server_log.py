"""What stands in the server's log."""

import gc
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from prunescope.serving.rates import Allowance
from prunescope.serving.repeats import LINES, LINES_S, REMEMBERED, Enough, Repeats
from tests.support.hosts import Server, notebook, served, stand_in_command

# What is asked, and what is answered.
BAD = {
    "PURGE /": 405,
    "FOO /health": 405,
    "TRACE /": 405,
    "CONNECT evil.example:443": 405,
    "GET /%ff": 400,
    "GET /%00": 400,
    "GET /?token=%ff": 400,
    "GET /voila/templates/lab/static/%00": 400,
    f"GET /voila/templates/lab/static/{'a' * 5000}": 400,
    f"GET /voila/static/{'a/' * 2500}": 400,
    f"GET /{'a' * 10_000}": 400,
}

LATE = """
import asyncio, logging, zmq
from tornado.ioloop import IOLoop
from zmq.eventloop.zmqstream import ZMQStream
from prunescope.serving.logs import log_to_stderr


async def main():
    kernel, server = (context.socket(zmq.PAIR) for _ in range(2))
    kernel.bind("inproc://line")
    server.connect("inproc://line")
    stream = ZMQStream(server, IOLoop.current())
    kernel.send(b"one more")
    stream.on_recv(print)
    stream.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    kernel.close()
    logging.getLogger("tornado.general").warning("something else")


log_to_stderr()
with zmq.Context() as context:
    asyncio.run(main())
"""


def test_a_message_that_comes_after_the_end_of_a_session_is_no_news() -> None:
    ran = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=True)
    (line,) = ran.stderr.splitlines()
    assert line.endswith(" something else")
    assert not ran.stdout


@pytest.fixture(scope="module", params=["", "open-sesame"], ids=["no token", "token"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("log")
    options = {"token": request.param} if request.param else {}
    with served(stand_in_command(notebook(folder / "page.ipynb", ["1"]), **options), folder) as it:
        yield it


def ask(server: Server, line: str) -> int:
    """Return the status that a request of that first line is answered with."""
    port = urlsplit(server.url).port
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line_to:
        line_to.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        with line_to.makefile("rb") as answer:
            return int(answer.read().split(maxsplit=2)[1])


def test_a_bad_request_is_one_line(server: Server) -> None:
    for line, status in BAD.items():
        server.turn_the_page()
        assert ask(server, line) == status, line[:60]
        assert ask(server, "GET /health") == 200
        (said,) = server.said().splitlines()
        assert f"refused: {status} {line.partition('?')[0][:50]}" in said
        assert len(said) < 400


def said(repeats: logging.Filter, text: str, level: int = logging.WARNING) -> str | None:
    """Return what is written of a message, None if nothing is."""
    record = logging.LogRecord("prunescope.serving", level, __file__, 0, text, (), None)
    return record.getMessage() if repeats.filter(record) else None


def test_what_is_repeated_is_counted() -> None:
    repeats = Repeats()
    written = [said(repeats, text) for _ in range(1000) for text in ("a", "b")]
    assert [text for text in written if text and text.startswith("a")] == [
        "a",
        *(f"a … repeated {n} times" for n in (10, 100, 1000)),
    ]
    assert sum(text is not None for text in written) == 8


def test_how_long_an_answer_took_makes_no_other_message() -> None:
    repeats = Repeats()
    assert said(repeats, "404 GET /x (127.0.0.1) 1.25ms")
    assert said(repeats, "404 GET /x (127.0.0.1) 0.75ms") is None


def test_sessions_that_come_and_go_are_all_told() -> None:
    repeats = Repeats()
    assert [said(repeats, "started", logging.INFO) for _ in range(3)] == ["started"] * 3


def test_few_messages_are_remembered() -> None:
    repeats = Repeats()
    for n in range(REMEMBERED + 1):
        said(repeats, f"message {n}")
    assert said(repeats, "message 0") == "message 0"
    assert said(repeats, f"message {REMEMBERED}") is None


def test_each_session_may_tell_so_many_problems_and_no_more() -> None:
    seconds = [0.0]
    enough = Enough(clock=lambda: seconds[0])
    first = [said(enough, f"session 01234567: problem {n}") for n in range(3 * LINES)]
    written = [text for text in first if text]
    assert written[:LINES] == [f"session 01234567: problem {n}" for n in range(LINES)]
    assert written[LINES:] == ["session 01234567 has told enough problems for now: more are left out"]
    assert said(enough, "session 76543210: another") == "session 76543210: another"
    assert said(enough, "refused: 404") == "refused: 404"
    assert said(enough, "session 01234567 started", logging.INFO)
    seconds[0] = 1 / LINES_S
    late = said(enough, "session 01234567: late")
    assert late == f"session 01234567: late ({2 * LINES} before it were left out)"
    assert said(enough, "session 01234567: again") == written[-1]


def test_of_few_sessions_it_is_known_what_they_have_told() -> None:
    enough = Enough(lines=1)
    for n in range(10 * REMEMBERED):
        assert said(enough, f"session {n:08x}: a problem")
    alive = [each for each in gc.get_objects() if type(each) is Allowance]
    assert len(alive) <= REMEMBERED + 10


ANYONE = """
import logging, sys
from prunescope.serving.logs import log_to_stderr

log_to_stderr()
for name in ("asyncio", "DashboardServer", "tornado.application", "prunescope.serving"):
    try:
        raise ValueError(sys.argv[1])
    except ValueError:
        logging.getLogger(name).exception("it failed: %s %s", name, sys.argv[1])
"""


def test_whoever_writes_writes_lines_without_control_characters() -> None:
    forged = "x\n2026-01-01 00:00:00,000 session 01234567 all is well\x1b[2J\u202e\x9b\x7f"
    ran = subprocess.run([sys.executable, "-c", ANYONE, forged], capture_output=True, text=True, check=True)
    lines = ran.stderr.split("\n")
    assert len(lines) == 5  # With the empty one at the end.
    assert all(line.isprintable() for line in lines)
    assert all("it failed: " in line for line in lines[:4])
