"""Histories kept under names: what one comes back to, and compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS
from prunescope.session.history import History

MOST_PLANS = 50
"""Plans that are kept at the most: their masks stay in memory."""

LONGEST_NAME = 60
"""Characters of a plan's name at the most."""


@dataclass(frozen=True, eq=False)
class Plans(Mapping[str, History]):
    """Histories by name, in the order they were kept. Immutable: every change returns other plans.

    Attributes:
        histories: The histories, each with all of its steps carried out.

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
        """Return the plans with the steps that ``history`` has carried out kept under ``name``.

        Raises:
            RequestError: The name is none or is taken, there are no steps, or there are too many plans.
        """
        name = self._free(name)
        if not history.done:
            raise RequestError("plans", "`plans` keep steps, and none is carried out: apply one first.")
        if len(self) >= MOST_PLANS:
            raise RequestError("plans", f"`plans` are at most {MOST_PLANS}: remove one first.")
        return Plans({**self.histories, name: History(history.done, history.position)})

    def rename(self, old: str, new: str) -> Plans:
        """Return the plans with the one named ``old`` named ``new``, in the same place.

        Raises:
            RequestError: There is no plan ``old``, or ``new`` is no name or is taken.
        """
        others = self.remove(old)
        free = others._free(new)
        return Plans({free if name == old else name: kept for name, kept in self.histories.items()})

    def remove(self, name: str) -> Plans:
        """Return the plans without the one named ``name``.

        Raises:
            RequestError: There is none.
        """
        _ = self[name]  # Raises where there is none.
        return Plans({other: kept for other, kept in self.histories.items() if other != name})

    def _free(self, name: object) -> str:
        """Return ``name`` without space around it, if a plan can be given it."""
        text = name.strip() if isinstance(name, str) else ""
        if not text or len(text) > LONGEST_NAME or not text.isprintable():
            asked = repr(name) if not isinstance(name, str) or len(name) <= LONGEST_NAME else "a longer one"
            raise RequestError(
                "plans", f"`plans` have names of 1 to {LONGEST_NAME} letters on one line, got {asked}."
            )
        if text in METHODS:
            raise RequestError("plans", f"`plans` may not be named as a method is, got {text!r}.")
        if text in self:
            raise RequestError("plans", f"`plans` has one named {text!r} already: choose another name.")
        return text
