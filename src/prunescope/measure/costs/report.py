"""The costs of a state of a model, as text and tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prunescope.core.markup import Block, Sentence, Table, html_of
from prunescope.core.text import percent
from prunescope.measure.costs.cutting import Savings
from prunescope.measure.costs.flops import Flops
from prunescope.measure.costs.residual import Emission

_HELPS = (
    "What does help: compressing the file after `remove`; kernels made for sparse matrices; and "
    "cutting whole channels out, which makes the layers smaller."
)


@dataclass(frozen=True)
class FileSizes:
    """Bytes of the model's state as a safetensors file.

    Attributes:
        dense: The original, without pruning.
        masked: With masks: every pruned tensor whole, plus a mask of its size.
        permanent: After ``remove``: plain tensors, whose zeros take as much space as any number.
    """

    dense: int
    masked: int
    permanent: int

    @property
    def text(self) -> str:
        """Return the three in one unit, such as ``"305.9 → 450.7 → 305.9 KiB"``."""
        unit = _unit(max(self.dense, self.masked, self.permanent))
        numbers = (_in_unit(size, unit) for size in (self.dense, self.masked, self.permanent))
        return f"{' → '.join(numbers)} {_UNITS[unit]}"


@dataclass(frozen=True, eq=False)
class Costs:
    """What a state of a model costs; what is not measured (yet) is None.

    Attributes:
        parameters: Number of parameters.
        files: Bytes of its file, computed.
        nonzero: Number of nonzero parameters.
        compressed: Bytes of its file compressed by zlib.
        flops: FLOPs of one example; masks do not change them.
        emissions: The residual output of the pruned output channels of its layers.
        cut: What these channels would save if they were cut out.
        problems: Why something is not measured, by attribute name.
    """

    parameters: int = 0
    files: FileSizes | None = None
    nonzero: int | None = None
    compressed: FileSizes | None = None
    flops: Flops | None = None
    emissions: tuple[Emission, ...] | None = None
    cut: Savings | None = None
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def put_out(self) -> float | None:
        """Return the largest magnitude in the residual output of pruned channels; None if not measured."""
        values = [each.value for each in self.emissions or () if each.value is not None]
        return max(values, default=None)

    def _repr_html_(self) -> str:
        """Return all costs as HTML, for a notebook."""
        return html_of(files_account(self) + operations_account(self) + emissions_account(self))


def bytes_text(count: int) -> str:
    """Format a number of bytes.

    Example:
        >>> bytes_text(840), bytes_text(313240), bytes_text(5 << 30)
        ('840 bytes', '305.9 KiB', '5.0 GiB')
    """
    unit = _unit(count)
    return f"{_in_unit(count, unit)} {_UNITS[unit]}"


_UNITS = ("bytes", "KiB", "MiB", "GiB")


def _unit(count: int) -> int:
    return min(max(count.bit_length() - 1, 0) // 10, len(_UNITS) - 1)


def _in_unit(count: int, unit: int) -> str:
    return f"{count / 1024**unit:,.1f}" if unit else f"{count:,}"


def cost_facts(costs: Costs) -> list[tuple[str, str]]:
    """Return a summary of the costs as pairs of name and value, in reading order.

    A value is "…" until it is measured; what cannot be measured is left out.
    """
    files, packed, value = costs.files, costs.compressed, costs.put_out
    nonzero = "…" if costs.nonzero is None else f"{costs.nonzero:,}"
    facts = {
        "nonzero": ("Parameters not zero", f"{nonzero} of {costs.parameters:,}"),
        "files": ("File original → masked → removed", "…" if files is None else files.text),
        "compressed": ("Files, compressed", "…" if packed is None else packed.text),
        "flops": ("FLOPs, masked or not", "…" if costs.flops is None else f"{costs.flops.total:,}"),
        "emissions": ("Residual output of pruned channels", _put_out(value)),
    }
    if value is None:
        del facts["emissions"]
    return [fact for name, fact in facts.items() if name not in costs.problems]


def _put_out(value: float | None) -> str:
    return f"up to {value:.3g}" if value else "none"


def files_account(costs: Costs) -> list[Block]:
    """Return a table of the three files."""
    if costs.files is None:
        return _problem(costs, "files")
    packed = costs.compressed
    heads = ["The file of all weights (safetensors)", "Bytes"]
    rows = [
        ["Original", f"{costs.files.dense:,}"],
        ["With masks: _orig and _mask", f"{costs.files.masked:,}"],
        ["After remove", f"{costs.files.permanent:,}"],
    ]
    if packed is not None or "compressed" not in costs.problems:
        heads.append("Compressed (zlib)")
        sizes = [None] * 3 if packed is None else [packed.dense, packed.masked, packed.permanent]
        for row, size in zip(rows, sizes, strict=True):
            row.append("…" if size is None else f"{size:,}")
    return [_table(heads, rows), *_problem(costs, "nonzero", "compressed"), Sentence(_HELPS)]


def operations_account(costs: Costs) -> list[Block]:
    """Return what one example takes, and what cutting channels out would save."""
    if costs.flops is None:
        return _problem(costs, "flops", "emissions")
    counted = (
        f"**{costs.flops.total:,}** FLOPs for one example by torch's counter, with masks and without: a zero "
        "is multiplied like any other number."
    )
    saved, names = _saved(costs.flops, costs.cut)
    return [Sentence(counted + saved, names)]


def _saved(flops: Flops, cut: Savings | None) -> tuple[str, tuple[str, ...]]:
    if cut is None:
        return "", ()
    if not cut.layers:
        return " No whole channel that could be cut out is pruned.", ()
    where = cut.layers if len(cut.layers) == 1 else (f"{len(cut.layers)} layers",)
    operations = ""
    if cut.flops is not None and flops.total:
        operations = f" and {cut.flops:,} FLOPs ({percent(cut.flops / flops.total)})"
    return (
        " With its pruned channels cut out rather than masked, {} alone would save "
        f"**{cut.parameters:,}** parameters{operations}; layers that read them would shrink too. Where "
        "outputs are added to others, as in a residual block, the same channels must go there: Torch-Pruning "
        "follows that through a network."
    ), where


def emissions_account(costs: Costs) -> list[Block]:
    """Return a table of the residual output of pruned channels; empty where no channel is pruned."""
    if costs.emissions is None:
        return _problem(costs, "emissions") if costs.flops else []
    heads = ["Pruned channels of", "Residual output", "After the batch-norm", "The others, up to"]
    rows = [
        [
            _named(each),
            _largest(each.at_layer),
            _largest(each.after_norm) if each.norm else "none follows",
            _largest(each.kept),
        ]
        for each in costs.emissions
        if each.value is not None
    ]
    reasons = [
        Sentence(f"{{}}: {each.why_not}.", (each.layer or "the model itself",))
        for each in costs.emissions
        if each.why_not
    ]
    note = Sentence(
        "Largest magnitudes, over held-out examples: a pruned channel puts out the same for each."
    )
    table: list[Block] = [_table(heads, rows), note] if rows else []
    return [*table, *reasons]


def _named(seen: Emission) -> str:
    """Return a layer's name in a table; the text after a line break is set smaller."""
    behind = f", then {seen.norm}" if seen.norm else ""
    return f"{seen.layer or 'the model itself'}\n{len(seen.channels):,} of {seen.outputs:,}{behind}"


def _largest(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3g}"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    return Table(tuple(heads), tuple(map(tuple, rows)))


def _problem(costs: Costs, *names: str) -> list[Block]:
    texts = dict.fromkeys(costs.problems[name] for name in names if name in costs.problems)
    return [Sentence(text, note=True) for text in texts]
