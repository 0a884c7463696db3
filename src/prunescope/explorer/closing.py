"""Close a widget with all that it holds; ipywidgets leaves layouts, styles and children open."""

from __future__ import annotations

from collections.abc import Iterator

from ipywidgets import Widget


def close_tree(widget: Widget) -> None:
    """Close ``widget``, its layout and style, and all widgets it holds; stop observing them."""
    for held in list(_held(widget)):
        close_tree(held)
    widget.unobserve_all()
    Widget.close(widget)


def _held(widget: Widget) -> Iterator[Widget]:
    for name in widget.keys:
        value = getattr(widget, name, None)
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, Widget) and each is not widget:
                yield each
