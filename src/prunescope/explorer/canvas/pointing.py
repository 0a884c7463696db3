"""Mouse and keyboard on the pictures, through ipympl's events.

The threshold can be dragged by its line, from the space beside the bars, or from a bar once the pointer has
moved; a click on a bar prunes or keeps that channel. Hovering shows values, and the cursor tells which of the
two a press would begin. Arrow keys prune one unit more or less; Shift with left and right moves along the
bars, Space clicks.
"""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.backend_bases import Event, KeyEvent, MouseEvent

from prunescope.core.preview import Preview
from prunescope.explorer.canvas.canvas import LiveCanvas
from prunescope.figures import Place

_STEPS = {"left": -1, "down": -1, "right": 1, "up": 1}
_LEAPS = {"pagedown": -1, "pageup": 1}
_WALK = {"shift+left": -1, "shift+right": 1}

_SLACK = 4
"""Pixels that a click may move, at 100 dots per inch; anything farther is a drag."""


class Pointing:
    """Turns pointer and key events on the pictures into requests and readings.

    The canvas holds the explorer's lock while it passes an event on.

    Args:
        canvas: The pictures.
        units_up_to: Called with a preview and a score; returns how many units a threshold there prunes.
        ask: Called with the number of units to prune.
        turn: Called with a channel to prune or keep by hand.
        say: Called with what a screen reader should say of the channel reached by key.
    """

    def __init__(
        self,
        canvas: LiveCanvas,
        units_up_to: Callable[[Preview, float], int],
        ask: Callable[[int], object],
        turn: Callable[[int], object],
        say: Callable[[str], object],
    ) -> None:
        self._canvas = canvas
        self._units_up_to = units_up_to
        self._ask = ask
        self._turn = turn
        self._say = say
        self._dragging = False
        self._pressed: tuple[int, float, float] | None = None
        for name, act in {
            "button_press_event": self._press,
            "motion_notify_event": self._move,
            "button_release_event": self._release,
            "figure_leave_event": self._leave,
            "key_press_event": self._key,
        }.items():
            canvas.widget.mpl_connect(name, act)

    # The pointer.

    def _press(self, event: Event) -> None:
        assert isinstance(event, MouseEvent)
        if event.button != 1 or event.dblclick or self._canvas.widget.toolbar.mode:
            return
        bar = self._bar_at(event)
        if bar is not None:
            self._pressed = bar, event.x, event.y
        else:
            self._dragging = True
            self._drag(event)

    def _bar_at(self, event: MouseEvent) -> int | None:
        if event.xdata is None or event.ydata is None:
            return None
        return self._canvas.picture.bar_at(event.inaxes, event.xdata, event.ydata)

    def _move(self, event: Event) -> None:
        assert isinstance(event, MouseEvent)
        if not getattr(event, "buttons", True):
            self._dragging, self._pressed = False, None  # The button was released outside the picture.
        if self._pressed is not None and self._left_bar(event):
            self._dragging, self._pressed = True, None
        if self._dragging:
            self._drag(event)
        elif self._pressed is None:
            self._hover(event)

    def _left_bar(self, event: MouseEvent) -> bool:
        assert self._pressed is not None
        _, x, y = self._pressed
        slack = _SLACK * self._canvas.picture.figure.dpi / 100
        return max(abs(event.x - x), abs(event.y - y)) > slack

    def _release(self, event: Event) -> None:
        """Also handle the last position of a drag: the page throttles moves, and may have dropped it."""
        assert isinstance(event, MouseEvent)
        if self._pressed is not None and not self._left_bar(event):
            self._turn(self._pressed[0])
        elif self._dragging or self._pressed is not None:
            self._drag(event)
        self._dragging, self._pressed = False, None

    def _leave(self, event: Event) -> None:
        self._point(None)

    def _hover(self, event: MouseEvent) -> None:
        if event.xdata is None or event.ydata is None:
            self._point(None)
            return
        picture = self._canvas.picture
        self._point(picture.place_at(event.inaxes, event.xdata, event.ydata))
        if not self._canvas.widget.toolbar.mode:
            self._canvas.set_cursor(picture.cursor_at(event.inaxes, event.xdata, event.ydata))

    def _drag(self, event: MouseEvent) -> None:
        """Request as many units as a threshold under the pointer prunes."""
        if event.xdata is None or event.ydata is None:
            return
        picture = self._canvas.picture
        score = picture.score_at(event.inaxes, event.xdata, event.ydata)
        if score is None or picture.shown is None:
            return
        preview = picture.shown[0]
        pruned = self._units_up_to(preview, score)
        if pruned != preview.asked_units:
            self._ask(pruned)

    def _point(self, place: Place | None) -> None:
        if place != self._canvas.picture.place:
            self._canvas.point(place)

    # The keys.

    def _key(self, event: Event) -> None:
        assert isinstance(event, KeyEvent)
        shown = self._canvas.picture.shown
        key = event.key or ""
        if shown is None:
            return
        if key in _WALK:
            self._walk(shown[0], _WALK[key])
        elif key == " ":
            self._click()
        else:
            self._step(shown[0], _STEPS.get(key, 0) + _LEAPS.get(key, 0) * max(1, shown[0].most // 20))

    def _step(self, preview: Preview, step: int) -> None:
        """Request ``step`` more units, as far as there are any."""
        if step:
            self._ask(min(max(preview.asked_units + step, 0), preview.most))

    def _walk(self, preview: Preview, step: int) -> None:
        """Point at the next bar, and read it out."""
        picture = self._canvas.picture
        channel = picture.next_channel(step)
        if channel is not None:
            self._point(Place(channel, None))
            self._say(picture.reading()[1])

    def _click(self) -> None:
        picture = self._canvas.picture
        if picture.place is not None and picture.next_channel(0) is not None:
            self._turn(picture.place.channel)
            self._say(picture.reading()[1])
