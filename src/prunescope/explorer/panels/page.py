"""What only the page can do: save a file, show the state in its address, copy that address."""

from __future__ import annotations

from pathlib import Path

import traitlets

from prunescope.explorer.bridge import Bridge

_HERE = Path(__file__).parent


class Page(Bridge):
    """A bridge to the page; it shows a button that copies the address where the address carries the state.

    Attributes:
        query: The state as the query of the page's address; "" where the address is not ours to change.
    """

    _esm = (_HERE / "page.js").read_text("utf-8")
    query = traitlets.Unicode("").tag(sync=True)

    def save(self, name: str, content: bytes) -> None:
        """Have the page save ``content`` as a file, as its browser saves downloads."""
        self.send({"type": "save", "name": name}, buffers=[content])
