"""Find and cut out pruned channels, on copies: once they are made, in any thread."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.export.compact.cuts import COUPLED, Cut, find_cuts, silence
from prunescope.export.compact.graph import Graph, run_problems
from prunescope.export.compact.recurrent import cut_units, find_recurrent, silence_units
from prunescope.export.model import pruned_model
from prunescope.measure.randomness import untouched_randomness
from prunescope.session import Session
from prunescope.sources import arguments, rows_of, scores_of

COMPARED = 256
"""Examples on which the smaller network must answer as the silenced one does."""

TOLERANCE = 1e-4
"""Largest difference that rounding may make, as a part of the largest answer."""


class Found(NamedTuple):
    """What can be cut out.

    Attributes:
        cuts: The channels that can.
        refused: Why other pruned channels cannot, by layer.
    """

    cuts: list[Cut]
    refused: dict[str, str]


class CutOut(NamedTuple):
    """A network without its pruned channels.

    Attributes:
        model: The network, plain, in eval mode.
        cuts: What was cut out.
        refused: Why other pruned channels were not, by layer.
        difference: The largest difference to what the silenced network answers.
    """

    model: nn.Module
    cuts: list[Cut]
    refused: dict[str, str]
    difference: float


class Cutting:
    """Cut whole channels out of a copy of a session's model; the session is read in the beginning only.

    Args:
        session: The session, with steps that prune whole channels; its model is copied, never written.
        coupled: Where the channels of several layers are added: ``"same"`` cuts those that all of them prune,
            ``"any"`` those that any of them prunes, which prunes them in the others as well.

    Attributes:
        masked: A copy of the model with zeros in place of what is pruned, plain, in eval mode.
        inputs: What it is run on.

    Raises:
        RequestError: There is nothing to run the model on, or it cannot be copied.
    """

    def __init__(self, session: Session, coupled: str = "same") -> None:
        if coupled not in COUPLED:
            raise RequestError("coupled", f"`coupled` must be 'same' or 'any', got {coupled!r}.")
        _ = session.source.module  # Raises where there is none.
        inputs = session.source.inputs
        if inputs is None:
            raise RequestError(
                "compact_model",
                "`compact_model` needs `data` or `example`: channels are followed in a run of the model.",
            )
        self.masked, self.inputs = pruned_model(session, permanent=True).eval(), inputs
        self._coupled = coupled

    def find(self) -> Found:
        """Return what would be cut out, and why other pruned channels would not; nothing is cut.

        Raises:
            RequestError: torch-pruning is not installed, or the model cannot be followed.
        """
        with run_problems("compact_model"):
            recurrent, why_not = find_recurrent(self.masked, rows_of(self.inputs, slice(2)))
            cuts, refused = find_cuts(_graph(self.masked, self.inputs), self._coupled)
        return Found([*recurrent, *cuts], {**why_not, **refused})

    def cut_out(self, found: Found) -> CutOut:
        """Return the network without what was found, compared on real examples with the silenced one.

        Raises:
            RequestError: Nothing can be cut: the sentence says why.
        """
        compared, refused = rows_of(self.inputs, slice(COMPARED)), dict(found.refused)
        model, reference, cuts = _cut_out(self.masked, found.cuts, refused, compared)
        return CutOut(model, cuts, refused, _distance(_answer(model, compared), _answer(reference, compared)))


def possible_cuts(session: Session, coupled: str = "same") -> Found:
    """Return what would be cut out of the session's model, and why other pruned channels would not.

    Nothing is cut: it is to be shown before. Arguments and errors are those of `Cutting`.
    """
    return Cutting(session, coupled).find()


def _graph(model: nn.Module, inputs: tuple[Tensor, ...]) -> Graph:
    return Graph(model, rows_of(inputs, slice(2)))


def _cut_out(
    masked: nn.Module, cuts: list[Cut], refused: dict[str, str], inputs: tuple[Tensor, ...]
) -> tuple[nn.Module, nn.Module, list[Cut]]:
    """Return the smaller network, the silenced one, and the cuts that it can be made by."""
    if cuts:
        try:
            return *_tried(masked, cuts, inputs), cuts
        except _Unequal:
            problems = {cut: _why_not(masked, cut, inputs) for cut in cuts}
            refused |= {cut.layer: why for cut, why in problems.items() if why}
            cuts = [cut for cut, why in problems.items() if not why]
    if not cuts:
        raise RequestError("compact_model", f"`compact_model` has nothing to cut out: {_reasons(refused)}.")
    try:
        return *_tried(masked, cuts, inputs), cuts
    except _Unequal as problem:
        raise RequestError(
            "compact_model", f"`compact_model` cannot cut these channels out together: {problem}."
        ) from problem


def _reasons(refused: Mapping[str, str]) -> str:
    if not refused:
        return "no whole channel is pruned; prune with method 'ln_structured' and dim 0"
    return "; ".join(f"{layer}: {why}" for layer, why in refused.items())


class _Unequal(Exception):
    """A smaller network that does not run, or answers something else."""


def _tried(masked: nn.Module, cuts: list[Cut], inputs: tuple[Tensor, ...]) -> tuple[nn.Module, nn.Module]:
    model, reference = copy.deepcopy(masked), copy.deepcopy(masked)
    for cut in cuts:
        (silence if cut.items else silence_units)(reference, cut)
    expected = _answer(reference, inputs)
    asked = {name: parameter.requires_grad for name, parameter in masked.named_parameters()}
    try:
        for cut in cuts:
            if not cut.items:
                cut_units(model, cut)
        graph = _graph(model, inputs)
        for cut in cuts:
            if cut.items:
                graph.cut(cut.layer, list(cut.channels))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(asked[name])
        difference = _distance(_answer(model, inputs), expected)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _Unequal(f"without them the model cannot be run ({reason})") from error
    largest = max(float(part.abs().max()) for part in expected)
    if not difference <= TOLERANCE * max(1.0, largest):
        raise _Unequal(f"without them the model answers differently, by {difference:.2g}")
    return model, reference


def _why_not(masked: nn.Module, cut: Cut, inputs: tuple[Tensor, ...]) -> str:
    try:
        _tried(masked, [cut], inputs)
    except _Unequal as problem:
        return str(problem)
    return ""


def _answer(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    positional, named = arguments(inputs)
    with torch.no_grad(), untouched_randomness():
        answer = scores_of(model(*positional, **named))
    parts = answer.values() if isinstance(answer, Mapping) else answer
    listed = [parts] if isinstance(parts, Tensor) else list(parts)
    return [part for part in listed if isinstance(part, Tensor)]


def _distance(these: list[Tensor], those: list[Tensor]) -> float:
    if [part.shape for part in these] != [part.shape for part in those] or not these:
        raise ValueError("the answers have another shape")
    return max(float((a - b).abs().max()) for a, b in zip(these, those, strict=True))
