"""A network without the channels that are pruned: really smaller, and proved to answer the same."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from torch import nn

from prunescope.core.errors import RequestError
from prunescope.export.compact.cuts import Cut
from prunescope.export.compact.cutting import COMPARED, Cutting, Found
from prunescope.export.compact.graph import run_problems
from prunescope.export.compact.rebuild import compact_bytes, rebuild_code, state_shapes
from prunescope.measure import Accuracy, EvalCopy, count_flops, evaluated
from prunescope.measure.latency import EXAMPLES, Latency, compare_latency
from prunescope.measure.states import accuracy, evaluate, known, question
from prunescope.session import Session
from prunescope.sources import target_of, unwritten, write_file

T = TypeVar("T")


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


def compacting(
    session: Session, coupled: str = "same", *, seconds: float = 2.0, examples: int = EXAMPLES
) -> Iterator[CompactModel | None]:
    """Yield None or what is known so far after each bit of work; the last one is the whole.

    Args:
        session: The session; its model is read, never written.
        coupled: As for `Cutting`.
        seconds: How long latency is measured.
        examples: Examples in the batch that is timed.

    Raises:
        RequestError: As `Cutting`, or nothing can be cut: the sentence says why.
    """
    cutting = Cutting(session, coupled)
    found = compacted(cutting, cutting.find(), dense := EvalCopy(session.source.module))
    yield found
    for metric in metrics_of(session, found.model):
        found = replace(found, metric=metric)
        yield found if metric else None
    for latency in latency_of(dense, found, cutting, seconds=seconds, examples=examples):
        found = replace(found, latency=latency)
        yield found


def latency_of(
    dense: EvalCopy, found: CompactModel, cutting: Cutting, *, seconds: float, examples: int = EXAMPLES
) -> Iterator[Latency]:
    """Yield the latency of both networks after each turn; may be run in any thread.

    Raises:
        RequestError: They cannot be run on so many examples.
    """
    with run_problems("compact_model"):
        yield from compare_latency(
            dense.model, found.model, cutting.inputs, seconds=seconds, examples=examples
        )


def compacted(cutting: Cutting, found: Found, dense: EvalCopy) -> CompactModel:
    """Return the smaller network with all but its metric and its latency; may be run in any thread.

    Args:
        cutting: What it is cut out of.
        found: What `Cutting.find` has found.
        dense: The network as it was given, used by nothing else meanwhile.

    Raises:
        RequestError: Nothing can be cut: the sentence says why.
    """
    inputs, masked = cutting.inputs, cutting.masked
    with run_problems("compact_model"):
        model, cuts, refused, difference = cutting.cut_out(found)
        flops = Pair(count_flops(dense, inputs).total, count_flops(EvalCopy(model), inputs).total)
    return CompactModel(
        model,
        tuple(cuts),
        refused,
        difference,
        min(COMPARED, len(inputs[0])),
        Pair(_parameters(dense.model), _parameters(model)),
        flops,
        Pair(_size(masked), _size(model)),
        _original=masked,
    )


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def compact_model(
    session: Session, coupled: str = "same", *, seconds: float = 2.0, examples: int = EXAMPLES
) -> CompactModel:
    """Return the session's model without the channels that its steps prune; see `compacting`.

    Example:
        >>> import torch
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


def metrics_of(session: Session, model: nn.Module) -> Iterator[Pair[Any] | None]:
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
