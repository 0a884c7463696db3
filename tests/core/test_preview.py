import copy

import pytest
import torch
import torch.nn.utils.prune as oracle
from torch import nn

from prunescope.core.preview import Preview, preview_tensor
from prunescope.core.resolve import resolve
from prunescope.core.spec import PruneSpec
from prunescope.core.tensor import PrunableTensor
from prunescope.sources import prunable_tensors


def preview_of(module: nn.Module, spec: PruneSpec) -> Preview:
    tensor = prunable_tensors(module)[spec.layer]
    return preview_tensor(resolve(spec, tensor), tensor)


def torch_mask(module: nn.Module, spec: PruneSpec) -> torch.Tensor:
    """Return the mask torch gives ``module``'s weight; ``module`` is pruned."""
    torch.manual_seed(spec.seed)
    if spec.method == "l1_unstructured":
        oracle.l1_unstructured(module, "weight", spec.amount)
    elif spec.method == "random_unstructured":
        oracle.random_unstructured(module, "weight", spec.amount)
    elif spec.method == "ln_structured":
        oracle.ln_structured(module, "weight", spec.amount, spec.n, spec.dim)
    else:
        oracle.random_structured(module, "weight", spec.amount, spec.dim)
    return module.weight_mask.bool()


LAYERS = [nn.Conv2d(6, 8, 3), nn.Linear(9, 7), nn.ConvTranspose1d(5, 4, 3), nn.Embedding(11, 6)]
SPECS = [
    PruneSpec("weight", "l1_unstructured", amount=0.37),
    PruneSpec("weight", "l1_unstructured", amount=5),
    PruneSpec("weight", "random_unstructured", amount=0.5, seed=3),
    PruneSpec("weight", "ln_structured", amount=0.5, n=1, dim=0),
    PruneSpec("weight", "ln_structured", amount=2, n=float("inf"), dim=1),
    PruneSpec("weight", "random_structured", amount=0.4, dim=1, seed=7),
    PruneSpec("weight", "random_structured", amount=3, dim=0),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_masks_are_torchs(layer: nn.Module, spec: PruneSpec) -> None:
    torch.manual_seed(0)
    layer.reset_parameters()
    preview = preview_of(layer, spec)
    assert torch.equal(preview.mask, torch_mask(copy.deepcopy(layer), spec))


@pytest.mark.parametrize("second", SPECS, ids=str)
def test_a_second_step_is_torchs_too(second: PruneSpec) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 8, 3)
    oracle.l1_unstructured(layer, "weight", 0.3)
    oracle.ln_structured(layer, "weight", 2, 2, 0)
    preview = preview_of(layer, second)
    assert torch.equal(preview.pruned_earlier, layer.weight_mask == 0)
    assert torch.equal(preview.mask, torch_mask(layer, second))


def test_by_hand() -> None:
    weight = torch.tensor([[3.0, -4.0], [1.0, 0.0], [0.0, 2.0]])
    tensor = PrunableTensor("w", "Linear", weight, ("outputs", "inputs"))
    preview = preview_tensor(resolve(PruneSpec("w", "ln_structured", amount=0.5), tensor), tensor)
    assert preview.norms.now.tolist() == [5.0, 1.0, 2.0]
    assert (preview.units, preview.pruned_units, preview.threshold) == (3, 2, 2.0)
    assert preview.mask.tolist() == [[True, True], [False, False], [False, False]]
    assert preview.sparsity == pytest.approx(2 / 3)
    assert preview.unit_name == "outputs"
    assert preview.kept_fractions().tolist() == [1.0, 0.0, 0.0]


def test_fractions_tell_this_step_from_earlier_ones() -> None:
    earlier = torch.tensor([[True, True, False, False], [True, True, True, True]])
    weight = torch.tensor([[1.0, 5.0, 9.0, 9.0], [2.0, 3.0, 4.0, 6.0]])
    tensor = PrunableTensor("w", "Linear", weight, ("outputs", "inputs"), earlier)
    preview = preview_tensor(resolve(PruneSpec("w", amount=2), tensor), tensor)
    assert preview.kept_fractions().tolist() == [0.5, 0.75]
    assert preview.norms.now.tolist() == pytest.approx([26**0.5, 65**0.5])
    assert preview.norms.unpruned.tolist() == pytest.approx([188**0.5, 65**0.5])
    assert preview.units == 6
    assert preview.threshold == 2.0
    assert preview.pruned_weights == 4


def test_random_scores_have_no_threshold_to_show() -> None:
    tensor = PrunableTensor("w", "Linear", torch.ones(4, 4), ("outputs", "inputs"))
    spec = PruneSpec("w", "random_structured", amount=0.5)
    assert preview_tensor(resolve(spec, tensor), tensor).threshold is None


def test_nothing_pruned_is_a_picture_too() -> None:
    tensor = PrunableTensor("w", "Linear", torch.ones(4, 4), ("outputs", "inputs"))
    preview = preview_tensor(resolve(PruneSpec("w", amount=0), tensor), tensor)
    assert preview.mask.all()
    assert preview.threshold is None
