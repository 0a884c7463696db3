"""`prunescope prune`: prune a checkpoint to a goal and write a copy, without opening a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from tqdm.auto import tqdm

from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS
from prunescope.core.text import percent
from prunescope.network.allocation import Allocation
from prunescope.network.entry import session_of
from prunescope.network.goal import RULES, UNITS, GoalSpec
from prunescope.network.network import Network

WITHOUT_DATA = tuple(rule for rule in RULES if rule != "sensitivity")
"""The rules that work on a checkpoint, which cannot be run."""


def main(argv: Sequence[str]) -> int:
    """Prune a checkpoint as the command line asks, and return the exit code.

    Args:
        argv: Arguments after ``prunescope prune``.

    Returns:
        0 on success; 2 if the file cannot be read or written or the goal cannot be met; 130 for Ctrl+C, which
        leaves no partial file.
    """
    asked = _parser().parse_args(argv)
    try:
        _prune(asked)
    except RequestError as problem:
        print(f"prunescope prune: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _prune(asked: argparse.Namespace) -> None:
    out = Path(asked.out)
    if out.exists() and not asked.overwrite:
        raise RequestError("path", f"`path` {out} exists: pass --overwrite to replace it.")
    goal = GoalSpec(
        target=asked.target, unit=asked.unit, rule=asked.rule, exclude=tuple(asked.exclude),
        min_keep=asked.min_keep, round_to=asked.round_to, pins=dict(asked.pin), method=asked.method,
        n=asked.n, dim=asked.dim, seed=asked.seed,
    ).checked()  # fmt: skip
    session = session_of(Path(asked.file))
    assert goal.target is not None
    network = Network.of(session, goal)
    print(f"{session.source.title}: {len(network.layers)} layers by {goal.rule} …", file=sys.stderr)
    allocation = network.allocation(goal, network.counts(goal, goal.target))
    masks = _masks(network, allocation, quiet=asked.quiet)
    if not asked.quiet:
        _print(allocation)
    written = session.source.weights().save_copy(masks, out, overwrite=asked.overwrite)
    print(f"{percent(allocation.reached)} of {goal.unit} pruned by {goal.rule}: {written}")
    if allocation.note:
        print(f"prunescope prune: {allocation.note}", file=sys.stderr)


def _masks(network: Network, allocation: Allocation, *, quiet: bool) -> dict[str, Tensor]:
    pruned = [layer for layer in network.layers if allocation.amounts[layer.name]]
    bar = tqdm(pruned, desc="pruning", unit="layer", disable=quiet or None)
    return {layer.name: layer.mask(allocation.amounts[layer.name]) for layer in bar}


def _print(allocation: Allocation) -> None:
    width = max(map(len, allocation.amounts))
    for name, count in allocation.amounts.items():
        units = allocation.units[name]
        print(f"{name:{width}}  {count:>12,} of {units:>12,}  {percent(allocation.shares[name]):>7}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prunescope prune",
        description="Write a copy of a checkpoint with zeros in place of what a goal prunes; nothing in the "
        "file is run.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "file", metavar="FILE", help="checkpoint: a file, or a folder as model hubs lay it out"
    )
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="where to write the pruned copy")
    parser.add_argument("--target", type=float, required=True, help="share to prune in all, such as 0.5")
    parser.add_argument(
        "--unit", choices=[unit for unit in UNITS if unit != "flops"], default="weights", help="of what"
    )
    parser.add_argument(
        "--rule",
        choices=WITHOUT_DATA,
        default="lamp",
        help="how it is spread over layers (default: %(default)s)",
    )
    methods = [key for key, method in METHODS.items() if method.ranks_a_layer]
    parser.add_argument("--method", choices=methods, default="l1_unstructured", help="how a layer is pruned")
    parser.add_argument("--n", type=_norm, default=2, help="order of the norm of channels")
    parser.add_argument("--dim", type=int, default=0, help="axis that numbers the channels")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random methods")
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="LAYER", help="leave it alone; may be given again"
    )
    parser.add_argument(
        "--pin", action="append", default=[], type=_pin, metavar="LAYER=AMOUNT",
        help="prune so much of it, whatever the rule says; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--min-keep", type=_amount, default=0.0, help="what every layer keeps: share or count"
    )
    parser.add_argument(
        "--round-to", type=int, default=1, metavar="N", help="keep channels in multiples of N"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    parser.add_argument("--quiet", action="store_true", help="print the last line alone")
    return parser


def _amount(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _norm(text: str) -> int | float | str:
    return text if text in ("fro", "nuc") else _amount(text)


def _pin(text: str) -> tuple[str, int | float]:
    layer, given, amount = text.rpartition("=")
    if not given or not layer:
        raise argparse.ArgumentTypeError(f"a pin is LAYER=AMOUNT, such as head=0.1, got {text!r}")
    return layer, _amount(amount)
