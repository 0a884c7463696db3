"""Histories saved under names, to return to and to compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS
from prunescope.session.history import History

MOST_PLANS = 50
"""Most plans that can be saved: their masks stay in memory."""

LONGEST_NAME = 60
"""Longest name of a plan, in characters."""


@dataclass(frozen=True, eq=False)
class Plans(Mapping[str, History]):
    """Histories by name, in the order they were saved. Immutable: every change returns new plans.

    Attributes:
        histories: The histories, each with all of its steps applied.

    Example:
        >>> list(Plans({"gentle": History()}).rename("gentle", "first"))
        ['first']
        >>> Plans()["gentle"]
        Traceback (most recent call last):
        prunescope.core.errors.RequestError: `plans` has none named 'gentle': there are none yet.
    """

    histories: Mapping[str, History] = field(default_factory=dict)

    def __getitem__(self, name: str) -> History:
        if not isinstance(name, str) or name not in self.histories:
            known = ", ".join(map(repr, self.histories))
            there = f"there are {known}" if known else "there are none yet"
            raise RequestError("plans", f"`plans` has none named {name!r}: {there}.")
        return self.histories[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.histories)

    def __len__(self) -> int:
        return len(self.histories)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.histories

    def keep(self, name: str, history: History) -> Plans:
        """Add the applied steps of ``history`` under ``name``; return the new plans.

        Raises:
            RequestError: The name is empty or already taken, there are no steps, or there are too many plans.
        """
        name = self._free(name)
        if not history.done:
            raise RequestError("plans", "`plans` keep applied steps, and there are none: apply one first.")
        if len(self) >= MOST_PLANS:
            raise RequestError("plans", f"`plans` can hold at most {MOST_PLANS}: remove one first.")
        return Plans({**self.histories, name: History(history.done, history.position)})

    def rename(self, old: str, new: str) -> Plans:
        """Rename the plan ``old`` to ``new``, in the same place; return the new plans.

        Raises:
            RequestError: There is no plan ``old``, or ``new`` is empty or already taken.
        """
        others = self.remove(old)
        free = others._free(new)
        return Plans({free if name == old else name: kept for name, kept in self.histories.items()})

    def remove(self, name: str) -> Plans:
        """Remove the plan ``name``; return the new plans.

        Raises:
            RequestError: There is no such plan.
        """
        _ = self[name]  # Raises if there is none.
        return Plans({other: kept for other, kept in self.histories.items() if other != name})

    def _free(self, name: object) -> str:
        """Strip ``name`` and check that a plan may have it."""
        text = name.strip() if isinstance(name, str) else ""
        if not text or len(text) > LONGEST_NAME or not text.isprintable():
            asked = repr(name) if not isinstance(name, str) or len(name) <= LONGEST_NAME else "a longer one"
            raise RequestError(
                "plans",
                f"`plans` must have names of 1 to {LONGEST_NAME} characters on one line, got {asked}.",
            )
        if text in METHODS:
            raise RequestError("plans", f"`plans` must not be named like a method, got {text!r}.")
        if text in self:
            raise RequestError("plans", f"`plans` already has {text!r}: choose another name.")
        return text
