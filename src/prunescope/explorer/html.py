"""Pieces of HTML that several panels share, and showing or hiding a widget."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import ipywidgets as widgets


def message() -> widgets.HTML:
    """Return a widget for one sentence beside a control, hidden until there is one."""
    made = widgets.HTML().add_class("ps-message")
    show(made, False)
    return made


def say(widget: widgets.HTML, text: str, *, problem: bool = True) -> None:
    """Show ``text`` in a widget that `message` made, as a problem or a note; hide it if empty."""
    kind, role = ("ps-problem", "alert") if problem else ("ps-note", "note")
    widget.value = f'<div role="{role}" class="{kind}">{escape(text)}</div>' if text else ""
    show(widget, bool(text))


def show(widget: widgets.Widget, visible: bool) -> None:
    """Show ``widget``, or take it out of the layout."""
    widget.layout.display = None if visible else "none"


def hide(widget: widgets.Widget, hidden: bool) -> None:
    """Hide ``widget`` for a link or `hide=`, whatever `show` has set."""
    (widget.add_class if hidden else widget.remove_class)("ps-hidden")


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return an HTML table with a header row; every cell is escaped text.

    Example:
        >>> table(["Class"], [["<7>"]])
        '<table class="ps-table"><thead><tr><th scope="col">Class</th></tr></thead><tbody><tr><td>&lt;7&gt;</td></tr></tbody></table>'
    """  # noqa: E501
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    return f'<table class="ps-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
