"""A gigabyte of checkpoint: what it takes to open it, and to explore ten of its layers."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkpoint_files import BYTES, sparse_folder

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "checkpoint.py"


@pytest.mark.parametrize(("dtype", "shape"), [("F32", (4096, 4096)), ("BF16", (16384, 4096))])
def test_a_gigabyte_is_explored_in_less_than_three_times_its_largest_layer(
    tmp_path: Path, dtype: str, shape: tuple[int, int]
) -> None:
    layer = BYTES[dtype] * math.prod(shape)
    shapes = {f"model.layers.{i}.mlp.up_proj.weight": shape for i in range(10**9 // layer + 1)}
    folder = sparse_folder(tmp_path / "big", shapes, shards=4, dtype=dtype)
    command = [sys.executable, BENCHMARK, "--measure", folder, "l1_unstructured", "10"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(found, found["peak"] / layer)
    assert found["open"] < 2
    assert found["peak"] < 3 * layer
