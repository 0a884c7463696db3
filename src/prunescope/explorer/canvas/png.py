"""Encode a picture as PNG in a tenth of Pillow's time, which tries every filter on every line."""

from __future__ import annotations

import struct
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

try:
    from isal.isal_zlib import compress  # As small as zlib makes it, in a tenth of the time.
except ImportError:  # Not built for every processor.
    from zlib import compress

_UP = 2  # PNG's filter "up": each line after the first is stored as the difference from the line above.


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode a picture as PNG.

    Most lines of a chart equal the one above, so the filter "up" is used throughout.
    See https://www.w3.org/TR/png-3/.

    Args:
        pixels: RGBA array of shape ``(height, width, 4)``; dropping alpha would take longer than compressing
            it.

    Example:
        >>> from io import BytesIO
        >>> from PIL import Image
        >>> Image.open(BytesIO(png(np.full((2, 3, 4), 7, np.uint8)))).getpixel((0, 0))
        (7, 7, 7, 7)
    """
    height, width, _ = pixels.shape
    lines = pixels.reshape(height, 4 * width)
    filtered = np.empty((height, 1 + 4 * width), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = lines[0]
    np.subtract(lines[1:], lines[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    body = compress(filtered.data, 1)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, data) for name, data in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(data, crc32(name)))
