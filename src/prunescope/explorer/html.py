"""Pieces of HTML that several panels share, and showing or hiding a widget."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import ipywidgets as widgets

from prunescope.core.glossary import meaning, on_page


def message() -> widgets.HTML:
    """Return a widget for one sentence beside a control, hidden until there is one."""
    made = widgets.HTML().add_class("ps-message")
    show(made, False)
    return made


def say(widget: widgets.HTML, text: str, *, problem: bool = True) -> None:
    """Show ``text`` in a widget that `message` made, as a problem or a note; hide it if empty.

    Parameters that have a control are named as the page labels them.
    """
    kind, role = ("ps-problem", "alert") if problem else ("ps-note", "note")
    widget.value = f'<div role="{role}" class="{kind}">{escape(on_page(text))}</div>' if text else ""
    show(widget, bool(text))


def show(widget: widgets.Widget, visible: bool) -> None:
    """Show ``widget``, or take it out of the layout."""
    widget.layout.display = None if visible else "none"


def hide(widget: widgets.Widget, hidden: bool) -> None:
    """Hide ``widget`` for a link or `hide=`, whatever `show` has set."""
    (widget.add_class if hidden else widget.remove_class)("ps-hidden")


_DISABLED = " Disabled: "

LOCKED = "locked here."
"""Why a control is disabled that `lock=` or a link locks."""


def enable(control: widgets.Widget, why: str = "") -> None:
    """Enable ``control``, or disable it and have its tooltip say why.

    Args:
        control: A widget whose tooltip says what it is.
        why: Why it is disabled, in a few words with a full stop; "" enables it.

    Example:
        >>> undo = widgets.Button(tooltip="Undo the last step.")
        >>> enable(undo, "there is no step.")
        >>> undo.disabled, undo.tooltip
        (True, 'Undo the last step. Disabled: there is no step.')
        >>> enable(undo)
        >>> undo.disabled, undo.tooltip
        (False, 'Undo the last step.')
        >>> undo.close()
    """
    control.disabled = bool(why)
    says = (control.tooltip or "").partition(_DISABLED)[0]
    control.tooltip = f"{says}{_DISABLED}{why}" if why else says


def explain(control: widgets.Widget, says: str) -> None:
    """Have the tooltip of ``control`` say what it is; why it is disabled, if it is, stays.

    What stays the same is not sent to the page again.

    Example:
        >>> norm = widgets.Dropdown(tooltip="The order.")
        >>> enable(norm, "the method does not use it.")
        >>> explain(norm, "The largest magnitude.")
        >>> norm.tooltip
        'The largest magnitude. Disabled: the method does not use it.'
        >>> norm.close()
    """
    _, disabled, why = (control.tooltip or "").partition(_DISABLED)
    control.tooltip = says + disabled + why


def fact(name: str, value: str, style: str = "", default: str = "") -> str:
    """Return a number with its name as HTML; the glossary's entry is its tooltip.

    Args:
        name: What the number is, an entry of `prunescope.core.glossary.GLOSSARY`.
        value: The number.
        style: CSS of the whole.
        default: The tooltip of a name that is not in the glossary.
    """
    styled = f' style="{style}"' if style else ""
    return (
        f'<span class="ps-fact"{styled}><abbr class="ps-name" title="{escape(meaning(name, default))}">'
        f'{escape(name)}</abbr> <span class="ps-value">{escape(value)}</span>'
        '<span class="ps-stop">. </span></span>'
    )


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return an HTML table with a header row; every cell is escaped text.

    Example:
        >>> table(["Class"], [["<7>"]])
        '<table class="ps-table"><thead><tr><th scope="col">Class</th></tr></thead><tbody><tr><td>&lt;7&gt;</td></tr></tbody></table>'
    """  # noqa: E501
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    return f'<table class="ps-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
