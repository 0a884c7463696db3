"""The residual output of pruned channels, worked out from the layers' own numbers."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from prunescope.measure import Emission, EvalCopy, measure_emissions


class Shared(nn.Module):
    """One batch-norm behind two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.second(self.norm(self.first(x))))


class Behind(nn.Module):
    """A batch-norm that reads something made of the layer's output, not the output."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.fc(x) + 1)


class Uncalled(nn.Module):
    """A layer whose weight is read past it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.fc.weight.T


def trained(model: nn.Module, inputs: Tensor) -> nn.Module:
    """Return the model with biases, shifts and running statistics that are not those it was made with."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter)
    for _ in range(3):
        model.train()(inputs)
    return model.eval()


def found(model: nn.Module, mask: Mapping[str, Tensor], inputs: Tensor) -> tuple[Emission, ...]:
    parameters = dict(model.named_parameters())
    weights = {name: parameters[name].detach() * each for name, each in mask.items()}
    *_, emissions = measure_emissions(EvalCopy(model), mask, weights, (inputs,))
    return emissions


def without(shape: tuple[int, ...], channels: list[int], dim: int = 0) -> Tensor:
    mask = torch.ones(shape, dtype=torch.bool)
    mask.movedim(dim, 0)[channels] = False
    return mask


def test_a_convolution_puts_out_its_bias_and_the_batch_norm_its_shift() -> None:
    inputs = torch.randn(300, 3, 6, 6)
    model = trained(nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU()), inputs)
    conv, norm = model[0], model[1]
    (seen,) = found(model, {"0.weight": without((5, 3, 3, 3), [1, 4])}, inputs)
    bias = conv.bias.detach()
    behind = norm.bias + norm.weight * (bias - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)
    assert (seen.layer, seen.channels, seen.outputs, seen.norm) == ("0", (1, 4), 5, "1")
    assert seen.at_layer == pytest.approx(bias[[1, 4]].abs().max().item(), rel=1e-5)
    assert seen.after_norm == pytest.approx(behind[[1, 4]].abs().max().item(), rel=1e-5)
    assert seen.value == seen.after_norm
    assert seen.kept > seen.after_norm
    assert seen.silenced_by == ("0.bias", "1.weight", "1.bias")
    assert seen.why_not == ""


def test_once_masked_it_is_silent() -> None:
    inputs = torch.randn(20, 4)
    model = trained(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)), inputs)
    masks = {"0.weight": without((6, 4), [0, 2])}
    (before,) = found(model, masks, inputs)
    assert before.value > 0
    silent = {name: without((6,), [0, 2]) for name in before.silenced_by}
    (after,) = found(model, {**masks, **silent}, inputs)
    assert (after.at_layer, after.after_norm, after.silenced_by) == (0.0, 0.0, ())
    assert after.kept == before.kept


def test_what_is_masked_elsewhere_is_still_to_be_masked_here() -> None:
    inputs = torch.randn(20, 4)
    model = trained(nn.Sequential(nn.Linear(4, 6)), inputs)
    masks = {"0.weight": without((6, 4), [0, 2]), "0.bias": without((6,), [2, 3])}
    (seen,) = found(model, masks, inputs)
    assert seen.silenced_by == ("0.bias",)
    assert seen.at_layer == pytest.approx(model[0].bias[0].abs().item())


class Case(NamedTuple):
    module: Callable[[], nn.Module]
    inputs: Tensor
    mask: Tensor
    channels: tuple[int, ...]


CASES = {
    "linear on sequences": Case(lambda: nn.Linear(4, 6), torch.randn(5, 7, 4), without((6, 4), [3]), (3,)),
    "conv1d": Case(lambda: nn.Conv1d(2, 4, 3), torch.randn(5, 2, 9), without((4, 2, 3), [0]), (0,)),
    "conv3d": Case(
        lambda: nn.Conv3d(1, 4, 2), torch.randn(2, 1, 3, 4, 5), without((4, 1, 2, 2, 2), [2]), (2,)
    ),
    "grouped": Case(
        lambda: nn.Conv2d(4, 6, 3, groups=2), torch.randn(2, 4, 5, 5), without((6, 2, 3, 3), [5]), (5,)
    ),
    # The first axis of a transposed convolution is the input's, the second counts outputs within a group.
    "transposed": Case(
        lambda: nn.ConvTranspose2d(3, 4, 2), torch.randn(2, 3, 4, 4), without((3, 4, 2, 2), [1], dim=1), (1,)
    ),
    "transposed in groups": Case(
        lambda: nn.ConvTranspose1d(4, 6, 2, groups=2),
        torch.randn(2, 4, 4),
        without((4, 3, 2), [1], dim=1),
        (1, 4),
    ),
    "all of them": Case(lambda: nn.Linear(4, 2), torch.randn(5, 4), without((2, 4), [0, 1]), (0, 1)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_channels_of_each_kind_of_layer(case: Case) -> None:
    model = trained(nn.Sequential(case.module()), case.inputs)
    (seen,) = found(model, {"0.weight": case.mask}, case.inputs)
    assert seen.channels == case.channels
    assert seen.at_layer == pytest.approx(model[0].bias[list(case.channels)].abs().max().item(), rel=1e-5)
    assert (seen.norm, seen.after_norm, seen.silenced_by) == ("", None, ("0.bias",))


def test_a_pruned_input_channel_puts_out_nothing() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.Conv2d(4, 2, 1))
    masks = {"0.weight": without((3, 4, 2, 2), [1]), "1.weight": without((2, 4, 1, 1), [0], dim=1)}
    assert found(model, masks, torch.randn(2, 3, 4, 4)) == ()


def test_only_the_batch_norm_that_reads_the_output_itself_counts() -> None:
    inputs = torch.randn(20, 4)
    (seen,) = found(trained(Behind(), inputs), {"fc.weight": without((4, 4), [1])}, inputs)
    assert (seen.norm, seen.silenced_by) == ("", ("fc.bias",))


def test_a_batch_norm_of_two_layers_is_left_alone() -> None:
    inputs = torch.randn(20, 4)
    (seen,) = found(trained(Shared(), inputs), {"first.weight": without((4, 4), [1])}, inputs)
    assert seen.norm == "norm"
    assert seen.after_norm > 0
    assert seen.silenced_by == ("first.bias",)
    assert seen.why_not == "norm is the batch-norm of other layers too"


def test_a_batch_norm_without_a_shift_cannot_be_masked() -> None:
    inputs = torch.randn(20, 4)
    model = trained(nn.Sequential(nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4, affine=False)), inputs + 1)
    (seen,) = found(model, {"0.weight": without((4, 4), [2])}, inputs)
    assert seen.at_layer == 0.0
    assert seen.after_norm == pytest.approx(
        (model[1].running_mean[2] / torch.sqrt(model[1].running_var[2] + 1e-5)).abs().item(), rel=1e-5
    )
    assert (seen.silenced_by, seen.why_not) == ((), "1 has no scale and shift to mask")


def test_where_nothing_can_be_seen_it_says_why() -> None:
    (seen,) = found(Uncalled(), {"fc.weight": without((4, 4), [1])}, torch.randn(3, 4))
    assert seen.value is None
    assert seen.why_not == "the model reads its weight without calling the layer, so no output is seen"
    mask = {"weight_ih_l0": without((16, 3), [0, 5])}
    (seen,) = found(nn.LSTM(3, 4), mask, torch.randn(2, 5, 3))
    assert (seen.layer, seen.channels, seen.value) == ("weight_ih_l0", (0, 5), None)
    assert seen.why_not.startswith("its rows are gates, not channels")
    mask = {"in_proj_weight": without((12, 4), [0])}
    attention = Attention()
    (seen,) = found(attention, {"inner.in_proj_weight": mask["in_proj_weight"]}, torch.randn(2, 5, 4))
    assert "not outputs" in seen.why_not


class Attention(nn.Module):
    """Attention of a sequence to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x)[0]


def test_the_model_is_run_on_some_examples_in_its_place() -> None:
    calls: list[int] = []

    class Counting(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(len(x))
            return super().forward(x)

    model = Counting(4, 2)
    found(model, {"weight": without((2, 4), [0])}, torch.randn(1000, 4))
    assert calls == [32] * 4
    assert not model._forward_hooks


def test_others_may_run_the_twin_between_two_batches() -> None:
    inputs = torch.randn(50, 4)
    model = trained(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)), inputs)
    copy, mask = EvalCopy(model), {"0.weight": without((6, 4), [0, 2])}
    weights = {"0.weight": model[0].weight.detach() * mask["0.weight"]}
    (alone,) = found(model, mask, inputs)
    seen = []
    for part in measure_emissions(copy, mask, weights, (inputs,)):
        seen.append(part)
        copy.run((100 * inputs,))
    assert seen == [None, None, (alone,)]
