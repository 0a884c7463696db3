"""FLOPs of one example, by torch's own counter."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import flop_counter
from torch.utils.flop_counter import FlopCounterMode

from prunescope.measure.evaluation import EvalCopy
from prunescope.sources import rows_of


@dataclass(frozen=True)
class Flops:
    """FLOPs of one example as torch counts them: a multiply-add is two.

    Attributes:
        total: FLOPs of the whole model: those of matrix products and convolutions, which are nearly all.
        layers: FLOPs of each module, those within it included, by the module's name.
    """

    total: int
    layers: Mapping[str, int]


def count_flops(copy: EvalCopy, inputs: tuple[Tensor, ...]) -> Flops:
    """Return the FLOPs of one example.

    Masks do not change them: pruned weights are multiplied like all others.

    Args:
        copy: The model to run.
        inputs: What it is called with; the first example of it is run.

    Raises:
        RequestError: The model cannot be run on that.
    """
    counter = FlopCounterMode(display=False)
    with _countable(), _without_compiler(), counter:
        copy.run(rows_of(inputs, slice(1)))
    counts = {name.partition(".")[2]: sum(each.values()) for name, each in counter.get_flop_counts().items()}
    return Flops(counter.get_total_flops(), {name: count for name, count in counts.items() if name})


@contextmanager
def _countable() -> Iterator[None]:
    """Make torch compute with matrix products and convolutions, which the counter knows.

    It skips fused kernels: those of recurrent layers, of attention, and of a whole encoder layer.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            torch.backends.mkldnn.flags(enabled=False),
            torch.backends.cudnn.flags(enabled=False),
            sdpa_kernel(SDPBackend.MATH),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Avoid importing torch's compiler (two seconds, 77 MiB), which the counter needs only to exclude itself.

    In versions of torch that do this differently, the import happens.
    """
    counting = getattr(flop_counter._FlopCounterMode.__torch_dispatch__, "__wrapped__", None)
    if counting is None or hasattr(counting, _KEPT_OUT):
        yield
        return
    setattr(counting, _KEPT_OUT, counting)
    try:
        yield
    finally:
        delattr(counting, _KEPT_OUT)


_KEPT_OUT = "__dynamo_disable"
