"""A widget without a face that measures how wide the picture may be; ipympl's canvas cannot tell."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

_HERE = Path(__file__).parent


class Ruler(anywidget.AnyWidget):
    """Measures the width of the column it lies in, and brings the explorer's style sheet along.

    Attributes:
        width: CSS pixels, 0 until a page has measured. Comes from the page: not to be trusted.
    """

    _esm = _HERE / "ruler.js"
    _css = _HERE / "explorer.css"
    width = traitlets.Int(0).tag(sync=True)
