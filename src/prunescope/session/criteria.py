"""The importance scores of a session's model: computed by `prunescope.measure.importance`, cached here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from prunescope.core.criteria import CRITERIA, WEIGHT, Importance
from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS, PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.session.findings import Findings
from prunescope.sources import Source
from prunescope.sources.scoring import Scoring


class Criteria:
    """The scores that can rank a model's weights in place of their magnitudes.

    Args:
        source: The model and its data, which determine what can be computed.
        findings: Where scores are cached until the model changes.
        pool: Returns the tensors whose units a spec ranks together.
    """

    def __init__(
        self, source: Source, findings: Findings, pool: Callable[[PruneSpec], Sequence[PrunableTensor]]
    ) -> None:
        self._source = source
        self._findings = findings
        self._pool = pool

    def why_not(self, spec: PruneSpec) -> str:
        """Return why the criterion of ``spec`` has no scores for what it prunes, in one sentence; else "".

        Scores that can be computed but have not been yet give "".
        """
        if not _needs_scores(spec):
            return ""
        source = self._source
        reason = CRITERIA[spec.criterion].why_not(
            runs=isinstance(source.model, nn.Module),
            inputs=source.has_inputs,
            data=source.data is not None or isinstance(source.evaluate, Scoring),
            given=source.importance_scores is not None,
        )
        found = self.known(spec.criterion)
        if reason or found is None:
            return reason
        scores = ((each.name, found.get(each.name, "is not scored")) for each in self._pool(spec))
        why = next((f"{name} {score}" for name, score in scores if isinstance(score, str)), "")
        return f"`criterion` {spec.criterion} has no scores here: {why}." if why else ""

    def known(self, criterion: str) -> Mapping[str, Importance | str] | None:
        """Return the scores of a criterion by tensor, or why a tensor has none; None if not computed yet."""
        return self._findings.of_model.get(("importance", criterion))

    def keep(self, criterion: str, scores: Mapping[str, Importance | str]) -> None:
        """Cache the scores of a criterion until the model changes.

        The values are scores by tensor, or the reason for having none, such as ``"is not run"``.
        """
        self._findings.of_model["importance", criterion] = dict(scores)

    def of(self, spec: PruneSpec, tensors: Sequence[PrunableTensor]) -> dict[str, Importance]:
        """Return the scores that ``spec`` ranks, by tensor; empty if it ranks the weights.

        Raises:
            RequestError: The scores are not computed yet, or there are none.
        """
        if not _needs_scores(spec):
            return {}
        reason, found = self.why_not(spec), self.known(spec.criterion)
        if reason or found is None:
            waits = f"`criterion` {spec.criterion} waits for its scores: they are not computed yet."
            raise RequestError("criterion", reason or waits)
        return {each.name: score for each in tensors if isinstance(score := found[each.name], Importance)}

    def importance(self, spec: PruneSpec, tensors: Sequence[PrunableTensor]) -> dict[str, Tensor]:
        """Return tensors for torch's ``importance_scores=``, by name; empty if the weights are ranked."""
        scores, structured = self.of(spec, tensors), METHODS[spec.method].structured
        found = {}
        for each in tensors if scores else ():
            values = scores[each.name].scores(each.shape, spec.channel_dim(each), structured=structured)
            # torch gives a structured mask the dtype of the scores, and the weight with it.
            found[each.name] = values.to(each.weight.dtype) if structured else values
        return found


def _needs_scores(spec: PruneSpec) -> bool:
    return spec.criterion != WEIGHT and METHODS[spec.method].takes_scores
