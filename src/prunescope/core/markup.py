"""Tables and sentences as values, and the one place where they become HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Table:
    """A table of plain text.

    Attributes:
        heads: What each column is called; an empty one is a corner without a name.
        rows: Its lines; the first cell of each says what the line is about. What follows a line break in that
            cell is set smaller.
        caption: What the whole tells, or "".
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    @property
    def html(self) -> str:
        """Return it as HTML."""
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        heads = "".join(
            f'<th scope="col">{escape(head)}</th>' if head else "<td></td>" for head in self.heads
        )
        lines = "".join(
            f'<tr><th scope="row">{_two_lines(first)}</th>'
            f"{''.join(f'<td>{escape(cell)}</td>' for cell in rest)}</tr>"
            for first, *rest in self.rows
        )
        return f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


@dataclass(frozen=True)
class Sentence:
    """A paragraph of plain text; what stands in `backticks` is code, in **asterisks** it is bold.

    Attributes:
        text: The text.
        names: What its ``{}`` stand for: names that are shown as code, whatever they hold.
        note: Whether it is a remark about what is missing.
    """

    text: str
    names: tuple[str, ...] = ()
    note: bool = False

    @property
    def html(self) -> str:
        """Return it as HTML."""
        text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(self.text, quote=False))
        text = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
        for name in self.names:
            text = text.replace("{}", f"<code>{escape(name)}</code>", 1)
        return f'<p class="ps-note">{text}</p>' if self.note else f"<p>{text}</p>"


Block = Table | Sentence


def html_of(blocks: Iterable[Block]) -> str:
    """Return tables and sentences as HTML, in their order.

    Example:
        >>> html_of([Sentence("Call `remove` on {}: **3** are left.", ("<a>",))])
        '<p>Call <code>remove</code> on <code>&lt;a&gt;</code>: <b>3</b> are left.</p>'
        >>> html_of([Table(("", "Bytes"), (("dense", "8"),))])[:43]
        '<table><thead><tr><td></td><th scope="col">'
    """
    return "".join(block.html for block in blocks)


def _head(text: str) -> str:
    return f'<th scope="col">{escape(text)}</th>' if text else "<td></td>"


def _two_lines(text: str) -> str:
    first, _, second = text.partition("\n")
    return escape(first) + (f"<br><small>{escape(second)}</small>" if second else "")
