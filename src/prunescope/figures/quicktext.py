"""A line of text that changes often, drawn on the screen as one bitmap.

Matplotlib places every letter on its own, to a fraction of a pixel: 2 ms for a line. Upright text that a
person reads while it changes can do without; on paper (SVG, PDF) it is drawn as ever.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgba
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text
from numpy.typing import NDArray


class QuickText(Text):
    """Text of one line, upright, anchored by its baseline or its middle, by its left end or its middle.

    Takes what `matplotlib.text.Text` takes.

    Example:
        >>> from matplotlib.backends.backend_agg import FigureCanvasAgg
        >>> from matplotlib.figure import Figure
        >>> figure = Figure(figsize=(2, 1))
        >>> canvas = FigureCanvasAgg(figure)
        >>> text = figure.add_artist(QuickText(0.5, 0.5, "0.25", ha="center", va="center"))
        >>> canvas.draw()
        >>> bool((np.asarray(canvas.buffer_rgba())[..., 0] < 100).any())
        True
    """

    def draw(self, renderer: Any) -> None:
        """Draw the text, on a screen as one bitmap."""
        if not isinstance(renderer, RendererAgg):
            super().draw(renderer)
            return
        if self.get_visible() and self.get_text():
            self._draw_bitmap(renderer)
        self.stale = False

    def _draw_bitmap(self, renderer: RendererAgg) -> None:
        font = get_font(findfont(self.get_fontproperties()))
        font.set_size(float(self.get_fontsize()), renderer.dpi)
        font.set_text(self.get_text(), 0.0)
        font.draw_glyphs_to_bitmap(antialiased=True)
        cover = np.asarray(font.get_image())
        x, y = self.get_transform().transform(self.get_unitless_position())
        x += font.get_bitmap_offset()[0] / 64
        if self.get_horizontalalignment() == "center":
            x -= cover.shape[1] / 2
        y -= cover.shape[0] / 2 if self.get_verticalalignment() == "center" else font.get_descent() / 64
        context = renderer.new_gc()
        if self.get_clip_on():
            context.set_clip_rectangle(self.get_clip_box())
        renderer.draw_image(context, round(x), round(y), _coloured(cover, self.get_color()))
        context.restore()


def _coloured(cover: NDArray[np.uint8], colour: Any) -> NDArray[np.uint8]:
    """Return pixels of ``colour``, as opaque as ``cover`` says, from the bottom up."""
    red, green, blue, alpha = to_rgba(colour)
    pixels = np.empty((*cover.shape, 4), np.uint8)
    pixels[..., :3] = np.rint(np.multiply((red, green, blue), 255))
    pixels[..., 3] = cover[::-1] if alpha == 1 else cover[::-1] * alpha
    return pixels
