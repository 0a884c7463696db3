import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from prunescope.figures.cells import MatrixLayout, cell_fractions


@pytest.mark.parametrize("dim", [0, 1, 2, 3])
def test_a_channel_is_one_band(dim: int) -> None:
    shape = (4, 3, 2, 5)
    mask = torch.zeros(shape, dtype=torch.bool)
    mask.select(dim, 1).fill_(True)
    layout = MatrixLayout.of(shape, dim)
    matrix = layout.matrix(mask)
    assert matrix.shape == layout.size
    if dim == layout.rows:
        assert matrix[1].all()
        assert matrix.sum() == matrix[1].size
    else:
        assert matrix.all(axis=0).nonzero()[0].tolist() == list(range(10, 20))
        assert matrix.sum() == 10 * 4


def test_a_vector_is_one_row() -> None:
    layout = MatrixLayout.of((5,), 0)
    assert layout.size == (1, 5)
    assert layout.matrix(torch.tensor([True, False, True, True, True])).tolist() == [
        [True, False, True, True, True]
    ]


@settings(deadline=None)
@given(
    arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))),
    st.integers(1, 50),
    st.integers(1, 50),
)
def test_cells_hold_the_fraction_of_what_they_cover(matrix: np.ndarray, rows: int, columns: int) -> None:
    cells = cell_fractions(matrix, rows, columns)
    height, width = cells.shape
    assert (height, width) == (min(rows, matrix.shape[0]), min(columns, matrix.shape[1]))
    down = np.arange(height) * matrix.shape[0] // height
    across = np.arange(width) * matrix.shape[1] // width
    for i, band in enumerate(np.split(matrix, down[1:])):
        for j, cell in enumerate(np.split(band, across[1:], axis=1)):
            assert cells[i, j] == pytest.approx(cell.mean())
