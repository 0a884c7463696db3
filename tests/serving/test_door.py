"""Who is let in: those who ask by a name of the server's own, and to look at the page."""

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tornado.httputil import HTTPHeaders

from prunescope.serving.address import Listener
from prunescope.serving.door import OwnNames, is_visit
from tests.support.hosts import Server, notebook, served, stand_in_command

PATHS = ["/", "/health", "/voila/static/voila.js", "/api/kernels/0-0-0-0-0", "/voila/query/0-0-0-0-0", "/x"]
FOREIGN = [
    "evil.example",
    "evil.example:8866",
    "localhost.evil.example",
    "10.1.2.3",
    "127.0.0.1.evil.example",
]
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    "Sec-WebSocket-Protocol": "v1.kernel.websocket.jupyter.org",
}
CHROMIUM = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}


def page(folder: Path) -> Path:
    return notebook(folder / "page.ipynb", ["print('in', 6 * 7)"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("door")
    with served(stand_in_command(page(folder)), folder) as it:
        yield it


def ask(server: Server, path: str, **headers: str) -> tuple[int, str]:
    """Return the status of the answer and its text."""
    where = urlsplit(server.url)
    with closing(HTTPConnection(where.hostname, where.port, timeout=60)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def sessions(server: Server) -> int:
    return json.loads(ask(server, "/health")[1])["sessions"]


@pytest.mark.parametrize("host", FOREIGN)
def test_nothing_is_served_by_a_foreign_name(host: str, server: Server) -> None:
    before = sessions(server)
    for path in PATHS:
        status, text = ask(server, path, Host=host)
        assert status == 403, path
        assert "Open the address that it printed" in text
    assert sessions(server) == before


def test_no_line_by_a_foreign_name(server: Server) -> None:
    kernel = ask(server, "/")[1].partition('"kernelId": "')[2][:36]
    path = f"/api/kernels/{kernel}/channels?session_id=x"
    for host, expected in (("evil.example", 403), (urlsplit(server.url).netloc, 101)):
        headers = {**UPGRADE, "Host": host, "Origin": f"http://{host}"}
        where = urlsplit(server.url)
        connection = HTTPConnection(where.hostname, where.port, timeout=60)
        connection.request("GET", path, headers=headers)
        assert connection.getresponse().status == expected
        connection.close()


def test_local_names_are_served(server: Server) -> None:
    port = urlsplit(server.url).port
    for host in ("localhost", f"LOCALHOST:{port}", f"127.0.0.1:{port}", "127.0.0.2", f"[::1]:{port}"):
        assert ask(server, "/health", Host=host)[0] == 200


def test_who_has_the_token_may_use_any_name(tmp_path: Path) -> None:
    with served(stand_in_command(page(tmp_path), token="open-sesame"), tmp_path) as guarded:
        assert "in 42" in ask(guarded, "/?token=open-sesame", Host="evil.example")[1]


def test_names_by_the_address_that_is_served() -> None:
    with Listener.bind("127.0.0.1", 0) as here, Listener.bind("0.0.0.0", 0) as everywhere:
        assert not OwnNames(here).knows("192.0.2.7")
        assert OwnNames(everywhere).knows("192.0.2.7")  # Of a forwarded port, say.
        assert OwnNames(everywhere).knows(socket.gethostname().upper())
        assert not OwnNames(everywhere).knows("evil.example")
        assert OwnNames(Listener("Lab.Example", here.sockets)).knows("lab.example.")


VISITS = {
    "a link": {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "cross-site"},
    "a frame of ours": {
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "iframe",
        "Sec-Fetch-Site": "same-origin",
    },
    "by plain HTTP": {**CHROMIUM, "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
    "a program": {"User-Agent": "curl/8.5.0", "Accept": "*/*"},
    "nothing said": {},
}
NO_VISITS = {
    "a picture": {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image", "Sec-Fetch-Site": "cross-site"},
    "a script": {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "script", "Sec-Fetch-Site": "cross-site"},
    "a foreign frame": {
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "iframe",
        "Sec-Fetch-Site": "cross-site",
    },
    "ahead of time": {
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
        "Sec-Purpose": "prefetch;prerender",
    },
    "a picture by plain HTTP": {**CHROMIUM, "Accept": "image/avif,image/webp,*/*;q=0.8"},
    "a script by plain HTTP": {**CHROMIUM, "Accept": "*/*"},
}


@pytest.mark.parametrize("headers", VISITS.values(), ids=VISITS)
def test_a_visit(headers: dict[str, str]) -> None:
    assert is_visit(HTTPHeaders(headers))


@pytest.mark.parametrize("headers", NO_VISITS.values(), ids=NO_VISITS)
def test_no_visit(headers: dict[str, str]) -> None:
    assert not is_visit(HTTPHeaders(headers))


def test_a_picture_starts_no_session(server: Server) -> None:
    before = sessions(server)
    assert ask(server, "/", **NO_VISITS["a picture"])[0] == 403
    assert sessions(server) == before
