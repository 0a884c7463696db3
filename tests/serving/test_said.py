"""What a page may say to its kernel: anything, and the session lives on, for it and for the others."""

import asyncio
import json
import re
from collections.abc import Iterator

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.support.hosts import Server, prunescope_command, served
from tests.support.visitor import Visitor

pytestmark = pytest.mark.slow

WRONG_FRAMES: list[str | bytes] = [
    "",
    "null",
    "[]",
    "no json",
    '{"channel": "shell"}',
    '{"channel": "shell", "header": 1, "content": NaN}',
    '{"channel": "elsewhere", "header": {"msg_type": "comm_msg"}}',
    '{"channel": "iopub", "header": {"msg_type": "comm_msg"}, "content": {}}',
    "[" * 100_000,
    b"",
    b"\0",
    b"\xff" * 8,
    b"\xff" * 4096,
    (2**62).to_bytes(8, "little") * 4,
]
WRONG_VALUES = ["NaN", "Infinity", "-Infinity", "1e999"]
WRONG_CONTENTS = [
    {},
    {"comm_id": None, "data": None},
    {"comm_id": "nobody", "data": {"method": "update", "state": {"value": 1}}},
    {"comm_id": "SLIDER", "data": []},
    {"comm_id": "SLIDER", "data": {"method": "update"}},
    {"comm_id": "SLIDER", "data": {"method": "update", "state": None, "buffer_paths": [["value"]]}},
    {"comm_id": "SLIDER", "data": {"method": "update", "state": {"value": {}}, "buffer_paths": [[0, 0]]}},
    {"comm_id": "SLIDER", "data": {"method": "custom", "content": "<script>alert(1)</script>"}},
    {"comm_id": "CANVAS", "data": {"method": "custom", "content": None}},
    {"comm_id": "CANVAS", "data": {"method": "custom", "content": {"type": "set_dpi_ratio"}}},
    {"comm_id": "CANVAS", "data": {"method": "custom", "content": {"type": "button_press", "x": "left"}}},
]
HEADER = b'{"msg_id": "m", "msg_type": "comm_msg", "session": ""}'
OPENED = [
    {"comm_id": "a", "target_name": "jupyter.elsewhere", "data": {}},
    {"comm_id": "b", "target_name": "jupyter.widget", "data": {"state": {"_model_name": "NoSuchModel"}}},
    {"comm_id": "c", "target_name": "jupyter.widget", "target_module": "os", "data": {}},
    {"comm_id": "d", "target_name": None, "data": "x"},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    command = prunescope_command("--no-browser", "--port", "0", "--token", "open-sesame")
    with served(command, tmp_path_factory.mktemp("said")) as it:
        yield it


async def amounts(visitor: Visitor, slider: str, amount: int) -> bool:
    """Return whether the slider can be moved to ``amount`` percent, and the explorer follows."""
    await visitor.until_idle(visitor.update(slider, value=amount))
    states = await visitor.states()
    shown = [state["value"] for state in states.values() if "Requested" in str(state.get("value"))]
    return states[slider]["value"] == amount and f"{amount} %" in "".join(shown)


async def say_everything(url: str) -> int:
    """Say what no page should, and return how much of it was said."""
    visitor, other = await Visitor.come(url), await Visitor.come(url)
    slider = visitor.find("IntSliderModel", value=30)
    canvas = visitor.find("MPLCanvasModel")
    said = 0
    for frame in WRONG_FRAMES:
        visitor.line.write_message(frame, binary=isinstance(frame, bytes))
        said += 1
    for widget in visitor.widgets:
        for number in WRONG_VALUES:
            content = json.dumps({"comm_id": widget, "data": {"method": "update", "state": {"value": 0.5}}})
            visitor.say_parts([HEADER, b"{}", b"{}", content.replace("0.5", number).encode()])
            said += 1
    for content in WRONG_CONTENTS:
        text = json.dumps(content).replace("SLIDER", slider).replace("CANVAS", canvas)
        visitor.say("comm_msg", json.loads(text))
        said += 1
    for content in OPENED:
        visitor.say("comm_open", content)
        said += 1
    for kind in ("execute_request", "complete_request", "inspect_request", "history_request", "input_reply"):
        visitor.say(kind, {"code": "open('/tmp/x', 'w')", "silent": False})
        said += 1
    visitor.update(slider, buffers=(b"\0" * 1000,), paths=[["value"], ["gone", 7]], value=None)
    said += 1
    assert await amounts(visitor, slider, 50)
    assert await amounts(other, other.find("IntSliderModel", value=30), 25)
    await visitor.go()
    await other.go()
    return said


def test_a_page_may_say_anything(server: Server) -> None:
    said = asyncio.run(say_everything(server.url))
    print(f"said {said} things that no page should")
    assert said > 300


async def intrude(url: str) -> dict[str, int]:
    """Return what a visitor who knows another's kernel, but not the token, is answered."""
    owner = await Visitor.come(url)
    paths = {
        "kernel": f"api/kernels/{owner.kernel}",
        "line": f"api/kernels/{owner.kernel}/channels",
        "session": f"voila/session/{owner.kernel}",
        "list": "api/kernels",
        "sessions": "api/sessions",
        "terminals": "api/terminals",
        "contents": "api/contents",
        "config": "api/config/x",
        "file": "voila/files/Prunescope.ipynb",
        "static": "voila/static/../../../Prunescope.ipynb",
        "template": "?voila-template=classic",
        "themes": "voila/themes/x/index.css",
    }
    codes = {}
    for name, path in paths.items():
        answer = await AsyncHTTPClient().fetch(owner.url + path, raise_error=False, follow_redirects=False)
        assert owner.kernel not in answer.body.decode()
        codes[name] = answer.code
    await owner.go()
    return codes


def test_who_has_no_token_learns_nothing_of_a_session(server: Server) -> None:
    codes = asyncio.run(intrude(server.url))
    assert {name: code for name, code in codes.items() if code not in (302, 403, 404)} == {}


async def look_around(url: str) -> None:
    token = url.partition("?")[2]
    base = url.partition("?")[0]
    client = AsyncHTTPClient()
    for path in (
        "api/kernels",
        "api/kernelspecs",
        "api/sessions",
        "api/contents",
        "api/contents/Prunescope.ipynb",
        "api/terminals",
        "api/status",
        "api/config/x",
        "api/spec.yaml",
        "nbconvert/html/Prunescope.ipynb",
        "files/Prunescope.ipynb",
        "voila/files/Prunescope.ipynb",
        "voila/render/Prunescope.ipynb",
        "voila/static/..%2f..%2f..%2fpage%2fPrunescope.ipynb",
        "static/..%2f..%2fetc%2fpasswd",
        "tree",
        "lab",
        "metrics",
    ):
        answer = await client.fetch(f"{base}{path}?{token}", raise_error=False, follow_redirects=False)
        assert answer.code in (403, 404, 405), path
    # The template stays ours whatever the address asks for.
    answer = await client.fetch(
        f"{url}&template=classic&voila-template=classic&voila-theme=dark", request_timeout=60
    )
    page = answer.body.decode()
    assert "Opening the explorer" in page
    assert "from prunescope" not in page
    kernel = re.search(r'"kernelId": "([\w-]+)"', page)
    assert kernel
    # Another site's page cannot have a line, nor start, end or ask for anything in our visitor's name.
    cookies = "; ".join(each.partition(";")[0] for each in answer.headers.get_list("Set-Cookie"))
    wrong = {
        "Cookie": cookies,
        "Origin": "http://elsewhere.example",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
    }
    wrong |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    wrong |= {"Sec-WebSocket-Protocol": "v1.kernel.websocket.jupyter.org"}
    address = f"{base}api/kernels/{kernel[1]}/channels"
    assert (await client.fetch(address, headers=wrong, raise_error=False)).code == 403
    for method in ("POST", "DELETE"):
        answer = await client.fetch(
            f"{base}api/kernels/{kernel[1]}",
            method=method,
            body=b"" if method == "POST" else None,
            headers={"Cookie": cookies, "Origin": "http://elsewhere.example"},
            raise_error=False,
        )
        assert answer.code in (403, 404, 405)
    left = await client.fetch(
        f"{base}voila/api/shutdown/{kernel[1]}?{token}", method="POST", body=b"", raise_error=False
    )
    assert left.code == 204


def test_who_has_the_token_finds_the_page_and_nothing_else(server: Server) -> None:
    asyncio.run(look_around(server.url))
    log = server.log.read_text()
    assert "404 GET /api/kernelspecs?token=…" in log
    assert "open-sesame" not in log
    assert not re.search(r"\w{8}(-\w{4}){3}-\w{12}", log)
