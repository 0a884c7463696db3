"""Text that changes often, drawn on screen as one bitmap assembled from cached words.

Matplotlib places every letter on its own, to a fraction of a pixel: 2 ms for a line. Horizontal text that
changes while it is read does not need that; in SVG and PDF it is drawn as usual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgba
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text
from numpy.typing import NDArray


class QuickText(Text):
    """One line of horizontal text, anchored by baseline or middle, and by left end or middle.

    Takes the arguments of `matplotlib.text.Text`.

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
        """Draw the text, on screen as one bitmap."""
        if not isinstance(renderer, RendererAgg):
            super().draw(renderer)
            return
        if self.get_visible() and self.get_text():
            self._draw_bitmap(renderer)
        self.stale = False

    def _draw_bitmap(self, renderer: RendererAgg) -> None:
        path, size = findfont(self.get_fontproperties()), float(self.get_fontsize())
        cover, left, below = _line(path, size, renderer.dpi, self.get_text())
        x, y = self.get_transform().transform(self.get_unitless_position())
        x += left
        if self.get_horizontalalignment() == "center":
            x -= cover.shape[1] / 2
        y -= cover.shape[0] / 2 if self.get_verticalalignment() == "center" else below
        context = renderer.new_gc()
        if self.get_clip_on():
            context.set_clip_rectangle(self.get_clip_box())
        renderer.draw_image(context, round(x), round(y), _coloured(cover, self.get_color()))
        context.restore()


def text_width(text: Text, words: str) -> float:
    """Return the width in pixels of ``words`` in the font of ``text``, at 100 dots per inch."""
    font = get_font(findfont(text.get_fontproperties()))
    font.set_size(float(text.get_fontsize()), 100)
    font.set_text(words, 0.0)
    return float(font.get_width_height()[0]) / 64


@dataclass(frozen=True)
class _Word:
    """The coverage of each pixel by a word, its offset, its advance, and its pixels below the baseline."""

    cover: NDArray[np.uint8]
    left: float
    advance: float
    below: int


@lru_cache(maxsize=1024)
def _word(path: str, size: float, dpi: float, word: str) -> _Word:
    font = get_font(path)
    font.set_size(size, dpi)
    font.set_text(word, 0.0)
    font.draw_glyphs_to_bitmap(antialiased=True)
    # The font keeps one image, and draws the next word into it.
    cover = np.array(font.get_image())
    width, height = font.get_width_height()
    above = (height - font.get_descent()) // 64 + 1  # Matplotlib leaves one line of pixels at the top.
    return _Word(cover, font.get_bitmap_offset()[0] / 64, width / 64, len(cover) - above)


def _line(path: str, size: float, dpi: float, text: str) -> tuple[NDArray[np.uint8], int, int]:
    """Return the coverage of each pixel by a line, its left end, and its pixels below the baseline.

    Most of a changing line are words drawn before, each with the space before it.
    """
    words = [_word(path, size, dpi, word) for word in re.split("(?= )", text)]
    starts = np.cumsum([0.0, *(word.advance for word in words[:-1])])
    places = [round(start + word.left) for start, word in zip(starts, words, strict=True)]
    below = max(word.below for word in words)
    height = below + max(len(word.cover) - word.below for word in words)
    ends = [place + word.cover.shape[1] for place, word in zip(places, words, strict=True)]
    line = np.zeros((height, max(ends) - places[0]), np.uint8)
    for word, first, end in zip(words, places, ends, strict=True):
        bottom = height - below + word.below
        part = line[bottom - len(word.cover) : bottom, first - places[0] : end - places[0]]
        np.maximum(part, word.cover, out=part)
    return line, places[0], below


def _coloured(cover: NDArray[np.uint8], colour: Any) -> NDArray[np.uint8]:
    """Return pixels of ``colour`` with opacity ``cover``, bottom up."""
    red, green, blue, alpha = to_rgba(colour)
    pixels = np.empty((*cover.shape, 4), np.uint8)
    pixels[..., :3] = np.rint(np.multiply((red, green, blue), 255))
    pixels[..., 3] = cover[::-1] if alpha == 1 else cover[::-1] * alpha
    return pixels
