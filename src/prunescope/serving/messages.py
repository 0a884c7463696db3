"""Validate messages from a page to its kernel: only the format that browsers send, of bounded size."""

from __future__ import annotations

import itertools
import json
import math

PROTOCOL = "v1.kernel.websocket.jupyter.org"
"""The WebSocket subprotocol of pages; Jupyter's older one has another format."""

CHANNELS = (b"shell", b"control", b"stdin")
"""The kernel channels that a page may send on."""

MOST_PARTS = 1000
"""Most parts of a message, including its buffers."""

MOST_JSON = 1 << 20
"""Largest total size of the JSON parts, in bytes; uploads come in buffers."""

MOST_VALUES = 100_000
"""Most values in each JSON part: an empty list takes three bytes as text, but about sixty in memory."""


def check(said: bytes) -> None:
    """Check that ``said`` is a valid message, without using much more memory than its size.

    Raises:
        ValueError: It is not valid, or exceeds a limit.
    """
    spans = _spans(said)
    if sum(stop - start for start, stop in spans[:4]) > MOST_JSON:
        raise ValueError("more JSON than a page has to say")
    for start, stop in spans[:4]:
        _check_object(said[start:stop])


def _spans(said: bytes) -> list[tuple[int, int]]:
    """Return the span of each part in ``said``: header, parent header, metadata, content, buffers."""
    if not isinstance(said, bytes):
        raise ValueError("text, where bytes are spoken")
    count = int.from_bytes(said[:8], "little")
    if not 6 <= count <= MOST_PARTS:
        raise ValueError(f"{count - 2} parts")
    offsets = [int.from_bytes(said[8 * i : 8 * i + 8], "little") for i in range(1, count + 1)]
    # Jupyter would copy each of the overlapping parts: up to a thousand times the message.
    if offsets != sorted(offsets) or offsets[0] < 8 * (count + 1) or offsets[-1] > len(said):
        raise ValueError("parts that do not lie one after another")
    if said[offsets[0] : offsets[1]] not in CHANNELS:
        raise ValueError("on no channel of a page")
    return list(itertools.pairwise(offsets))[1:]


def _check_object(part: bytes) -> None:
    """Check that ``part`` is a JSON object with finite numbers, as browsers write it.

    A kernel would accept NaN and infinities, but could not write them into its responses.
    """
    if sum(part.count(sign) for sign in (b"[", b"{", b",")) > MOST_VALUES:
        raise ValueError("more values than a page has to say")
    if not isinstance(json.loads(part, parse_constant=_finite, parse_float=_finite), dict):
        raise ValueError("not an object")


def _finite(number: str) -> float:
    if not math.isfinite(float(number)):
        raise ValueError(f"{number[:40]} is not finite")
    return float(number)
