"""Rankings that hold no scores, and norms taken part by part, say what the others say, to the bit."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from prunescope.prune import L1Unstructured, LnStructured, RandomUnstructured, channel_norms

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MASKS = (None, "some", "none left")


def weight(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def mask_of(kind: str | None, t: Tensor) -> Tensor | None:
    if kind is None:
        return None
    draws = torch.rand(t.shape, generator=torch.Generator().manual_seed(1))
    return draws > (0.4 if kind == "some" else 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("random", [False, True])
def test_a_ranking_without_scores_selects_as_one_with_scores(
    dtype: torch.dtype, kind: str | None, random: bool
) -> None:
    t = weight(dtype, 300, 700)
    t[::7] = 0  # ties by the thousand
    mask = mask_of(kind, t)

    def method() -> L1Unstructured | RandomUnstructured:
        generator = torch.Generator().manual_seed(2)
        return RandomUnstructured(1, generator=generator) if random else L1Unstructured(1)

    effective = t if mask is None else torch.where(mask, t, 0)
    held, unheld = method().rank(effective, mask), method().rank_unheld(t, mask)
    assert unheld.units == held.units
    assert torch.equal(unheld.scores.sort().values, held.scores.sort().values)
    for share in (0, 1e-5, 0.1, 0.5, 0.9, 1):
        k = round(share * held.units)
        assert torch.equal(unheld.mask(k), held.mask(k)), share
        assert unheld.threshold(k) == held.threshold(k)
        if k:
            assert unheld.units_up_to(unheld.threshold(k)) == held.units_up_to(held.threshold(k)) >= k


def test_nan_is_refused_and_infinity_flagged() -> None:
    t = weight(torch.bfloat16, 4, 5)
    t[0, 0] = math.nan
    with pytest.raises(ValueError, match="got 1 NaN among 20"):
        L1Unstructured(1).rank_unheld(t)
    t[0, 0] = math.inf
    with pytest.warns(UserWarning, match="1 of 20 scores are infinite"):
        ranking = L1Unstructured(1).rank_unheld(t)
    assert ranking.mask(19).nonzero().tolist() == [[0, 0]]
    with pytest.raises(ValueError, match="between 0 and 20"):
        ranking.mask(21)
    with pytest.warns(UserWarning, match="1 of 10 scores are infinite"):
        L1Unstructured(1).rank_unheld(t, torch.arange(20).reshape(4, 5) < 10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("n", [0, 1, 2, 3.5, math.inf, -math.inf, "fro"])
def test_norms_of_a_large_tensor_are_those_of_its_float32_copy(
    dtype: torch.dtype, dim: int, n: int | float | str
) -> None:
    t = weight(dtype, 1601, 1303)  # in parts of unequal size
    mask = mask_of("some", t)
    whole = torch.linalg.vector_norm(t.float(), 2.0 if n == "fro" else float(n), dim=1 - dim)
    assert torch.allclose(channel_norms(t, n=n, dim=dim), whole, rtol=1e-5)
    masked = torch.where(mask, t, 0)
    assert torch.equal(channel_norms(t, n=n, dim=dim, mask=mask), channel_norms(masked, n=n, dim=dim))
    assert torch.equal(channel_norms(t, n=n, dim=dim), channel_norms(t.float(), n=n, dim=dim))


@pytest.mark.parametrize("kind", [None, "some"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_channels_are_ranked_without_a_copy_that_has_zeros(kind: str | None, dim: int) -> None:
    t = weight(torch.bfloat16, 40, 30)
    mask = mask_of(kind, t)
    if mask is not None:
        mask[3], mask[:, 5] = False, False
    effective = t if mask is None else torch.where(mask, t, 0)
    method = LnStructured(1, 2, dim)
    assert torch.equal(method.rank_unheld(t, mask).mask(9), method.rank(effective, mask).mask(9))


def test_what_does_not_lie_flat_is_ranked_as_usual() -> None:
    for t in (weight(torch.float32, 30, 20).t(), weight(torch.float32, 30, 20).to(torch.float8_e5m2)):
        assert torch.equal(L1Unstructured(1).rank_unheld(t).mask(99), L1Unstructured(1).rank(t).mask(99))


_TAKEN = """
import torch
from pathlib import Path
from prunescope.prune import channel_norms

def highest():
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

t = torch.zeros(4096, 4096, dtype=torch.bfloat16)
channel_norms(t[:64], n={n}, dim={dim})
Path("/proc/self/clear_refs").write_text("5")
before = highest()
channel_norms(t, n={n}, dim={dim})
print(highest() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system tells no highest memory")
@pytest.mark.parametrize("threshold", [1 << 20, 1 << 25])
@pytest.mark.parametrize(("n", "dim"), [(1, 0), (1, 1), (2, 0)])
def test_norms_take_little_memory_wherever_the_system_finds_it(n: int, dim: int, threshold: int) -> None:
    """From here on the C library asks the system for a piece; below, it cuts it from a heap of its own."""
    where = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(threshold)}
    code = _TAKEN.format(n=n, dim=dim)
    done = subprocess.run([sys.executable, "-c", code], env=where, check=True, capture_output=True, text=True)
    print(done.stdout)
    assert int(done.stdout) < (1 << 25) / 2, "half of the weight, a quarter of it in float32"
