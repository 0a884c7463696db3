"""How long a large checkpoint takes to open, and how much memory it takes to explore ten of its layers.

``python -m tests.benchmarks.checkpoint`` makes a sharded checkpoint of 12.9 GB, laid out as model hubs do,
opens it and explores ten layers with each method, the largest among them: four amounts of each, a threshold
pulled along the chart, the largest layer's weights and scores as pictures. Each method has a process of its
own, so that all start from the same memory. Printed are the seconds and, above what the process held when it
had shown another, small checkpoint, the highest memory at any moment (``VmHWM``, which counts mapped files
too), in multiples of the largest layer. A layer is as large as its numbers are in memory: its weights times
the bytes of their dtype, and for float8 and integers, which are explored as float32, times four.

The shards are files of zeros without room on the disk, unless ``--real`` writes random numbers into them.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from prunescope import Explorer, explore
from prunescope.core.tensor import PrunableTensor
from prunescope.figures import View
from prunescope.sources import checkpoint_source
from tests.support.checkpoint_files import BYTES, sparse_folder, sparse_safetensors

METHODS = ("l1_unstructured", "random_unstructured", "ln_structured", "random_structured")
DTYPES = ("BF16", "F16", "F32", "F8_E4M3")
LARGEST = (32000, 4096)
BLOCK = {"q_proj": (4096, 4096), "up_proj": (11008, 4096), "down_proj": (4096, 11008)}

VIEWS = (
    {"heatmap": "weights", "chart": "histogram"},
    {"heatmap": "weights", "colour_range": "channel", "chart": "norms", "overlay": "l1_l2"},
    {"heatmap": "scores", "order": "norm"},
)


def make(folder: Path, dtype: str, gigabytes: float, *, real: bool = False) -> Path:
    """Return a checkpoint of an embedding and as many blocks as make ``gigabytes``."""
    weights = gigabytes * 1e9 / BYTES.get(dtype, 1) - math.prod(LARGEST)
    blocks = round(weights / sum(math.prod(shape) for shape in BLOCK.values()))
    shapes = {"model.embed_tokens.weight": LARGEST}
    for block in range(blocks):
        shapes |= {f"model.layers.{block}.{name}.weight": shape for name, shape in BLOCK.items()}
    made = sparse_folder(folder, shapes, shards=8, dtype=dtype)
    if real:
        for file in made.glob("*.safetensors"):
            _fill(file, dtype)
    return made


def _fill(file: Path, dtype: str) -> None:
    """Write normal random numbers over the zeros; a part of them again and again."""
    types = {
        "BF16": torch.bfloat16,
        "F16": torch.float16,
        "F32": torch.float32,
        "F8_E4M3": torch.float8_e4m3fn,
    }
    numbers = torch.randn(1 << 24).mul_(0.02).to(types[dtype]).view(torch.uint8).numpy().data
    with file.open("r+b") as out:
        out.seek(8 + int.from_bytes(out.read(8), "little"))
        left = file.stat().st_size - out.tell()
        while left:
            left -= out.write(numbers[: min(left, len(numbers))])


def layers_to_explore(tensors: Mapping[str, PrunableTensor], count: int) -> list[str]:
    """Return the largest layer, and others all over the checkpoint."""
    largest = max(tensors, key=lambda name: math.prod(tensors[name].shape))
    return [largest, *list(tensors)[1 :: max(1, len(tensors) // count)]][:count]


def explore_layers(folder: Path, method: str, layers: int = 10) -> dict[str, float]:
    """Return seconds to open and to the first picture, and bytes above the start at the highest."""
    small = explore(sparse_safetensors(folder.parent / "small.safetensors", {"w": (64, 64)}), method=method)
    _look_around(small)
    small.close()
    start = highest_memory(reset=True)
    clock = time.perf_counter()
    tensors = checkpoint_source(folder).weights().tensors
    opened = time.perf_counter() - clock
    explorer = explore(folder, method=method)
    shown = time.perf_counter() - clock - opened
    for number, layer in enumerate(layers_to_explore(tensors, layers)):
        explorer.layer = layer
        if number == 0:
            _look_around(explorer)
        for amount in (0.2, 0.5, 0.8, 0.3):
            explorer.amount = amount
        if explorer.preview.threshold is not None:
            explorer.state.session.units_up_to(explorer.preview, explorer.preview.threshold)
    peak = highest_memory()
    explorer.close()
    return {"open": opened, "picture": shown, "peak": peak - start}


def _look_around(explorer: Explorer) -> None:
    for view in VIEWS:
        explorer.view = View(**view)
    explorer.view = View()


def highest_memory(*, reset: bool = False) -> int:
    """Return the highest resident memory of this process in bytes, since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def measured(folder: Path, method: str, layers: int = 10) -> dict[str, float]:
    """Return what `explore_layers` measures, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.checkpoint",
        "--measure",
        str(folder),
        method,
        str(layers),
    ]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(answer.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=12.9)
    parser.add_argument("--dtype", choices=DTYPES, default="BF16")
    parser.add_argument("--real", action="store_true", help="random numbers, which take room on the disk")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        folder, method, layers = asked.measure
        print(json.dumps(explore_layers(Path(folder), method, int(layers))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = make(Path(scratch, "model"), asked.dtype, asked.gigabytes, real=asked.real)
        size = sum(file.stat().st_size for file in folder.iterdir())
        largest = math.prod(LARGEST) * BYTES.get(asked.dtype, 4)
        print(f"{size / 1e9:.1f} GB of {asked.dtype} in 8 shards; largest layer {largest / 1e6:.0f} MB")
        for method in asked.methods:
            found = measured(folder, method)
            print(
                f"{method:20} open {1000 * found['open']:.0f} ms, first picture {found['picture']:.1f} s, "
                f"memory {found['peak'] / 1e6:.0f} MB: {found['peak'] / largest:.2f} × largest"
            )


if __name__ == "__main__":
    main()
