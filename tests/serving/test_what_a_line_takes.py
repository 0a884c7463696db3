"""What a line to a kernel takes: messages of the form that pages speak, and none after its end."""

from __future__ import annotations

import json
import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

from prunescope.serving.handlers import Channels, Line
from prunescope.serving.messages import PROTOCOL

PART = json.dumps({"msg_id": "m", "msg_type": "comm_msg"}).encode()
MESSAGE: bytes = serialize_msg_to_ws_v1([PART, b"{}", b"{}", b"{}"], "shell")
# Jupyter's older protocol takes the first four bytes for the number of the parts that follow.
GARBAGE = b"\x06\x00\x00\x00" + bytes(400_000)


@pytest.fixture
def passed_on(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What reaches Jupyter's part."""
    passed_on: list[bytes] = []
    monkeypatch.setattr(
        ZMQChannelsWebsocketConnection, "handle_incoming_message", lambda self, said: passed_on.append(said)
    )
    return passed_on


class Handler(Channels):
    """A line's handler whose connection has, or has not, been closed by the server."""

    def __init__(self, protocol: str | None) -> None:
        self.ws_connection: Any = None if protocol is None else SimpleNamespace(selected_subprotocol=protocol)


class OpenLine(Line):
    kernel_id = "8d0e4f1c-8a4f-4f8e-9a53-0f1e2d3c4b5a"


def line(protocol: str | None = PROTOCOL) -> Line:
    return OpenLine(websocket_handler=Handler(protocol))


def overlapping(parts: int, size: int) -> bytes:
    """Return a message whose many buffers all are the same bytes."""
    start = 8 * (parts + 3)
    offsets = [start, start + 5, *([start + 5, start + 5 + size] * parts)][: parts + 2]
    return b"".join(n.to_bytes(8, "little") for n in (len(offsets), *offsets)) + b"shell" + bytes(size)


def test_a_message_is_passed_on(passed_on: list[bytes]) -> None:
    line().handle_incoming_message(MESSAGE)
    assert passed_on == [MESSAGE]


@pytest.mark.parametrize("said", [MESSAGE, GARBAGE, "text"])
@pytest.mark.parametrize("protocol", [None, "", f"x{PROTOCOL}"])
def test_a_line_that_was_closed_takes_nothing(
    protocol: str | None, said: Any, passed_on: list[bytes]
) -> None:
    line(protocol).handle_incoming_message(said)
    assert passed_on == []


def test_a_line_that_has_ended_takes_nothing(passed_on: list[bytes]) -> None:
    ended = line()
    ended.ended = True
    ended.handle_incoming_message(MESSAGE)
    handler = Handler(PROTOCOL)
    handler.connection = None  # As Jupyter leaves it when the page is gone.
    handler.on_message(MESSAGE)
    assert passed_on == []


LARGE = 1 << 20
FORMS = {
    "zeros": bytes(LARGE),
    "parts that overlap": overlapping(900, LARGE),
    "offsets beyond the end": b"".join(n.to_bytes(8, "little") for n in (4, 40, 45, 2**62, 2**63)) + b"shell",
    "offsets that go back": b"".join(n.to_bytes(8, "little") for n in (4, 40, 45, 41, 50))
    + b"shell"
    + bytes(9),
    "many small lists": serialize_msg_to_ws_v1(
        [PART, b"{}", b"{}", b'{"a":[' + b"[]," * (LARGE // 3) + b"[]]}"], "shell"
    ),
    "deep lists": serialize_msg_to_ws_v1([PART, b"{}", b"{}", b"[" * LARGE], "shell"),
    "four bytes that say 100 million": GARBAGE,
    "text": "0" * LARGE,
}


@pytest.mark.parametrize("form", FORMS)
def test_no_form_costs_more_than_a_few_times_its_size(form: str, passed_on: list[bytes]) -> None:
    listening, said = line(), FORMS[form]
    tracemalloc.start()
    try:
        listening.handle_incoming_message(said)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * LARGE
    assert passed_on == []
