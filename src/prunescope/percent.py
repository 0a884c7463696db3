"""How a fraction is written for people, everywhere the same."""


def percent(fraction: float) -> str:
    """Return a fraction as people read it, with one decimal.

    Example:
        >>> percent(0.25)
        '25.0 %'
    """
    return f"{100 * fraction:.1f} %"
