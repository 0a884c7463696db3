"""A field of the spec as an attribute of the explorer: read it, or set it to ask for another value."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar, overload

from prunescope.core.spec import PruneSpec

Read = TypeVar("Read")
Written = TypeVar("Written")


class HasSpec(Protocol):
    """An object with such attributes: it has a spec, and takes requests for another."""

    @property
    def spec(self) -> PruneSpec:
        """The current spec."""

    def ask(self, **changes: Any) -> None:
        """Request changes, and raise if they are refused."""


class SpecField(Generic[Read, Written]):
    """An attribute that reads a field of the spec, and requests a change when set.

    Args:
        says: Its docstring.
    """

    def __init__(self, says: str) -> None:
        self.__doc__ = says

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, explorer: None, owner: type) -> SpecField[Read, Written]: ...

    @overload
    def __get__(self, explorer: HasSpec, owner: type) -> Read: ...

    def __get__(self, explorer: HasSpec | None, owner: type) -> SpecField[Read, Written] | Read:
        return self if explorer is None else getattr(explorer.spec, self._name)

    def __set__(self, explorer: HasSpec, value: Written) -> None:
        explorer.ask(**{self._name: value})
