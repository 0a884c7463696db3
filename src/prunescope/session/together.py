"""A step of many layers: a spec for each, and a title for the whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from prunescope.core.errors import RequestError
from prunescope.core.spec import Done, PruneSpec
from prunescope.core.text import percent

METHOD = "together"
"""Name of such a step in plans and links, where others name their method."""


@dataclass(frozen=True)
class Together:
    """Prunings applied, undone and redone as a whole. Immutable, and serialisable as JSON.

    Attributes:
        title: Its title, such as ``"50.0 % of weights by lamp, 21 layers"``.
        specs: A spec for each layer, in the order they are applied; at least one.
        scope: The scope, such as ``"alike"``, if one amount was applied to a scope; else "".
        shown: The spec of the layer that was displayed, requested again when the step is undone.
    """

    title: str
    specs: tuple[PruneSpec, ...]
    scope: str = ""
    shown: PruneSpec | None = None

    has_call = False
    dim = 0

    @property
    def layer(self) -> str:
        """Full name of its first layer."""
        return self.specs[0].layer

    @property
    def call(self) -> str:
        """The request, in words."""
        return self.title

    def where(self, tensors: Collection[str]) -> str:
        """Return how many layers were pruned."""
        return f"{len(tensors)} layers"

    def told(self, done: Done) -> str:
        """Describe what it did."""
        before, after = percent(done.share_before), percent(done.share_after)
        sparsity = f"sparsity {after}" if done.share_before == 0 else f"sparsity {before} → {after}"
        return f"pruned {done.pruned_units:,} of {done.units:,} {done.unit_name} of these layers; {sparsity}"

    @property
    def again(self) -> Mapping[str, Any]:
        """Spec fields that display it again; none for an allocation: the displayed layer stays."""
        return {} if self.shown is None else {**vars(self.shown), "scope": self.scope}

    def apply_to(self, session: Any) -> Any:
        """Apply it in a `prunescope.session.Session` as its next step, and return the step."""
        return session.apply_together(self)

    def values(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        values = {"method": METHOD, "title": self.title, "steps": [spec.values() for spec in self.specs]}
        asked = {} if self.shown is None else {"scope": self.scope, "shown": self.shown.values()}
        return {**values, **asked}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Together:
        """Restore what `values` returned.

        Raises:
            RequestError: The mapping has another form.

        Example:
            >>> asked = Together("two", (PruneSpec("a.weight", amount=2), PruneSpec("b.weight", amount=1)))
            >>> Together.of(asked.values()) == asked
            True
        """
        steps, title = values.get("steps"), values.get("title")
        scope, shown = values.get("scope", ""), values.get("shown")
        known = isinstance(title, str) and isinstance(scope, str) and isinstance(shown, dict | None)
        if not isinstance(steps, list) or not steps or not known:
            raise RequestError("plan", f"`plan` contains an invalid step: {values!r}.")
        try:
            specs = tuple(PruneSpec(**each).parsed() for each in steps)
            again = None if shown is None else PruneSpec(**shown).parsed()
        except TypeError as error:
            raise RequestError("plan", f"`plan` contains an invalid step: {values!r}.") from error
        return cls(str(title), specs, scope, again)
