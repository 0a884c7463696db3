"""What a line to a kernel takes: messages of the form that pages speak, and none after its end."""

from __future__ import annotations

import json
import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jupyter_server.services.kernels.connection.base import (
    deserialize_msg_from_ws_v1,
    serialize_msg_to_ws_v1,
)
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


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
KINDS = [
    "comm_msg",
    "comm_open",
    "comm_close",
    "execute_request",
    "input_reply",
    "shutdown_request",
    "",
    "x" * 99,
]
HEADERS = st.fixed_dictionaries({}, optional={"msg_id": JSON, "msg_type": st.sampled_from(KINDS) | JSON})
PARTS = st.one_of(st.binary(max_size=20), JSON.map(lambda value: json.dumps(value).encode()))
MESSAGES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=20),
    st.lists(PARTS, max_size=8).map(lambda parts: serialize_msg_to_ws_v1(parts, "shell")),
    st.tuples(HEADERS, JSON).map(
        lambda it: serialize_msg_to_ws_v1(
            [*(json.dumps(each).encode() for each in (it[0], {}, {}, it[1]))], "shell"
        )
    ),
    st.tuples(st.integers(0, len(MESSAGE) - 1), st.integers(0, 255)).map(
        lambda it: MESSAGE[: it[0]] + bytes([it[1]]) + MESSAGE[it[0] + 1 :]
    ),
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=MESSAGES)
def test_any_message_is_one_or_is_refused(said: Any, passed_on: list[bytes]) -> None:
    passed_on.clear()
    line().handle_incoming_message(said)
    for each in passed_on:  # What reaches Jupyter has the form that it reads.
        channel, parts = deserialize_msg_from_ws_v1(each)
        assert channel in ("shell", "control", "stdin")
        assert all(isinstance(json.loads(part), dict) for part in parts[:4])
