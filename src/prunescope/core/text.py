"""How numbers are written for people, everywhere the same."""

from __future__ import annotations

from prunescope.prune import Norm


def percent(fraction: float) -> str:
    """Return a fraction as people read it, with one decimal.

    Example:
        >>> percent(0.25)
        '25.0 %'
    """
    return f"{100 * fraction:.1f} %"


def number(value: float) -> str:
    """Return ``value`` to three digits, or whole where it has more: no exponent that an axis would not have.

    Example:
        >>> number(0.12345), number(8704.2), number(3.2e-7), number(2e9)
        ('0.123', '8,704', '3.2e-07', '2e+09')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def norm_name(n: Norm) -> str:
    """Return what a norm of order ``n`` is called.

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
