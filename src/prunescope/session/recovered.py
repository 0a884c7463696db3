"""A step that gave the model new weights: a pruned copy was trained, or its statistics re-estimated."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from prunescope.core.errors import RequestError
from prunescope.core.spec import Done

METHOD = "recovered"
"""Name of such a step in plans and links, where others name their method."""


@dataclass(frozen=True)
class Recovered:
    """A description of new weights: plans, links and code mention them but cannot hold them.

    Immutable, and serialisable as JSON.

    Attributes:
        call: The call that made them, such as ``"fine_tune(optimizer='AdamW', epochs=20)"``.
        said: What it did, in words.
    """

    call: str
    said: str

    has_call = False
    dim = 0
    layer = ""

    def where(self, tensors: Collection[str]) -> str:
        """Return what it applied to."""
        return "the whole model"

    def told(self, done: Done) -> str:
        """Describe what it did."""
        return self.said

    @property
    def again(self) -> Mapping[str, Any]:
        """Spec fields that display it again: none, the displayed layer stays."""
        return {}

    @property
    def why_not(self) -> str:
        """Why neither a plan nor a link nor code can repeat it, in one sentence."""
        return f'{self.call} made new weights, which only save("state_dict") and pruned_model() carry.'

    def apply_to(self, session: Any) -> Any:
        """Raise an error: the new weights are not stored here.

        Raises:
            RequestError: Always.
        """
        raise RequestError("steps", f"`steps`: {self.why_not}")

    def values(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"method": METHOD, "call": self.call, "said": self.said}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Recovered:
        """Restore what `values` returned.

        Raises:
            RequestError: The mapping has another form.

        Example:
            >>> asked = Recovered("reestimate_batchnorm()", "5 batch-norms re-estimated")
            >>> Recovered.of(asked.values()) == asked
            True
        """
        call, said = values.get("call"), values.get("said")
        if (
            set(values) != {"method", "call", "said"}
            or not isinstance(call, str)
            or not isinstance(said, str)
        ):
            raise RequestError("plan", f"`plan` contains an invalid step: {values!r}.")
        return cls(call, said)
