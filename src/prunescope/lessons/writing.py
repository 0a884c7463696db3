"""Formatting of numbers and sentences in lessons."""

from __future__ import annotations

import re
from html import escape

from torch import Tensor


def signed(value: float) -> str:
    """Format a weight for a cell, with a real minus sign.

    Example:
        >>> signed(-0.25), signed(3.0), signed(-0.0)
        ('−0.25', '3', '0')
    """
    return f"{value + 0.0:.4g}".replace("-", "−")


def shortened(value: object) -> str:
    """Describe an unexpected value, short enough for an error message.

    Example:
        >>> shortened(Tensor(2, 3)), shortened("x" * 99)
        ('a tensor of shape (2, 3)', "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…")
    """
    if isinstance(value, Tensor) and value.ndim:
        return f"a tensor of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 41 else f"{text[:40]}…"


def as_html(text: str) -> str:
    """Convert ``text`` to HTML, with backticks as code and asterisks as emphasis.

    Example:
        >>> as_html("Is `a < b` *always*?")
        'Is <code>a &lt; b</code> <em>always</em>?'
    """
    coded = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return re.sub(r"\*([^*\s][^*]*)\*", r"<em>\1</em>", coded)
