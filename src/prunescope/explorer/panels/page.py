"""The bridge to the page: save a file, keep the state in the address, copy the address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import traitlets

from prunescope.explorer.bridge import Bridge
from prunescope.explorer.state.link import PARAMETERS

_HERE = Path(__file__).parent


class Page(Bridge):
    """A bridge to the page, with a button that copies the address where the address carries the state.

    Attributes:
        ours: The parameters of the address that are ours.
        query: The state as the query of the page's address; "" if the address must not be changed.
    """

    _esm = (_HERE / "page.js").read_text("utf-8")
    query = traitlets.Unicode("").tag(sync=True)
    ours: Any = traitlets.List(list(PARAMETERS)).tag(sync=True)

    def save(self, name: str, content: bytes) -> None:
        """Have the page save ``content`` as a download."""
        self.send({"type": "save", "name": name}, buffers=[content])
