"""What cutting channels out would save: against layers that are really smaller."""

import copy

import torch
from torch import Tensor, nn

from prunescope.measure import EvalCopy, count_flops, cut_out
from prunescope.sources.demos import load_demo


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def masked(weight: Tensor, rows: list[int], columns: list[int]) -> Tensor:
    mask = torch.ones_like(weight, dtype=torch.bool)
    mask[rows] = False
    mask[:, columns] = False
    return mask


def test_a_convolution_that_is_really_smaller_saves_as_much() -> None:
    model, (inputs, _) = load_demo("cnn")
    thin = copy.deepcopy(model)
    thin.block2.conv1 = nn.Conv2d(32, 48, 3, 2, padding=1, bias=False)
    before, after = count_flops(EvalCopy(model), (inputs,)), None
    mask = masked(model.block2.conv1.weight, list(range(16)), [])
    saved = cut_out(model, {"block2.conv1.weight": mask}, before)
    assert saved.layers == ("block2.conv1",)
    assert saved.parameters == parameters(model) - parameters(thin) == 16 * 32 * 9
    thin.block2.norm1, thin.block2.conv2 = nn.BatchNorm2d(48), nn.Conv2d(48, 64, 3, padding=1, bias=False)
    after = count_flops(EvalCopy(thin.eval()), (inputs,))
    name = "block2.conv1"
    assert saved.flops == before.layers[name] - after.layers[name] == 2 * 16 * 16 * 32 * 9
    assert saved.flops < before.total - after.total, "the layer that reads them saves too"


def test_rows_columns_and_biases_of_linear_and_transposed_layers() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(6, 8, 3), nn.Flatten(), nn.Linear(8 * 9, 5))
    before = count_flops(EvalCopy(model), (torch.zeros(1, 6, 1, 1),))
    masks = {
        "0.weight": masked(model[0].weight, [0, 1], [3]),
        "2.weight": masked(model[2].weight, [4], [0, 1]),
    }
    saved = cut_out(model, masks, before)
    smaller = nn.Sequential(nn.ConvTranspose2d(4, 7, 3), nn.Flatten(), nn.Linear(70, 4))
    assert saved.parameters == parameters(model) - parameters(smaller)
    assert saved.flops == 2 * (6 * 8 * 9 - 4 * 7 * 9) + 2 * (72 * 5 - 70 * 4)


def test_scattered_zeros_and_groups_leave_nothing_to_cut_out() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Conv1d(4, 4, 3, groups=2))
    scattered = torch.ones(4, 4, dtype=torch.bool)
    scattered[0, :3] = False
    masks = {
        "0.weight": scattered,
        "0.bias": torch.zeros(4, dtype=torch.bool),
        "1.weight": masked(model[1].weight, [0], []),
    }
    assert cut_out(model, masks).parameters == 0
    assert cut_out(model, masks).layers == ()
