"""The pictures under the hand, by ipympl's own events: drag the threshold, hover to read, step by keys."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.backend_bases import Event, KeyEvent, MouseEvent

from prunescope.explorer.canvas import LiveCanvas
from prunescope.figures import Place
from prunescope.preview import Preview

_STEPS = {"left": -1, "down": -1, "right": 1, "up": 1}


class Pointing:
    """Turns the pointer and the arrow keys over the pictures into requests and readings.

    The canvas holds the explorer's lock while it hands an event on.

    Args:
        canvas: The pictures.
        units_up_to: Called with a preview and a score; returns how many units a threshold there prunes.
        ask: Called with the number of units to prune.
    """

    def __init__(
        self,
        canvas: LiveCanvas,
        units_up_to: Callable[[Preview, float], int],
        ask: Callable[[int], object],
    ) -> None:
        self._canvas = canvas
        self._units_up_to = units_up_to
        self._ask = ask
        self._dragging = False
        self._place: Place | None = None
        for name, act in {
            "button_press_event": self._press,
            "motion_notify_event": self._move,
            "button_release_event": self._release,
            "figure_leave_event": self._leave,
            "key_press_event": self._step,
        }.items():
            canvas.widget.mpl_connect(name, act)

    def _press(self, event: Event) -> None:
        assert isinstance(event, MouseEvent)
        if event.button == 1 and not self._canvas.widget.toolbar.mode:
            self._dragging = True
            self._drag(event)

    def _move(self, event: Event) -> None:
        assert isinstance(event, MouseEvent)
        if self._dragging and not getattr(event, "buttons", True):
            self._dragging = False  # The button was let go beside the picture.
        if self._dragging:
            self._drag(event)
        elif event.xdata is None or event.ydata is None:
            self._point(None)
        else:
            self._point(self._canvas.picture.place_at(event.inaxes, event.xdata, event.ydata))

    def _release(self, event: Event) -> None:
        self._dragging = False

    def _leave(self, event: Event) -> None:
        self._point(None)

    def _drag(self, event: MouseEvent) -> None:
        """Ask for as many units as a threshold under the pointer prunes."""
        if event.xdata is None or event.ydata is None:
            return
        picture = self._canvas.picture
        score = picture.score_at(event.inaxes, event.xdata, event.ydata)
        if score is None or picture.shown is None:
            return
        self._place = None
        preview = picture.shown[0]
        pruned = self._units_up_to(preview, score)
        if pruned != preview.pruned_units:
            self._ask(pruned)

    def _point(self, place: Place | None) -> None:
        if place != self._place:
            self._place = place
            self._canvas.point(place)

    def _step(self, event: Event) -> None:
        """Ask for one unit more or less; with Shift for a hundredth of all."""
        assert isinstance(event, KeyEvent)
        shown = self._canvas.picture.shown
        key = event.key or ""
        step = _STEPS.get(key.removeprefix("shift+"), 0)
        if shown is None or step == 0:
            return
        preview = shown[0]
        if key.startswith("shift+"):
            step *= max(1, preview.units // 100)
        self._ask(min(max(preview.pruned_units + step, 0), preview.units))
