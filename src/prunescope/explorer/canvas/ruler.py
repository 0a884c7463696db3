"""Headless widget that adds what ipympl lacks: page width and theme, an accessible name, faster frames."""

from __future__ import annotations

from pathlib import Path

import traitlets

from prunescope.core.preview import Preview
from prunescope.explorer.bridge import Bridge
from prunescope.figures import sentence

_HERE = Path(__file__).parent


class Ruler(Bridge):
    """Measures the page, picks its layout, names the picture for screen readers, and brings the style sheet.

    Attributes:
        width: CSS pixels, 0 until a page has been measured. Comes from the page: not to be trusted.
        panel_width: CSS pixels of the column of panels, 0 until a page has been measured. Comes from the
            page.
        dark: Whether the page is dark. Comes from the page.
        canvas: Model of the picture's canvas in the page, which it makes draw faster.
        hands: Models of the sliders and the canvas, whose pictures must not queue on their way to the page.
        stretches: Whether the page can stretch a coarse picture over the whole canvas. Comes from the page.
        value: What a screen reader says of the picture: ``pruned`` of ``units``, and a ``sentence``.
        others: What it says of other pictures, by the class of their container.
    """

    _esm = (_HERE / "ruler.js").read_text("utf-8")
    _css = (_HERE.parent / "explorer.css").read_text("utf-8")
    width = traitlets.Int(0).tag(sync=True)
    panel_width = traitlets.Int(0).tag(sync=True)
    dark = traitlets.Bool(False).tag(sync=True)
    canvas = traitlets.Unicode("").tag(sync=True)
    hands = traitlets.List(traitlets.Unicode()).tag(sync=True)
    stretches = traitlets.Bool(False).tag(sync=True)
    others = traitlets.Dict().tag(sync=True)
    value = traitlets.Dict({"pruned": 0, "units": 0, "sentence": ""}).tag(sync=True)

    def describe(self, preview: Preview) -> None:
        """Describe the picture of ``preview`` to screen readers."""
        self.value = {
            "pruned": preview.pruned_units,
            "units": preview.units,
            "sentence": sentence(preview),
        }

    def say(self, text: str) -> None:
        """Describe the picture by ``text``, until it shows something else."""
        self.value = {**self.value, "sentence": text}
