"""What a state of the model costs: parameters, bytes, FLOPs. A mask alone makes none of them less."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from prunescope.core.errors import RequestError
from prunescope.core.preview import Preview
from prunescope.measure import (
    Costs,
    Emission,
    FileSizes,
    Flops,
    bytes_text,
    compress,
    count_flops,
    cut_out,
    dense_file,
    masked_file,
    measure_emissions,
    permanent_file,
)
from prunescope.measure.states import eval_copy
from prunescope.session import Session
from prunescope.session.history import Step, Variant
from prunescope.session.residuals import Silence
from prunescope.sources import file_size, is_plain


def file_sizes(session: Session, what: Preview | Variant | None = None) -> FileSizes:
    """Compute the size of the model's file in one of its states, to the byte.

    Args:
        session: The session.
        what: A preview, as if it were applied after the steps; a variant; None is the original model.

    Raises:
        RequestError: A checkpoint holds what a safetensors file cannot hold.

    Example:
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> session = Session(module_source(nn.Linear(100, 10)))
        >>> file_sizes(session, session.preview(session.resolve(session.first_spec)))
        FileSizes(dense=4208, masked=8288, permanent=4208)
    """
    weights, masks, known = session.source.weights(), session.masks(what), session.findings
    if "dense" not in known:
        known["dense"] = file_size(dense_file(weights))
    return FileSizes(known["dense"], file_size(masked_file(weights, masks)), known["dense"])


def compressed_sizes(
    session: Session, what: Preview | Variant | None = None, largest: int | None = None
) -> Iterator[FileSizes | None]:
    """Yield None after each piece of work, then the sizes of the three files compressed by zlib.

    The files are written and compressed in pieces. States that are made of steps are measured once.

    Args:
        session: The session.
        what: As for `file_sizes`.
        largest: Bytes up to which a file is compressed; None compresses a file of any size.

    Raises:
        RequestError: The file is larger than ``largest``, or a checkpoint that cannot be read.
    """
    masks, known = session.masks(what), session.findings
    key = ("compressed", session.variant(what).key)
    if key not in known:
        _refuse_large(session, "compressed", largest)
        weights = session.source.weights()
        sizes = []
        for file in (dense_file(weights), masked_file(weights, masks), permanent_file(weights, masks)):
            size = 0
            for size in compress(file):  # noqa: B007  # the last one counts
                yield None
            sizes.append(size)
        if not _is_of_steps(key[1]):
            yield FileSizes(*sizes)  # Not kept: previews are many, and large.
            return
        known[key] = FileSizes(*sizes)
    yield known[key]


def _is_of_steps(key: object) -> bool:
    return isinstance(key, tuple) and all(isinstance(part, Step) for part in key)


def _refuse_large(session: Session, what: str, largest: int | None) -> None:
    if largest is None:
        return
    try:
        size = file_sizes(session).dense
    except RequestError:  # No safetensors file can hold it; its numbers can be counted.
        size = sum(entry.bytes for entry in session.source.weights().entries().values())
    if size > largest:
        raise RequestError(what, f"A file of {bytes_text(size)} is compressed and counted only on request.")


def nonzero(session: Session, what: Preview | Variant | None = None) -> int:
    """Count the model's nonzero parameters in one of its states.

    Args:
        session: The session.
        what: As for `file_sizes`.

    Raises:
        RequestError: A checkpoint cannot be read.
    """
    *_, count = nonzeros(session, what)
    assert count is not None
    return count


def nonzeros(
    session: Session, what: Preview | Variant | None = None, largest: int | None = None
) -> Iterator[int | None]:
    """Yield None after each counted tensor, then the value of `nonzero`.

    Args:
        session: The session.
        what: As for `file_sizes`.
        largest: Bytes of a file up to which it is counted; None counts one of any size.

    Raises:
        RequestError: The file is larger than ``largest``, or a checkpoint that cannot be read.
    """
    known, counts = session.findings, {}
    if "nonzero" not in known:
        _refuse_large(session, "nonzero", largest)
        for name, value in session.source.weights().values():
            counts[name] = _nonzero(value)
            yield None
        known["nonzero"] = counts
    counts = dict(known["nonzero"])
    now = session.weights(Variant(session.masks(what), values=session.variant(what).values))
    counts |= {name: _nonzero(weight) for name, weight in now.items() if name in counts}
    yield sum(counts.values())


def _nonzero(tensor: Tensor) -> int:
    if tensor.is_nested:
        return sum(map(_nonzero, tensor.unbind()))
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    elif not is_plain(tensor):  # of a library, or in one of the compressed sparse layouts
        tensor = tensor.to_dense() if tensor.is_mkldnn else tensor.values()
    return int(torch.count_nonzero(tensor))


def flops(session: Session) -> Flops:
    """Return torch's count of the FLOPs of one example; the same with masks and without.

    Args:
        session: The session; its model is run once on one example.

    Raises:
        RequestError: There is no network, no example to run it on, or it cannot be run.
    """
    _ = session.source.module  # Raises where there is none.
    inputs, known = session.source.inputs, session.findings
    if inputs is None:
        raise RequestError("data", "`data` or `example` must be given: FLOPs are counted in a run.")
    if "flops" not in known:
        known["flops"] = count_flops(eval_copy(session), inputs)
    return cast(Flops, known["flops"])


def emissions(
    session: Session, what: Preview | Variant | None = None
) -> Iterator[tuple[Emission, ...] | None]:
    """Yield None after each piece of work, then the residual output of each layer's pruned channels.

    Args:
        session: The session; its model is run on some of its examples.
        what: As for `file_sizes`.

    Raises:
        RequestError: There is no example to run the model on, or it cannot be run.
    """
    _ = session.source.module  # Raises where there is none.
    masks, inputs = session.masks(what), session.source.inputs
    if inputs is None:
        raise RequestError("data", "`data` or `example` must be given: residual output is measured in a run.")
    weights = session.weights(Variant(masks, values=session.variant(what).values))
    yield from measure_emissions(eval_copy(session), masks, weights, inputs)


def silencing(session: Session, layer: str = "") -> Silence:
    """Return what to mask so that the channels pruned by the steps have no residual output.

    Args:
        session: The session; its model is run on some of its examples. `Session.silence` applies it.
        layer: Full name of the weight to list first, if its channels are among them.

    Raises:
        RequestError: There is no residual output, or it cannot be measured or masked.
    """
    *_, seen = emissions(session, session.applied)
    assert seen is not None
    channels = {name: each.channels for each in seen for name in each.silenced_by}
    if not channels:
        raise RequestError("silence", f"`silence`: {_why_nothing(seen)}.")
    weights = [f"{each.layer}.weight".removeprefix(".") for each in seen if each.silenced_by]
    return Silence(layer if layer in weights else weights[0], channels)


def _why_nothing(seen: tuple[Emission, ...]) -> str:
    reasons = "; ".join(f"{each.layer}: {each.why_not}" for each in seen if each.why_not)
    if not seen:
        return "the steps have pruned no whole output channel"
    return reasons or "the channels that the steps have pruned have no residual output"


def measure(
    session: Session, what: Preview | Variant | None = None, *, largest: int | None = None
) -> Iterator[Costs]:
    """Yield the costs known so far after each piece of work; the last value is complete.

    Args:
        session: The session; left as it is.
        what: As for `file_sizes`.
        largest: Bytes of a file up to which it is counted and compressed; None: of any size.

    Example:
        >>> from torch import nn
        >>> from prunescope.sources import module_source
        >>> *_, costs = measure(Session(module_source(nn.Linear(4, 3))))
        >>> costs.parameters, costs.nonzero, costs.problems["flops"]
        (15, 15, '`data` or `example` must be given: FLOPs are counted in a run.')
    """
    costs = Costs(session.parameters)
    parts: dict[str, Callable[[], Iterator[Any]]] = {
        "files": lambda: iter([file_sizes(session, what)]),
        "nonzero": lambda: nonzeros(session, what, largest),
        "flops": lambda: iter([flops(session)]),
        "emissions": lambda: emissions(session, what),
        "cut": lambda: iter([cut_out(session.source.module, session.masks(what), costs.flops)]),
        "compressed": lambda: compressed_sizes(session, what, largest),
    }
    for name, part in parts.items():
        try:
            for found in part():
                if found is not None:
                    costs = replace(costs, **{name: found})
                yield costs
        except RequestError as problem:
            costs = replace(costs, problems={**costs.problems, name: str(problem)})
            yield costs
