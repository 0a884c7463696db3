"""Remake the sensitivity tables of the demos that ship with the package.

Run it as ``python -m prunescope.network.demos`` after the demos were trained anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from prunescope.network.asked import SensitivitySpec
from prunescope.network.entry import sensitivity
from prunescope.network.keep import SHIPPED, fingerprint, keep
from prunescope.session import Session
from prunescope.sources import demo_source
from prunescope.sources.demos import DEMOS

SHIPPED_METHODS = ("l1_unstructured", "ln_structured")
"""The methods whose tables ship: the one a page opens with, and one for whole channels."""


def remake(folder: Path = SHIPPED, keys: Sequence[str] = tuple(DEMOS), progress: bool = True) -> list[str]:
    """Measure the tables of the demos, write them to ``folder`` and return their fingerprints."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    marks = []
    for key in keys:
        for method in SHIPPED_METHODS:
            session = Session(demo_source(key))
            mark = fingerprint(session, SensitivitySpec(method))
            keep(mark, sensitivity(session, method=method, progress=progress), folder)
            marks.append(mark)
    return marks


def main(arguments: Sequence[str] | None = None) -> None:
    """Remake the tables as the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m prunescope.network.demos", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=SHIPPED, help="where to write (the package's own files)"
    )
    remake(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()
