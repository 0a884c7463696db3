"""How much a page may say, and how much waits for one that does not listen."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from prunescope.serving import rates
from prunescope.serving.handlers import Channels
from prunescope.serving.rates import Allowance, Allowances
from prunescope.serving.sessions import Sessions

KERNEL = "8d0e4f1c-8a4f-4f8e-9a53-0f1e2d3c4b5a"
PART = 1 << 20


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_was_taken_comes_back_at_its_rate_and_never_exceeds_the_most() -> None:
    clock = Clock()
    allowance = Allowance(a_second=10, at_once=20, clock=clock)
    assert [allowance.take(10) for _ in range(3)] == [True, True, False]
    clock.now = 0.5
    assert [allowance.take(5), allowance.take(1)] == [True, False]
    clock.now = 1000.0
    assert [allowance.take(20), allowance.take(1)] == [True, False]


class Page(Channels):
    """A line whose page is a list of what the server tells it."""

    settings: Any = None

    def __init__(self, sessions: Any) -> None:
        self.settings = {"sessions": sessions}
        self.path_kwargs = {"kernel_id": KERNEL}
        self.heard: list[bytes] = []
        self.sent: list[asyncio.Future[None]] = []
        self.closed: list[tuple[int, str]] = []
        self.connection = SimpleNamespace(handle_incoming_message=self.heard.append)
        self.ws_connection: Any = SimpleNamespace(
            write_message=self._write,
            is_closing=lambda: False,
            close=lambda code, why: self.closed.append((code, why)),
        )

    @property
    def kernel_id(self) -> str:
        return KERNEL

    def _write(self, message: bytes, binary: bool) -> asyncio.Future[None]:
        self.sent.append(asyncio.get_running_loop().create_future())
        return self.sent[-1]


@pytest.fixture
def sessions() -> Sessions:
    sessions: Any = Sessions(SimpleNamespace(), limit=1, idle_timeout=60)  # type: ignore[arg-type]
    sessions.start(KERNEL, sessions.reserve())
    return sessions


def test_a_line_that_says_too_much_is_closed_and_the_session_goes_on(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rates, "MESSAGES_S", 0)
    monkeypatch.setattr(rates, "MOST_MESSAGES", 5)
    monkeypatch.setattr(sessions._open[KERNEL], "allowances", Allowances())
    page, other = Page(sessions), Page(sessions)
    with caplog.at_level(logging.WARNING, "prunescope.serving"):
        for _ in range(3):
            page.on_message(b"drag")
        for _ in range(100):
            other.on_message(b"flood")
    assert (len(page.heard), len(other.heard)) == (3, 2)  # What its lines say is counted together.
    assert [code for code, _ in other.closed] == [1008]
    (said,) = caplog.messages
    assert said.startswith("session 8d0e4f1c: a line was closed: its page says more than")
    assert KERNEL in sessions


def test_an_upload_and_a_fast_drag_pass(sessions: Sessions) -> None:
    page = Page(sessions)
    part = bytes(PART)
    for _ in range(1000):  # A file of 1 GB, faster than any kernel asks for it.
        page.on_message(part)
    for _ in range(5000):
        page.on_message(b"drag")
    assert len(page.heard) == 6000
    assert page.closed == []


def test_bytes_are_counted() -> None:
    allowances = Allowances()
    assert allowances.take(rates.MOST_BYTES) is None
    assert allowances.take(rates.MOST_BYTES) == "more than 256 MB a second"


def test_a_page_that_does_not_listen_is_left(sessions: Sessions, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> Page:
        page = Page(sessions)
        large = bytes(rates.MOST_UNSENT + 1)
        for _ in range(3):  # One that listens may be sent as much as there is.
            assert page.write_message(large, binary=True) is not None
            page.sent[-1].set_result(None)
            await asyncio.sleep(0)
        assert page.closed == []
        page.write_message(large, binary=True)
        assert page.write_message(b"one more", binary=True) is None
        assert page.write_message(b"and another", binary=True) is None
        return page

    page = asyncio.run(scene())
    assert len(page.sent) == 4
    assert [code for code, _ in page.closed] == [1008]
    assert "its page has not taken 64 MB" in caplog.text
