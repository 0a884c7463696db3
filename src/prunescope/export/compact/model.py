"""A network without the channels that are pruned: really smaller, and proved to answer the same."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from prunescope.core.errors import RequestError
from prunescope.export.compact.cuts import COUPLED, Cut, find_cuts, silence
from prunescope.export.compact.graph import Graph
from prunescope.export.compact.rebuild import compact_bytes, rebuild_code, state_shapes
from prunescope.export.compact.recurrent import cut_units, find_recurrent, silence_units
from prunescope.export.model import pruned_model
from prunescope.measure import Accuracy, EvalCopy, count_flops, evaluated
from prunescope.measure.latency import EXAMPLES, Latency, compare_latency
from prunescope.measure.randomness import untouched_randomness
from prunescope.measure.states import accuracy, eval_copy, evaluate, known, question
from prunescope.session import Session
from prunescope.sources import arguments, rows_of, scores_of, target_of, unwritten, write_file

T = TypeVar("T")

COMPARED = 256
"""Examples on which the smaller network must answer as the silenced one does."""

TOLERANCE = 1e-4
"""Largest difference that rounding may make, as a part of the largest answer."""


class Pair(NamedTuple, Generic[T]):
    """A value of the network as it was given, and of the smaller one."""

    before: T
    after: T


@dataclass(frozen=True, eq=False)
class CompactModel:
    """A smaller network, and what it saves.

    Attributes:
        model: The network, plain, in eval mode.
        cuts: What was cut out.
        refused: Why other pruned channels were not, by layer.
        difference: The largest difference between what it answers and what the pruned network answers whose
            channels are masked and silenced, on real examples; computed.
        compared: On how many examples.
        parameters: Numbers in the parameters.
        flops: FLOPs of one example.
        file: Bytes of the weights' file.
        latency: Seconds for a batch, with quartiles; None until it is measured.
        metric: Held-out accuracy, or the user's metric; None where there are none.
    """

    model: nn.Module
    cuts: tuple[Cut, ...]
    refused: Mapping[str, str]
    difference: float
    compared: int
    parameters: Pair[int]
    flops: Pair[int]
    file: Pair[int]
    latency: Latency | None = None
    metric: Pair[Any] | None = None
    _original: nn.Module | None = field(default=None, repr=False)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of its state, by name."""
        return state_shapes(self.model)

    @property
    def sentences(self) -> list[str]:
        """Return what was cut, what was not, and what it saves, a sentence each."""
        lines = [f"{cut.sentence}." for cut in self.cuts]
        lines += [f"{layer} stays whole: {why}." for layer, why in self.refused.items()]
        lines.append(f"Parameters {_fewer(self.parameters)}; FLOPs {_fewer(self.flops)}.")
        if self.latency is not None:
            lines.append(f"Latency {self.latency.in_words}.")
        lines.append(
            f"Its answers to {self.compared:,} examples are those of the masked network with these channels "
            f"silenced, to {self.difference:.1e}."
        )
        return lines

    @property
    def bytes(self) -> bytes:
        """Return its weights as a safetensors file that `rebuild` reads."""
        assert self._original is not None
        return compact_bytes(self._original, self.model)

    def code(self, file: str = "smaller.safetensors") -> str:
        """Return a script that rebuilds it from the original class and the weights in ``file``."""
        return rebuild_code(type(self.model).__name__, file)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> tuple[Path, Path]:
        """Write the weights to ``path``, and the script that rebuilds the network beside them.

        Args:
            path: Where to, such as ``"smaller.safetensors"``; its folder exists.
            overwrite: Whether files that are there may be replaced.

        Raises:
            RequestError: A file is there already, or cannot be written.
        """
        target = target_of(path)
        script = target.with_suffix(".py")
        for each in (target, script):
            if each.exists() and not overwrite:
                raise RequestError("path", f"`path` {each} exists: pass `overwrite=True` to replace it.")
        try:
            write_file(target, lambda out: out.write(self.bytes))
            write_file(script, lambda out: out.write(self.code(target.name).encode()))
        except OSError as error:
            raise unwritten(target, error) from error
        return target, script


def _fewer(pair: Pair[int]) -> str:
    return f"{pair.before:,} → {pair.after:,} ({100 * (1 - pair.after / max(pair.before, 1)):.1f} % less)"


def possible_cuts(session: Session, coupled: str = "same") -> tuple[list[Cut], dict[str, str]]:
    """Return what would be cut out of the session's model, and why other pruned channels would not.

    Nothing is cut: it is to be shown before.

    Args:
        session: The session, with steps that prune whole channels.
        coupled: Where the channels of several layers are added: ``"same"`` cuts those that all of them prune,
            ``"any"`` those that any of them prunes, which prunes them in the others as well.

    Raises:
        RequestError: torch-pruning is not installed, there is nothing to run the model on, or it cannot be
            followed.
    """
    model, inputs = _plain(session, coupled)
    recurrent, why_not = find_recurrent(model, rows_of(inputs, slice(2)))
    cuts, refused = find_cuts(_graph(model, inputs), coupled)
    return [*recurrent, *cuts], {**why_not, **refused}


def _graph(model: nn.Module, inputs: tuple[Tensor, ...]) -> Graph:
    return Graph(model, rows_of(inputs, slice(2)))


def _plain(session: Session, coupled: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    if coupled not in COUPLED:
        raise RequestError("coupled", f"`coupled` must be 'same' or 'any', got {coupled!r}.")
    _ = session.source.module  # Raises where there is none.
    inputs = session.source.inputs
    if inputs is None:
        raise RequestError(
            "compact_model",
            "`compact_model` needs `data` or `example`: channels are followed through a run of the model.",
        )
    return pruned_model(session, permanent=True).eval(), inputs


def compacting(
    session: Session, coupled: str = "same", *, seconds: float = 2.0, examples: int = EXAMPLES
) -> Iterator[CompactModel | None]:
    """Yield None or what is known so far after each bit of work; the last one is the whole.

    Args:
        session: The session; its model is read, never written.
        coupled: As for `possible_cuts`.
        seconds: How long latency is measured.
        examples: Examples in the batch that is timed.

    Raises:
        RequestError: As `possible_cuts`, or nothing can be cut: the sentence says why.
    """
    masked, inputs = _plain(session, coupled)
    compared = rows_of(inputs, slice(COMPARED))
    cuts, refused = possible_cuts(session, coupled)
    yield None
    model, reference, cuts = _cut_out(masked, cuts, refused, compared)
    yield None
    dense = eval_copy(session).model
    found = CompactModel(
        model,
        tuple(cuts),
        refused,
        _difference(model, reference, compared),
        len(compared[0]),
        Pair(session.parameters, sum(parameter.numel() for parameter in model.parameters())),
        Pair(count_flops(eval_copy(session), inputs).total, count_flops(EvalCopy(model), inputs).total),
        Pair(_size(masked), _size(model)),
        _original=masked,
    )
    yield found
    for metric in _metrics(session, model):
        found = replace(found, metric=metric)
        yield found if metric else None
    for latency in compare_latency(dense, model, inputs, seconds=seconds, examples=examples):
        found = replace(found, latency=latency)
        yield found


def compact_model(
    session: Session, coupled: str = "same", *, seconds: float = 2.0, examples: int = EXAMPLES
) -> CompactModel:
    """Return the session's model without the channels that its steps prune; see `compacting`.

    Example:
        >>> from prunescope.sources import module_source
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> session = Session(module_source(net, example=torch.ones(2, 4)))
        >>> wanted = replace(session.first_spec, method="ln_structured", amount=3)
        >>> step = session.apply(session.preview(session.resolve(wanted)))
        >>> smaller = compact_model(session, seconds=0)
        >>> smaller.model[0].weight.shape, smaller.parameters, smaller.difference < 1e-5
        (torch.Size([5, 4]), Pair(before=58, after=37), True)
    """
    *_, found = compacting(session, coupled, seconds=seconds, examples=examples)
    assert found is not None
    return found


def _size(model: nn.Module) -> int:
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())


def _metrics(session: Session, model: nn.Module) -> Iterator[Pair[Any] | None]:
    """Yield None after each bit of work, then the metric of both, where there is one."""
    source = session.source
    if source.evaluate is not None:
        if known(session) is None:
            asked = question(session)
            asked.keep(asked.ask())
        yield Pair(known(session), evaluated(source.evaluate, copy.deepcopy(model)))
        return
    if source.data is None:
        return
    for _ in evaluate(session):
        yield None
    pair = source.pair
    assert pair is not None
    counted: list[Accuracy] = []
    for found in EvalCopy(model).evaluate(*pair):
        counted.append(found)
        yield None
    yield Pair(accuracy(session), counted[-1])


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


def _difference(model: nn.Module, reference: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    return _distance(_answer(model, inputs), _answer(reference, inputs))


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
