"""Format numbers for display, the same everywhere."""

from __future__ import annotations

from prunescope.prune import Norm


def percent(fraction: float) -> str:
    """Format a fraction as a percentage with one decimal.

    Example:
        >>> percent(0.25)
        '25.0 %'
    """
    return f"{100 * fraction:.1f} %"


def number(value: float) -> str:
    """Format ``value`` to three significant digits, with an exponent only where an axis would have one.

    Example:
        >>> number(0.12345), number(8704.2), number(3.2e-7), number(2e9)
        ('0.123', '8,704', '3.2e-07', '2e+09')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def norm_name(n: Norm) -> str:
    """Return the name of the norm of order ``n``.

    Example:
        >>> norm_name(2), norm_name(float("inf")), norm_name("fro")
        ('L2 norm', 'L∞ norm', 'Frobenius norm')
    """
    names: dict[Norm, str] = {
        "fro": "Frobenius norm",
        "nuc": "nuclear norm",
        float("inf"): "L∞ norm",
        float("-inf"): "L−∞ norm",
    }
    return names.get(n) or f"L{n:g} norm"
