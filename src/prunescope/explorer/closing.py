"""What a widget holds: closed with it, since ipywidgets leaves it open; told to its page again."""

from __future__ import annotations

from collections.abc import Iterator

from ipywidgets import HTML, Button, Layout, Widget

MISSED: tuple[tuple[type[Widget], str], ...] = ((HTML, "value"), (Layout, "display"), (Button, "disabled"))
"""What changes by itself, without a hand: trait by kind of widget."""


def close_tree(widget: Widget) -> None:
    """Close ``widget``, its layout and style, and all widgets it holds; stop observing them."""
    for held in list(_held(widget)):
        close_tree(held)
    widget.unobserve_all()
    Widget.close(widget)


def tell_again(widget: Widget) -> None:
    """Send the page what it may have missed of ``widget`` and all that it holds.

    A page that opens asks for the state of all widgets and then makes its own of them; what the kernel says
    in between is about widgets that the page does not know yet, and is lost.
    """
    for held in _held(widget):
        tell_again(held)
    names = [name for kind, name in MISSED if isinstance(widget, kind)]
    if names:
        widget.send_state(names)


def _held(widget: Widget) -> Iterator[Widget]:
    for name in widget.keys:
        value = getattr(widget, name, None)
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, Widget) and each is not widget:
                yield each
