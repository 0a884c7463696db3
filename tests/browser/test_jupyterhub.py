"""Under JupyterHub, as the README configures it: each user has a server of their own, and no other."""

import os
import re
import shutil
import socket
import subprocess
import sysconfig
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Response, Route

from tests.support.hosts import OpenPage, wait_until

README = Path(__file__).parents[2] / "README.md"
HUB = """
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy}"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/{{username}}"
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.cookie_secret_file = "{folder}/secret"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """The address of a running JupyterHub with the README's configuration."""
    if shutil.which("configurable-http-proxy") is None:
        reason = "no configurable-http-proxy on PATH"
        if os.environ.get("PRUNESCOPE_REQUIRE_BROWSER") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    ours = re.search(r"```python\n(c = get_config.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert ours
    public, inner, proxy = free_ports(3)
    config = tmp_path / "jupyterhub_config.py"
    config.write_text(ours[1] + HUB.format(public=public, hub=inner, proxy=proxy, folder=tmp_path))
    scripts = sysconfig.get_path("scripts")
    command = [f"{scripts}/jupyterhub", "-f", str(config)]
    path = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}
    with (tmp_path / "hub.log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=path, stdout=log, stderr=log)
    started = psutil.Process(process.pid)
    yield f"http://127.0.0.1:{public}"
    children = started.children(recursive=True)
    process.terminate()
    process.wait(60)
    _, left = psutil.wait_procs(children, timeout=10)
    for child in left:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url).status == 200
    except OSError:
        return False


def log_in(page, hub: str, user: str) -> None:
    page.goto(f"{hub}/hub/login")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill("dummy")
    page.get_by_role("button", name="Sign in").click()


def told_before_its_line_is_up(page, go: Callable[[], None]) -> dict[str, Any]:
    """Return what a page that is slow to load is told of its session."""
    held: list[Route] = []
    may_go = False

    def hold(route: Route) -> None:
        if may_go:
            route.continue_()
        else:
            held.append(route)

    page.route("**/voila*.js", hold)
    with page.expect_response("**/voila/session/*") as told:
        go()
    may_go = True
    for route in held:
        route.continue_()
    return {"status": told.value.status, **told.value.json()}


def test_two_users_have_their_own_and_not_the_others(hub: str, open_page: OpenPage) -> None:
    pages = {user: open_page() for user in ("ada", "grace")}
    wait_until(pages["ada"], lambda: answers(f"{hub}/hub/login"))
    sent_away: list[str] = []

    def note(answer: Response) -> None:
        if answer.status >= 300 and answer.status != 304:  # Not Modified: the page has loaded itself again.
            sent_away.append(answer.url)

    for user, page in pages.items():
        page.on("response", note)
        told = told_before_its_line_is_up(page, partial(log_in, page, hub, user))
        assert told == {"status": 200, "open": True, "why": None}
        page.wait_for_url(f"{hub}/user/{user}/**")
        page.locator(".ps-canvas canvas").first.wait_for()
        assert page.evaluate("document.fonts.ready.then(all => all.size)")
    assert not [address for address in sent_away if "/voila/" in address]  # Fonts above all.
    kernels = {
        user: page.evaluate("JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId")
        for user, page in pages.items()
    }
    assert kernels["ada"] != kernels["grace"]
    intruder = pages["grace"]
    for path in ("", f"voila/session/{kernels['ada']}", f"api/kernels/{kernels['ada']}"):
        answer = intruder.request.get(f"{hub}/user/ada/{path}")
        assert answer.status in (403, 404), path
        assert kernels["ada"] not in answer.text()
