"""Live pictures: figures on ipympl canvases, blitted while only the amount changes.

Axes, ticks and labels take most of a full drawing's time, so they are drawn once and kept as a background;
a step restores it and draws the few artists that changed. A full drawing (first picture, other layer, zoom,
resize, another screen) ends in matplotlib's draw event, where a new background is taken.
"""

from __future__ import annotations

import json
import warnings
from base64 import b64encode
from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from ipympl.backend_nbagg import Canvas, FigureManager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import Event
from matplotlib.backend_tools import Cursors
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from prunescope.explorer.canvas.png import png
from prunescope.explorer.canvas.sharpness import Sharpness
from prunescope.figures import Place, PruningFigure, Theme

DPI = 100
MIN_WIDTH, MAX_WIDTH = 280, 1600
MAX_PIXEL_RATIO = 3.0


class WholeFrames(Canvas):  # type: ignore[misc]
    """ipympl's canvas, sending whole pictures.

    ipympl sends differences from the last picture. If the next picture arrives before one is decoded, the
    page drops that one, and all later differences go on top of the wrong base. Whole pictures without
    transparency, lightly compressed, take no longer to make, and the last one is always right.

    Args:
        figure: What to show.
        lock: Held while a message of the page is handled: JupyterLab's arrive in another thread.

    Attributes:
        screen_ratio: Device pixels per CSS pixel of the screen; the picture may be coarser for a while.
    """

    def __init__(self, figure: Figure, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self._just_pressed = False
        self.screen_ratio = 1.0
        super().__init__(figure)

    def _handle_message(self, widget: Any, content: dict[str, Any], buffers: object) -> None:
        if content.get("type") == "resize":
            return  # The layout decides the size, by way of the ruler.
        if self._is_late(content):
            return
        for name in {"dpi_ratio", "device_pixel_ratio"} & set(content):
            self.screen_ratio = _pixel_ratio(content[name])
            content = {**content, name: self.screen_ratio}
        with self._lock:
            coarse = self.device_pixel_ratio / self.screen_ratio
            place: dict[str, Any] = {name: content[name] * coarse for name in ("x", "y") if name in content}
            super()._handle_message(widget, {**content, **place}, buffers)

    def _is_late(self, content: dict[str, Any]) -> bool:
        """Return whether this move happened before a press, and would look like a release of the button.

        The page throttles moves and sends the last of them up to 33 ms late, a press at once. At most one
        move is late; the next one without a button is real.
        """
        kind, pressed = content.get("type"), self._just_pressed
        if kind in ("button_press", "button_release", "motion_notify"):
            self._just_pressed = kind == "button_press"
        return pressed and kind == "motion_notify" and not content.get("buttons")

    def draw_unsent(self) -> None:
        """Draw the whole picture without sending it to the page."""
        FigureCanvasAgg.draw(self)  # type: ignore[no-untyped-call]

    def get_diff_image(self) -> bytes | None:
        """Return the picture as a PNG, or None if it has been sent already."""
        if not self._png_is_old:  # type: ignore[has-type]
            return None
        self._png_is_old = False
        return png(np.asarray(self.buffer_rgba()))


class Picture(Protocol):
    """A figure that is updated in place, such as `PruningFigure`, which documents each method."""

    figure: Figure
    theme: Theme

    @property
    def animated(self) -> Sequence[Artist]:
        """Return the artists that change with the amount."""

    def axes_of(self, artist: Artist) -> Axes:
        """Return the axes that draw ``artist``."""

    def update(self, *what: Any) -> bool:
        """Show ``what``; return whether the whole figure must be drawn again."""

    def refresh(self) -> None:
        """Redraw the visible part, after a zoom."""

    def fit(self) -> None:
        """Lay everything out for the figure's current size."""

    def height_at(self, width: int) -> int:
        """Return how many pixels high the figure should be to be ``width`` pixels wide."""

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of ``theme``."""


Shown = TypeVar("Shown", bound=Picture)


class PictureCanvas(Generic[Shown]):
    """A picture in the browser, updated in place.

    Args:
        picture: The figure to show.
        lock: Held while a message of the page is handled; callers of any method hold it too.

    Attributes:
        widget: ipympl's canvas.
        picture: The figure and its artists.
    """

    def __init__(self, picture: Shown, lock: AbstractContextManager[object]) -> None:
        self.picture = picture
        self.widget = WholeFrames(self.picture.figure, lock)
        # Without a page ipympl would keep every picture as a PNG in its state, in a form the page cannot
        # read; the page asks for its first picture itself.
        self.widget.syncing_data_url = False
        self.widget.header_visible = self.widget.footer_visible = False
        self.widget.add_class("ps-canvas")
        self.widget.toolbar_position = "bottom"
        self._manager = _manager(self.widget)
        self._manager.set_window_title("prunescope")  # The name of a picture that is saved.
        # Matplotlib's key bindings (q closes, k makes the axis logarithmic) would react to a stray key.
        self.widget.mpl_disconnect(self._manager.key_press_handler_id)
        self.widget.mpl_connect("draw_event", self._on_draw)
        self.widget.on_msg(self._on_message)
        self._sharpness = Sharpness(self._sharpen, lock)
        self._backgrounds: dict[float, Any] = {}
        self._filling = False
        self._width = round(DPI * self.picture.figure.get_figwidth())
        self._cursor = Cursors.POINTER

    def draw(self, *what: Any) -> None:
        """Show ``what`` the picture's ``update`` takes."""
        if not self.picture.update(*what):
            self._draw_step(self._sharpness.moving(self.widget.screen_ratio))
        elif not self._fit():
            self._draw_whole()

    def set_cursor(self, cursor: Cursors) -> None:
        """Show ``cursor`` over the picture; the page is told only of changes."""
        if cursor != self._cursor:
            self._cursor = cursor
            self.widget.set_cursor(cursor)

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of ``theme``."""
        if theme != self.picture.theme:
            self.picture.set_theme(theme)
            self._draw_whole()

    def _draw_whole(self) -> None:
        self.widget.toolbar.update()  # "Home" must not restore another layer's limits.
        self.widget.draw()

    def _draw_step(self, ratio: float) -> None:
        self.widget._set_device_pixel_ratio(ratio)
        if ratio in self._backgrounds:
            self.widget.restore_region(self._backgrounds[ratio])
            self._draw_animated()
        else:
            self._fill()
        self.widget.blit()

    def _fill(self) -> None:
        """Draw everything, and keep the static part of the picture for later steps at this pixel ratio."""
        self._filling = True
        try:
            self.widget.draw_unsent()
        finally:
            self._filling = False

    def _sharpen(self) -> None:
        """Redraw at the screen's full resolution, and be ready for a coarse step."""
        ratio = self.widget.screen_ratio
        if 1.0 not in self._backgrounds:
            self.widget._set_device_pixel_ratio(1.0)
            self._fill()
        if self.widget.device_pixel_ratio != ratio:
            self._draw_step(ratio)

    def page_stretches(self) -> None:
        """From now on draw coarse steps, which the page can stretch."""
        self._sharpness.stretches = True
        self._sharpness.rest()

    def save(self, format: str) -> None:
        """Have the page save the picture as a file, as ipympl's own button does.

        Args:
            format: A format that matplotlib writes, such as ``"png"``, ``"svg"`` or ``"pdf"``.
        """
        with BytesIO() as file:
            self.picture.figure.savefig(file, format=format, dpi=200)
            message = json.dumps({"type": "save", "format": format})
            self.widget.send({"data": message}, buffers=[file.getvalue()])

    def still(self) -> str:
        """Return the picture as a base64 PNG, for pages without a kernel."""
        with BytesIO() as file:
            self.picture.figure.savefig(file, format="png", dpi=100)
            return b64encode(file.getvalue()).decode()

    def set_width(self, pixels: int) -> None:
        """Make the picture ``pixels`` wide (CSS pixels), within legible limits."""
        self._width = min(max(pixels, MIN_WIDTH), MAX_WIDTH)
        self._fit()

    def _fit(self) -> bool:
        """Resize the figure to what it shows; return whether its size changed."""
        figure, width = self.picture.figure, self._width
        size = width / DPI, self.picture.height_at(width) / DPI
        if tuple(figure.get_size_inches()) == size:
            return False
        figure.set_size_inches(size, forward=False)
        self.picture.fit()
        self._backgrounds = {}
        self._manager.resize(*figure.bbox.size, forward=False)
        self._draw_whole()
        return True

    def _on_draw(self, event: Event) -> None:
        if self.picture.figure.canvas.is_saving():
            return  # Saving draws the animated artists too, on another canvas.
        self.picture.refresh()
        ratio, kept = self.widget.device_pixel_ratio, self._backgrounds if self._filling else {}
        self._backgrounds = {**kept, ratio: self.widget.copy_from_bbox(self.picture.figure.bbox)}
        self._draw_animated()
        if not self._filling and self.widget.screen_ratio != 1:
            self._sharpness.rest()

    def _draw_animated(self) -> None:
        for artist in self.picture.animated:
            self.picture.axes_of(artist).draw_artist(artist)

    def _on_message(self, _widget: Canvas, content: dict[str, Any], _buffers: object) -> None:
        if content.get("type") == "initialized":
            # The front end turns its resize handle on when it starts; here the layout decides the size.
            self.widget.resizable = True
            self.widget.resizable = False

    def close(self) -> None:
        """Stop listening; the widget itself is closed with its tree."""
        self.widget.on_msg(self._on_message, remove=True)
        self._sharpness.close()
        self._backgrounds = {}


class LiveCanvas(PictureCanvas[PruningFigure]):
    """The picture of a preview in the browser.

    Args:
        lock: Held while a message of the page is handled; callers of any method hold it too.
    """

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        super().__init__(PruningFigure(Figure(figsize=(9, 6), dpi=DPI)), lock)

    def point(self, place: Place | None) -> None:
        """Frame what is under the pointer and show its values."""
        self.picture.point(place)
        self._draw_step(self.widget.device_pixel_ratio)


def _manager(canvas: Canvas) -> FigureManager:
    """Return ipympl's manager of ``canvas``, and keep from the user a warning about its toolbar."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Passing unrecognized arguments to super.Toolbar", DeprecationWarning
        )
        return FigureManager(canvas, 0)


def _pixel_ratio(told: object) -> float:
    """Return the page's device pixels per CSS pixel, within what a picture may cost."""
    return min(MAX_PIXEL_RATIO, max(1.0, float(told))) if isinstance(told, int | float) else 1.0
