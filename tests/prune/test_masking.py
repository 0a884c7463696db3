"""The masked tensor in dtypes for which older versions of torch have no ``where``."""

import pytest
import torch

from prunescope.prune.masking import masked, where_kept

REAL = torch.where
BITS = {torch.bool, torch.int8, torch.int16, torch.int32, torch.int64}


@pytest.fixture(autouse=True)
def older_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``torch.where`` know no more dtypes than version 2.6 needs for this."""

    def where(mask, t, other):
        if t.dtype not in BITS:
            raise RuntimeError(f'"where_cpu" not implemented for {t.dtype}')
        return REAL(mask, t, other)

    monkeypatch.setattr(torch, "where", where)


@pytest.mark.parametrize(
    "dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64]
)
def test_what_is_kept_is_the_same_and_the_rest_is_zero(dtype):
    t = torch.tensor([[3, 1, 2], [5, 4, 1]]).to(dtype)
    mask = torch.tensor([[True, False, True], [False, True, True]])
    for found in (where_kept(mask, t), masked(t, mask)):
        assert found.dtype is dtype
        assert found.double().tolist() == [[3, 0, 2], [0, 4, 1]]


def test_nothing_is_hidden_that_no_version_can_do():
    with pytest.raises(RuntimeError, match="must match the size"):
        where_kept(torch.tensor([True, False, True]), torch.zeros(2, dtype=torch.int8))
