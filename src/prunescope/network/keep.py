"""Cache of sensitivity tables by fingerprint: the same weights on the same data are measured only once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import platformdirs
import torch
from torch import Tensor

from prunescope.core.criteria import WEIGHT
from prunescope.core.errors import RequestError
from prunescope.core.spec import METHODS
from prunescope.network.asked import SensitivitySpec, how
from prunescope.network.layers import layers_of, pool_names
from prunescope.network.survey import USUAL
from prunescope.network.table import VERSION, SensitivityTable
from prunescope.session import Session

SHIPPED = Path(__file__).parent / "tables"
"""The tables of the demos, which ship with the package; `python -m prunescope.network.demos` makes them."""


def user_folder() -> Path:
    """Return the folder in the user's cache for tables; it may not exist yet."""
    return Path(platformdirs.user_cache_dir("prunescope")) / "sensitivity"


def fingerprint(session: Session, asked: SensitivitySpec = USUAL) -> str:
    """Return the fingerprint that identifies a fully measured table: 32 hexadecimal digits.

    It covers the network's ``repr``, its weights, buffers and masks, the data, and how each layer is pruned.

    Raises:
        RequestError: There is no network that can be run, or no data.

    Example:
        >>> from prunescope.sources import demo_source
        >>> session = Session(demo_source("mlp"))
        >>> fingerprint(session) == fingerprint(session, SensitivitySpec("ln_structured"))
        False
    """
    pair, inputs = session.source.pair, session.source.inputs
    if pair is None or inputs is None:
        raise RequestError("data", "`data` must be given: only tables measured on data are kept.")
    model = session.source.module
    asked = asked.checked()
    names = list(asked.layers or pool_names(session))
    texts = [str(VERSION), str(model), asked.method, *_how(asked), *map(repr, asked.amounts), *names]
    found = hashlib.sha256("\n".join(texts).encode())
    masks = {f"{name} mask": mask for name, mask in session.applied.masks.items()}
    for name, tensor in sorted({**model.state_dict(), **masks, **_scores(session, asked)}.items()):
        if isinstance(tensor, Tensor):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(_bytes(tensor))
    for part in (*inputs, pair[1]):
        found.update(f"{part.dtype} {tuple(part.shape)}".encode())
        found.update(_bytes(part))
    return found.hexdigest()[:32]


def _how(asked: SensitivitySpec) -> list[str]:
    """Return the fields that the method reads, as text; the default criterion, weights, is left out."""
    uses = METHODS[asked.method].uses if asked.method in METHODS else frozenset()
    read = {name: value for name, value in how(asked).items() if name in uses}
    return [f"{name}={value}" for name, value in read.items() if (name, value) != ("criterion", WEIGHT)]


def _scores(session: Session, asked: SensitivitySpec) -> dict[str, Tensor]:
    """Return the scores that are ranked, computed if needed; empty if the weights themselves are ranked."""
    if asked.criterion == WEIGHT or not METHODS[asked.method].takes_scores:
        return {}
    layers = layers_of(session, asked.spec, asked.layers)
    return {f"{each.name} scores": each.importance for each in layers if each.importance is not None}


def _bytes(tensor: Tensor) -> bytes:
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return np.ascontiguousarray(plain.view(torch.uint8).numpy()).tobytes()


def find(mark: str, folders: Iterable[Path] = (SHIPPED,)) -> SensitivityTable | None:
    """Return the table cached under a fingerprint in one of ``folders``, or None.

    A file that cannot be read counts as missing.
    """
    for folder in folders:
        try:
            return SensitivityTable.from_json((folder / f"{mark}.json").read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, RequestError):
            continue
    return None


def keep(mark: str, table: SensitivityTable, folder: Path) -> bool:
    """Cache a table under a fingerprint, atomically; return whether it was written.

    Only fully measured tables are cached. A folder that cannot be written to is not an error.
    """
    if not table.complete or table.problem or table.tolerance is not None:
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{mark}.part"
        partial.write_text(table.to_json(), encoding="utf-8")
        partial.replace(folder / f"{mark}.json")
    except OSError:
        return False
    return True
