"""Write the API reference: ``python .ci/reference.py FOLDER``. A warning about our docstrings is an error."""

from __future__ import annotations

import pkgutil
import sys
import warnings
from pathlib import Path

import pdoc
import pdoc.render

import prunescope


def build(folder: Path) -> None:
    """Write a page for the package and each of its rooms into ``folder``."""
    # Names that load on first use: pdoc looks for them in the module itself.
    for name in prunescope.__all__:
        setattr(prunescope, name, getattr(prunescope, name))
    pdoc.render.configure(docformat="google")
    names = [room.name for room in pkgutil.iter_modules(prunescope.__path__) if room.ispkg]
    # The package brings those that it names itself.
    rooms = [f"prunescope.{name}" for name in names if name not in prunescope.__all__]
    pdoc.pdoc("prunescope", *rooms, output_directory=folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    warnings.simplefilter("error")
    # An annotation of a library's own, on a class that ours inherit from.
    warnings.filterwarnings("ignore", "Error parsing type annotation .* for traitlets[.]")
    build(Path(sys.argv[1]))
