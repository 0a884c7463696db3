"""A checkpoint of many layers takes the memory of few of them; a benchmark measures large ones."""

import math
from pathlib import Path

import pytest

from tests.benchmarks.checkpoint import measured
from tests.support.checkpoint_files import BYTES, sparse_folder

SHAPE = (4096, 2048)


@pytest.mark.slow
def test_ten_layers_are_explored_in_less_than_three_times_the_largest(tmp_path: Path) -> None:
    shapes = {f"model.layers.{i}.mlp.up_proj.weight": SHAPE for i in range(10)}
    folder = sparse_folder(tmp_path / "big", shapes, shards=4)
    found = measured(folder, "l1_unstructured")
    assert found["peak"] < 3 * BYTES["F32"] * math.prod(SHAPE)
