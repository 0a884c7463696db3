"""Set up the explorer for a lesson: show only what the lesson is about."""

from __future__ import annotations

from prunescope.core.errors import RequestError
from prunescope.explorer.panels import PANELS
from prunescope.explorer.state.link import HIDEABLE
from prunescope.lessons.writing import shortened


def all_but(*shown: str) -> tuple[str, ...]:
    """Return names for ``explore(hide=...)`` that hide everything except ``shown``.

    Args:
        *shown: Names of controls and panels, such as ``"amount"`` or ``"steps"``.

    Raises:
        RequestError: A name is unknown.

    Example:
        >>> "seed" in all_but("amount"), "amount" in all_but("amount")
        (True, False)
    """
    hideable = (*HIDEABLE, *(panel.name for panel in PANELS))
    for name in shown:
        if name not in hideable:
            raise RequestError(
                "shown", f"`shown` must be some of {', '.join(hideable)}, got {shortened(name)}."
            )
    return tuple(name for name in hideable if name not in shown)
