"""A visitor without a browser: opens the page, finds its widgets over the websocket, says what it likes."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from typing import Any, Self

from jupyter_server.services.kernels.connection.base import (
    deserialize_msg_from_ws_v1,
    serialize_msg_to_ws_v1,
)
from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

TIMEOUT_S = 60


class Visitor:
    """One session of a server: its kernel's id, its widgets, and the line to them."""

    line: WebSocketClientConnection

    def __init__(self, url: str, kernel: str) -> None:
        self.url, _, self.token = url.partition("?")
        self.kernel = kernel
        self._heard: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.widgets: dict[str, dict[str, Any]] = {}

    @classmethod
    async def come(cls, url: str) -> Self:
        """Open the page at ``url`` and a line to its kernel, and learn its widgets' states."""
        answer = await AsyncHTTPClient().fetch(url, request_timeout=TIMEOUT_S)
        found = re.search(r'"kernelId": "([\w-]+)"', answer.body.decode())
        assert found
        visitor = cls(url, found[1])
        address = f"ws{visitor.url[4:]}api/kernels/{found[1]}/channels?{visitor.token}"
        # Read at once, whoever listens: a line that is not read answers no pings.
        visitor.line = await websocket_connect(
            f"{address}&session_id={uuid.uuid4().hex}",
            max_message_size=1 << 28,
            subprotocols=["v1.kernel.websocket.jupyter.org"],
            on_message_callback=visitor._heard.put_nowait,
        )
        visitor.widgets = await visitor.states()
        return visitor

    def say(
        self, kind: str, content: dict[str, Any], buffers: tuple[bytes, ...] = (), **metadata: Any
    ) -> str:
        """Send a message, and return its id."""
        message_id = uuid.uuid4().hex
        header = {
            "msg_id": message_id,
            "msg_type": kind,
            "session": "visitor",
            "username": "",
            "date": "2026-01-01T00:00:00Z",
            "version": "5.3",
        }
        parts = [json.dumps(part).encode() for part in (header, {}, metadata, content)]
        self.say_parts([*parts, *buffers])
        return message_id

    def say_parts(self, parts: list[bytes]) -> None:
        """Send a message of these parts: header, parent's header, metadata, content, buffers."""
        self.line.write_message(serialize_msg_to_ws_v1(parts, "shell"), binary=True)

    def update(self, widget: str, buffers: tuple[bytes, ...] = (), paths: Any = (), **state: Any) -> str:
        """Set traits of the widget with that id, as a page does."""
        data = {"method": "update", "state": state, "buffer_paths": list(paths)}
        return self.say("comm_msg", {"comm_id": widget, "data": data}, buffers)

    async def hear(self) -> dict[str, Any]:
        """Return the next message."""
        said = await asyncio.wait_for(self._heard.get(), TIMEOUT_S)
        assert said is not None, "the line was closed"
        _, (header, parent, _, content, *_) = deserialize_msg_from_ws_v1(said)
        message = {"header": header, "parent_header": parent, "content": content}
        return {name: json.loads(part) for name, part in message.items()}

    async def until_idle(self, message_id: str) -> list[dict[str, Any]]:
        """Return what is said until the kernel has dealt with a message."""
        heard = []
        while True:
            heard.append(await self.hear())
            ours = heard[-1]["parent_header"].get("msg_id") == message_id
            if ours and heard[-1]["content"].get("execution_state") == "idle":
                return heard

    async def states(self) -> dict[str, dict[str, Any]]:
        """Return the state of every widget, by its id."""
        comm = uuid.uuid4().hex
        opened = {"comm_id": comm, "target_name": "jupyter.widget.control", "data": {}}
        self.say("comm_open", opened, version="1.0.0")
        asked = self.say("comm_msg", {"comm_id": comm, "data": {"method": "request_states"}})
        for message in await self.until_idle(asked):
            if message["header"]["msg_type"] == "comm_msg" and message["content"]["comm_id"] == comm:
                states = message["content"]["data"]["states"]
                return {key: {"_model_name": it["model_name"], **it["state"]} for key, it in states.items()}
        raise AssertionError("the kernel did not tell its widgets' states")

    def find(self, model: str, **state: Any) -> str:
        """Return the id of the widget of that model whose state says so."""
        (found, *_) = (
            key
            for key, value in self.widgets.items()
            if value.get("_model_name") == model and state.items() <= value.items()
        )
        return found

    async def go(self) -> None:
        """Leave, as a closed tab does."""
        self.line.close()
        address = f"{self.url}voila/api/shutdown/{self.kernel}?{self.token}"
        await AsyncHTTPClient().fetch(address, method="POST", body=b"")
