"""Behind a reverse proxy that speaks TLS, as the README says: nginx before `prunescope --base-url`."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.test_serving_sessions import AT_ONCE_S, SLIDER, process_of
from tests.support.hosts import OpenPage, Server, lives, record_requests, wait_until

README = Path(__file__).parents[2] / "README.md"
FRAME = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
        {snippet}
    }}
}}
"""


def snippet(port: int) -> str:
    """Return the README's location block, for a server at ``port``."""
    found = re.search(r"```nginx\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert found
    return found[1].replace("127.0.0.1:8866", f"127.0.0.1:{port}")


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[[Server], str]]:
    """``nginx(server)`` gives the address of a proxy with TLS in front of ``server``."""
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        reason = "no nginx and openssl on PATH"
        if os.environ.get("PRUNESCOPE_REQUIRE_BROWSER") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    certificate = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout key.pem -out cert.pem"
    )
    subprocess.run(["openssl", *certificate.split()], cwd=tmp_path, check=True, capture_output=True)
    running = []

    def start(server: Server) -> str:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        inner = int(re.search(r":(\d+)/", server.url)[1])
        config = tmp_path / "nginx.conf"
        config.write_text(FRAME.format(folder=tmp_path, port=port, snippet=snippet(inner)))
        command = ["nginx", "-c", str(config), "-e", str(tmp_path / "error.log")]
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return f"https://127.0.0.1:{port}/prunescope/"

    yield start
    for process in running:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    unverified = ssl._create_unverified_context()
    try:
        return urllib.request.urlopen(url, context=unverified).status == 200
    except OSError:
        return False


def test_behind_nginx_with_tls(serve_cells: Callable[..., Server], open_page: OpenPage, nginx) -> None:
    server = serve_cells([SLIDER], base_url="/prunescope/", token="open-sesame", ready=1)
    url = nginx(server)
    page = open_page(ignore_https_errors=True)
    asked = record_requests(page)
    failed: list[str] = []
    page.on("response", lambda answer: answer.status >= 400 and failed.append(answer.url))
    wait_until(page, lambda: answers(url + "health"))
    page.goto(url + "?token=open-sesame")
    kernel = process_of(page)
    assert [a for a in asked if not re.match(rf"(https|wss){url[5:]}|data:|blob:", a)] == []
    assert failed == []
    page.close(run_before_unload=True)
    watcher = open_page()
    wait_until(watcher, lambda: not lives(kernel), timeout=AT_ONCE_S)
